"""Full updates are lost on the way, while keepalives pass."""

from tests.drills.bgp import conf, reconfigured, session, world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

MANY = "protocol static many { ipv4; " + " ".join(f"route 10.{n}.0.0/16 blackhole;" for n in range(200)) + " }"


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
    chain = "chain i { type filter hook input priority 0; tcp sport 179 meta length > 300 drop; "
    lab.nft(lab.hosts["edge2"], "table inet t { " + chain + "tcp dport 179 meta length > 300 drop; }; }")
    reconfigured(host, slow(conf("edge1", session("up1", "edge2"), MANY)))


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
)
