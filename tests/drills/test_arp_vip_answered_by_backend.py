"""A backend of direct server return loses arp_ignore."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """Two backends with one service address on lo, and a client, on one segment."""
    switch = lab.switch()
    for number in (2, 3):
        backend = lab.host(f"backend{number}")
        lab.plug(backend, "eth0", switch, f"192.0.2.{number}/24")
        backend.ip("address add 192.0.2.100/32 dev lo")
        backend.sysctl({"net/ipv4/conf/eth0/arp_ignore": 1, "net/ipv4/conf/eth0/arp_announce": 2})
    return lab.hosts["backend2"]


def anycast(lab: Lab) -> Host:
    """A service address that no subnet holds: it is routed here."""
    host = build(lab)
    host.ip("address add 203.0.113.7/32 dev lo\naddress del 192.0.2.100/32 dev lo")
    host.sysctl({"net/ipv4/conf/eth0/arp_ignore": 0})
    return host


test_drill = drill_test(
    Drill(
        rule="arp-vip-answered-by-backend",
        build=build,
        break_=lambda lab, host: host.sysctl({"net/ipv4/conf/eth0/arp_ignore": 0}),
        repair=None,
        severity="warning",
        expect={"kind": "address", "local": "192.0.2.100"},
        twin=anycast,
    )
)
