"""Full updates are lost on the way, while keepalives pass."""

from tests.drills.bgp import conf, reconfigured, session, world
from tests.drills.harness import Drill, drill_test
from tests.drills.losses import goes
from tests.lab import Host, Lab

MANY = "protocol static many { ipv4; " + " ".join(f"route 10.{n}.0.0/16 blackhole;" for n in range(200)) + " }"

FILTER = (
    "table inet t { chain i { type filter hook input priority 0; tcp sport 179 meta length > 300 drop; "
    "tcp dport 179 meta length > 300 drop; }; }"
)


def slow(text: str) -> str:
    """Give the stall time: the hold time of the drills' sessions is three seconds."""
    return text.replace("hold time 3", "hold time 90")


def build(lab: Lab) -> Host:
    host = world(lab)
    for one in (host, lab.hosts["edge2"]):
        peer = "edge2" if one is host else "edge1"
        reconfigured(one, slow(conf(one.name, session("up1" if one is host else "down1", peer))))
    lab.wait(lambda: "/90" in host.run("birdc", "show", "protocols", "all", "up1").stdout, 20, "the longer hold time")
    return host


def swallow(lab: Lab, host: Host) -> None:
    lab.nft(lab.hosts["edge2"], FILTER)
    reconfigured(host, slow(conf("edge1", session("up1", "edge2"), MANY)))


def announcing(lab: Lab) -> Host:
    """edge1 announces two hundred prefixes, and an address of one of them is its own."""
    host = build(lab)
    host.ip("address add 10.5.0.1/32 dev lo")
    reconfigured(host, slow(conf("edge1", session("up1", "edge2"), MANY)))
    lab.wait(lambda: "10.5.0.0/16" in lab.hosts["edge2"].run("ip", "route").stdout, 20, "they have arrived")
    return host


def swallowed_at_the_start(lab: Lab, host: Host) -> None:
    """The session begins anew, on a way that has become narrower."""
    lab.nft(lab.hosts["edge2"], FILTER)
    host.run("birdc", "restart", "up1")


def restored(lab: Lab, host: Host) -> None:
    lab.hosts["edge2"].run("nft", "flush", "ruleset")


test_drill = drill_test(
    Drill(
        rule="bgp-hold-mtu-stall",
        build=build,
        break_=swallow,
        repair=restored,
        severity="critical",
        expect={"kind": "bgp-session", "name": "up1"},
    ),
    Drill(
        name="from the start",
        rule="bgp-hold-mtu-stall",
        build=announcing,
        break_=swallowed_at_the_start,
        repair=restored,
        carries=lambda lab, host: goes(lab.hosts["edge2"], "10.5.0.1"),
        severity="critical",
        expect={"kind": "bgp-session", "name": "up1"},
    ),
)
