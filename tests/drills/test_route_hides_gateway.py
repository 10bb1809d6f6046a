"""Half of an uplink's subnet is routed by the other uplink; and a single host that moved there."""

from tests.drills.bpfworld import two_cables
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host = two_cables(lab)
    host.ip("address add 198.51.100.2/24 dev eth0\nroute add default via 198.51.100.1")
    lab.hosts["far0"].ip("address add 198.51.100.1/24 dev eth0")
    host.run("ping", "-c1", "-W2", "198.51.100.1")
    return host


def one_moved(lab: Lab) -> Host:
    host = build(lab)
    host.ip("route add 198.51.100.77/32 via 192.0.2.6")
    return host


test_drill = drill_test(
    Drill(
        rule="route-hides-gateway",
        build=build,
        break_=lambda lab, host: host.ip("route add 198.51.100.0/25 via 192.0.2.6"),
        repair=None,
        severity="warning",
        expect={"kind": "route", "dst": "198.51.100.0/25"},
        twin=one_moved,
    )
)
