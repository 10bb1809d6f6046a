"""Route limits: closed for good, closed again and again, blocked; and limits that lose nothing."""

from tests.drills.bgp import conf, reconfigured, session, stands, world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

MORE = "protocol static more { ipv4; route 198.51.100.1/32 blackhole; route 198.51.100.2/32 blackhole; }"
EDGE2 = conf("edge2", session("down1", "edge1"))


def limited(limit: str, name: str = "edge1") -> str:
    """Configuration of a host with a limit on its session."""
    own, other = ("up1", "edge2") if name == "edge1" else ("down1", "edge1")
    return conf(name, session(own, other, f"ipv4 {{ import all; export all; {limit}; }};"))


def build(lab: Lab, limit: str, name: str = "edge1") -> Host:
    """A limit that is wide enough for what the other side sends."""
    host = world(lab)
    reconfigured(lab.hosts[name], limited(limit, name))
    lab.wait(lambda: stands(host, "up1"), 20, "the session stands")
    return host


def surge(lab: Lab, host: Host) -> None:
    """The neighbour sends more."""
    reconfigured(lab.hosts["edge2"], EDGE2 + MORE)


def over(lab: Lab, host: Host) -> None:
    """The neighbour sends what it did, and somebody has looked."""
    reconfigured(lab.hosts["edge2"], EDGE2)
    host.run("birdc", "enable", "up1")
    host.run("birdc", "restart", "up1")
    lab.wait(lambda: stands(host, "up1"), 20, "the session stands again")


def kept(lab: Lab) -> Host:
    """Limits that are set and not reached."""
    return build(lab, "import limit 2 action disable; receive limit 2 action restart; export limit 2 action block")


ABOUT = {"kind": "bgp-session", "name": "up1"}
CLOSED = Drill(
    rule="bgp-prefix-limit-hit",
    name="closed",
    build=lambda lab: build(lab, "import limit 2 action disable"),
    break_=surge,
    repair=over,
    severity="critical",
    expect=ABOUT,
    twin=kept,
)
RESTARTED = Drill(
    rule="bgp-prefix-limit-hit",
    name="restarted",
    build=lambda lab: build(lab, "receive limit 2 action restart"),
    break_=surge,
    repair=over,
    severity="critical",
    expect=ABOUT,
)
BLOCKED = Drill(
    rule="bgp-prefix-limit-hit",
    name="blocked",
    build=lambda lab: build(lab, "import limit 2 action block"),
    break_=surge,
    repair=over,
    severity="warning",
    expect=ABOUT,
)
test_drill = drill_test(CLOSED, RESTARTED, BLOCKED)
