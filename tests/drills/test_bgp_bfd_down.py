"""BFD packets that are dropped on either side; BFD on one side only, and BFD that somebody has put down."""

from collections.abc import Callable

from tests.drills.bgp import conf, reconfigured, session, stands, world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

BFD = 'protocol bfd { interface "*" { interval 50 ms; multiplier 3; }; }'
WAIT = "bfd; error wait time 60, 300;"
DROP = "table inet t { chain i { type filter hook input priority 0; udp dport 3784 drop; }; }"


def guarded(lab: Lab) -> Host:
    """Both sides speak BFD, and it is up."""
    host = world(lab)
    reconfigured(lab.hosts["edge2"], conf("edge2", BFD, session("down1", "edge1", WAIT)))
    reconfigured(host, conf("edge1", BFD, session("up1", "edge2", WAIT)))
    lab.wait(lambda: stands(host, "up1") and bfd(host) == "Up", 20, "the session and BFD stand")
    return host


def bfd(host: Host) -> str:
    """State of the only BFD session."""
    words = host.run("birdc", "show", "bfd", "sessions").stdout.split()
    return words[words.index("eth0") + 1] if "eth0" in words else "none"


def dropped_on(name: str) -> Callable[[Lab, Host], object]:
    """Packets of BFD do not get in there."""
    return lambda lab, host: lab.nft(lab.hosts[name], DROP)


def passing(lab: Lab, host: Host) -> None:
    """The packets pass again, and nobody waits out the error wait time."""
    for other in (host, lab.hosts["edge2"]):
        other.run("nft", "flush", "ruleset")
    lab.hosts["edge2"].run("birdc", "restart", "down1")
    host.run("birdc", "restart", "up1")
    lab.wait(lambda: stands(host, "up1") and bfd(host) == "Up", 20, "the session and BFD stand again")


def one_sided(lab: Lab) -> Host:
    """The neighbour does not speak BFD."""
    host = world(lab)
    reconfigured(host, conf("edge1", BFD, session("up1", "edge2", WAIT)))
    lab.wait(lambda: stands(host, "up1") and bfd(host) == "Down", 20, "the session stands without BFD")
    return host


def static_guarded(lab: Lab) -> Host:
    """A static route is guarded by BFD towards a neighbour that does not speak it."""
    host = world(lab)
    static = "protocol static guarded { ipv4; route 198.51.100.0/24 via 192.0.2.2 bfd; }"
    reconfigured(host, conf("edge1", BFD, static, session("up1", "edge2")))
    lab.wait(lambda: stands(host, "up1") and bfd(host) == "Down", 20, "the session stands")
    return host


ABOUT = {"kind": "bgp-session", "name": "up1"}
HERE = Drill(
    rule="bgp-bfd-down",
    name="dropped here",
    build=guarded,
    break_=dropped_on("edge1"),
    repair=passing,
    severity="critical",
    expect=ABOUT,
    twin=one_sided,
)
THERE = Drill(
    rule="bgp-bfd-down",
    name="dropped there",
    build=guarded,
    break_=dropped_on("edge2"),
    repair=passing,
    severity="critical",
    expect=ABOUT,
    twin=static_guarded,
)


def quick(lab: Lab) -> Host:
    """The same, and a session that was lost is called again at once: it comes back without BFD."""
    host = world(lab)
    reconfigured(lab.hosts["edge2"], conf("edge2", BFD, session("down1", "edge1", "bfd;")))
    reconfigured(host, conf("edge1", BFD, session("up1", "edge2", "bfd;")))
    lab.wait(lambda: stands(host, "up1") and bfd(host) == "Up", 20, "the session and BFD stand")
    return host


STANDS = Drill(
    rule="bgp-bfd-down",
    name="the session is back without BFD, which does not get out",
    build=quick,
    break_=dropped_on("edge2"),
    settle=lambda lab, host: stands(host, "up1") and bfd(host) == "Init",
    repair=passing,
    severity="warning",
    expect=ABOUT,
)
test_drill = drill_test(HERE, THERE, STANDS)
