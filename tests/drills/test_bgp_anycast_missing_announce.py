"""An edge whose static route was dropped from BIRD's configuration: named by the intent, and seen beside a sibling."""

from tests.drills.bgp import conf, reconfigured, session, world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

MORE = "protocol static two {{ ipv4; route 203.0.113.77/32 blackhole; {more} }}".format
INTENT = '[[announce]]\nprefix = "203.0.113.77/32"\nsession = "up*"\n'


def edge(lab: Lab, more: str = "") -> Host:
    """edge1 announces two addresses of its lo, by two static protocols."""
    host = world(lab, more=MORE(more=more))
    host.ip("address add 203.0.113.77/32 dev lo")
    return host


def intended(lab: Lab, more: str = "") -> Host:
    host = edge(lab, more)
    host.run("mkdir", "-p", "/etc/netdiag")
    host.write("/etc/netdiag/intent.toml", INTENT)
    return host


def without(lab: Lab, host: Host) -> None:
    reconfigured(host, conf("edge1", session("up1", "edge2")))


def back(lab: Lab, host: Host) -> None:
    reconfigured(host, conf("edge1", session("up1", "edge2"), MORE(more="")))


DRILLS = [
    Drill(
        rule="bgp-anycast-missing-announce",
        name=name,
        build=build,
        break_=without,
        repair=back,
        severity=severity,
        expect={"kind": "prefix", "prefix": "203.0.113.77/32"},
        twin=lambda lab, build=build: build(lab, "disabled;"),  # type: ignore[misc]
    )
    for name, build, severity in (("intent", intended, "critical"), ("sibling", edge, "warning"))
]
test_drill = drill_test(*DRILLS)
