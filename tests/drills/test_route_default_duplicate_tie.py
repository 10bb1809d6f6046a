"""Default routes of one metric: by two uplinks, in a policy table, over IPv6 beside a tunnel; and what is no tie."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """Two uplinks, a default route by the first."""
    host, one, two = lab.host("edge1"), lab.host("gw"), lab.host("gw2")
    first, second = ["192.0.2.2/24", "2001:db8::2/64"], ["198.51.100.2/24", "2001:db8:1::2/64"]
    lab.link(host, "eth0", one, "eth0", a_addresses=first, b_addresses=["192.0.2.1/24", "2001:db8::1/64"])
    lab.link(host, "eth1", two, "eth0", a_addresses=second, b_addresses=["198.51.100.1/24", "2001:db8:1::1/64"])
    host.ip("route add default via 192.0.2.1\nroute add default via 2001:db8::1")
    return host


def build_policy(lab: Lab) -> Host:
    host = build(lab)
    host.ip("rule add from 198.51.100.2 table 100\nroute add default via 198.51.100.1 table 100 metric 7")
    return host


def decided(lab: Lab) -> Host:
    """IPv4: two metrics, two tables, ECMP; IPv6: two metrics."""
    host = build_policy(lab)
    host.ip("route add default via 198.51.100.1 metric 100\nroute add default via 2001:db8:1::1 metric 2048")
    host.ip("route add default table 101 nexthop via 192.0.2.1 nexthop via 198.51.100.1\nrule add fwmark 7 table 101")
    return host


def one_way(lab: Lab) -> Host:
    """The same gateway twice: for two source addresses, by two protocols."""
    host = build(lab)
    host.ip("address add 192.0.2.3/24 dev eth0\nroute append default via 192.0.2.1 src 192.0.2.3 proto static")
    return host


RULE = "route-default-duplicate-tie"
test_drill = drill_test(
    Drill(
        rule=RULE,
        name="two uplinks",
        build=build,
        break_=lambda lab, host: host.ip("route append default via 198.51.100.1"),
        repair=None,
        severity="warning",
        expect={"kind": "route", "dst": "0.0.0.0/0", "table": 254},
        twin=decided,
    ),
    Drill(
        rule=RULE,
        name="policy table",
        build=build_policy,
        break_=lambda lab, host: host.ip("route append default via 192.0.2.1 table 100 metric 7"),
        repair=None,
        expect={"dst": "0.0.0.0/0", "table": 100},
        twin=one_way,
    ),
    Drill(
        rule=RULE,
        name="IPv6 beside a route without gateway",
        build=build,
        break_=lambda lab, host: host.sh("ip -6 route append default dev eth1"),
        repair=None,
        expect={"dst": "::/0", "table": 254},
    ),
)
