"""Gateways whose subnet went away behind them; and gateways that lie outside every subnet on purpose."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """An uplink with a subnet, and a second address that keeps the interface's routes alive."""
    host, gateway = lab.host("edge1"), lab.host("gw")
    addresses = ["192.0.2.2/24", "198.51.100.7/32", "2001:db8::2/64"]
    lab.link(host, "eth0", gateway, "eth0", a_addresses=addresses, b_addresses=["192.0.2.1/24", "2001:db8::1/64"])
    host.ip("route add default via 192.0.2.1\nroute add default via 2001:db8::1")
    return host


def build_object(lab: Lab) -> Host:
    """The same by a nexthop object and a policy table."""
    host = build(lab)
    host.ip("nexthop add id 7 via 192.0.2.1 dev eth0\nroute add 203.0.113.0/24 nhid 7 table 100\nrule add table 100")
    host.ip("route del default")
    return host


def cloud(lab: Lab) -> Host:
    """A /32 and a host route to the gateway; an onlink gateway; a link-local one; a tunnel's; one in another table."""
    host, gateway = lab.host("vm", sysctls={"net.ipv4.ip_forward": "1"}), lab.host("gw")
    lab.link(
        host, "eth0", gateway, "eth0", a_addresses=["198.51.100.7/32", "2001:db8:7::7/128"], b_addresses="192.0.2.1/32"
    )
    lab.link(host, "eth1", gateway, "eth1", a_addresses="203.0.113.7/32", b_addresses="fe80::1/64")
    host.ip("route add 192.0.2.1 dev eth0 scope link\nroute add default via 192.0.2.1")
    host.ip("route add 10.0.0.0/8 via 192.0.2.77 dev eth1 onlink\nroute add default via fe80::1 dev eth1")
    host.ip("route add 192.0.2.9 dev eth1 table 100\nroute add 10.9.0.0/16 via 192.0.2.9 dev eth1 table 100")
    host.ip("rule add fwmark 9 table 100\nroute add 10.8.0.0/16 via inet6 fe80::1 dev eth1")
    host.ip(
        "tuntap add tun0 mode tun\nlink set tun0 up\nroute add 10.7.0.0/24 dev tun0\nroute add 10.6.0.0/16 via 10.7.0.1"
    )
    host.ip("route del 10.7.0.0/24")
    return host


RULE = "route-onlink-missing-gateway"
test_drill = drill_test(
    Drill(
        rule=RULE,
        name="address replaced",
        build=build,
        break_=lambda lab, host: host.ip("address del 192.0.2.2/24 dev eth0"),
        repair=None,
        severity="warning",
        expect={"kind": "route", "dst": "0.0.0.0/0", "table": 254, "ifname": "eth0"},
        twin=cloud,
    ),
    Drill(
        rule=RULE,
        name="IPv6",
        build=build,
        break_=lambda lab, host: host.ip("address del 2001:db8::2/64 dev eth0"),
        repair=None,
        expect={"dst": "::/0"},
    ),
    Drill(
        rule=RULE,
        name="connected route deleted",
        build=build,
        break_=lambda lab, host: host.ip("route del 192.0.2.0/24 dev eth0"),
        repair=None,
        expect={"dst": "0.0.0.0/0"},
    ),
    Drill(
        rule=RULE,
        name="connected IPv6 route deleted",
        build=build,
        break_=lambda lab, host: host.ip("route del 2001:db8::/64 dev eth0"),
        repair=None,
        expect={"dst": "::/0"},
    ),
    Drill(
        rule=RULE,
        name="nexthop object",
        build=build_object,
        break_=lambda lab, host: host.ip("route del 192.0.2.0/24 dev eth0"),
        repair=lambda lab, host: host.ip("route add 192.0.2.0/24 dev eth0 scope link src 192.0.2.2"),
        expect={"dst": "203.0.113.0/24", "table": 100},
    ),
)
