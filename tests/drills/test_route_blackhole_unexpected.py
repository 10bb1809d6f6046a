"""Blackholes over a BGP neighbour and over a WireGuard endpoint's net; aggregates and blocked addresses beside them."""

from tests.drills.bgp import world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def refuses_on_purpose(lab: Lab) -> Host:
    """An anycast edge: an aggregate over addresses of lo, one against leaks, one against an attacker, and a standby."""
    host = lan(lab)
    host.ip("address add 198.51.100.7/32 dev lo\nroute add blackhole 198.51.100.0/24 proto static")
    host.ip("route add blackhole 10.0.0.0/8\nroute add blackhole 203.0.113.66/32 proto babel metric 32")
    host.ip("route add default via 192.0.2.130\nroute add unreachable default metric 4278198272")
    return host


def lan(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    near, far = ["192.0.2.1/24", "2001:db8::1/64"], ["192.0.2.130/24", "2001:db8::2/64"]
    lab.link(host, "eth0", peer, "eth0", a_addresses=near, b_addresses=far)
    for address in ("192.0.2.130", "2001:db8::2"):
        host.run("ping", "-c1", "-W2", address)
    return host


RULE = "route-blackhole-unexpected"
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=world,
        break_=lambda lab, host: host.ip("route add blackhole 192.0.2.2/32"),
        repair=None,
        severity="critical",
        expect={"kind": "route", "dst": "192.0.2.2/32", "table": 254},
        twin=refuses_on_purpose,
    ),
    Drill(
        rule=RULE,
        name="half of a subnet",
        build=lan,
        break_=lambda lab, host: host.ip("route add prohibit 192.0.2.128/25"),
        repair=None,
        expect={"dst": "192.0.2.128/25"},
    ),
    Drill(
        rule=RULE,
        name="IPv6",
        build=lan,
        break_=lambda lab, host: host.ip("route add unreachable 2001:db8::/96"),
        repair=None,
        expect={"dst": "2001:db8::/96"},
    ),
)
