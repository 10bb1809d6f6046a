"""Routes of the main table whose source address went away; and addresses that are the host's own in unusual ways."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import connects
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """An uplink; a prefix that is local by a route alone; an IPv6 route over a nexthop object with a source on lo."""
    host, gateway = lab.host("edge1"), lab.host("gw")
    addresses = ["192.0.2.2/24", "2001:db8::2/64"]
    lab.link(host, "eth0", gateway, "eth0", a_addresses=addresses, b_addresses=["192.0.2.1/24", "2001:db8::1/64"])
    host.ip("route add default via 192.0.2.1\nroute add local 198.51.100.0/24 dev lo\naddress add 2001:db8:7::7 dev lo")
    host.ip("route add 203.0.113.0/24 via 192.0.2.1 src 198.51.100.7\nnexthop add id 7 via 2001:db8::1 dev eth0")
    host.ip("route add 2001:db8:9::/48 nhid 7 src 2001:db8:7::7")
    return host


def unusual(lab: Lab) -> Host:
    """Sources on an interface that is down, on another interface, and on lo; a standby's nonlocal source."""
    host = build(lab)
    host.ip("link add d0 type veth peer name d1\nlink set d0 up\naddress add 198.18.0.1/32 dev d0")
    host.ip("route add 198.18.1.0/24 via 192.0.2.1 src 198.18.0.1\nlink set d0 down")
    host.ip("address add 198.18.0.2/32 dev lo\nroute add 198.18.2.0/24 via 192.0.2.1 src 198.18.0.2")
    host.ip("route add 198.18.3.0/24 via 192.0.2.1 src 127.0.0.53")
    return host


RULE = "prefsrc-not-local"
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=build,
        break_=lambda lab, host: host.ip("route del local 198.51.100.0/24 dev lo"),
        repair=None,
        carries=connects("203.0.113.9"),
        severity="critical",
        expect={"kind": "route", "dst": "203.0.113.0/24", "table": 254, "ifname": "eth0"},
        twin=unusual,
    ),
    Drill(
        rule=RULE,
        name="IPv6, nexthop object",
        build=build,
        break_=lambda lab, host: host.ip("address del 2001:db8:7::7/128 dev lo"),
        repair=lambda lab, host: host.ip("address add 2001:db8:7::7/128 dev lo"),
        severity="critical",
        expect={"dst": "2001:db8:9::/48", "table": 254},
    ),
)
