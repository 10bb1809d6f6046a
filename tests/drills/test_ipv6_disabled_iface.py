"""IPv6 switched off on one tap of several, on a management interface, and on the way out of guests."""

from tests.drills.harness import Drill, drill_test
from tests.drills.tapworld import worker
from tests.lab import Host, Lab

LIKE = range(4)


def build(lab: Lab) -> Host:
    """Four customers' links, with addresses of both families."""
    host = lab.host("edge1")
    for number in LIKE:
        peer = lab.host(f"cust{number}")
        near, far = ([f"10.0.{number}.{last}/24", f"2001:db8:{number}::{last}/64"] for last in (1, 2))
        lab.link(host, f"cust{number}", peer, "eth0", a_addresses=near, b_addresses=far)
    return host


def management(lab: Lab) -> Host:
    host = build(lab)
    lab.link(host, "mgmt", lab.hosts["cust0"], "eth1", a_addresses="10.9.0.1/24", b_addresses="10.9.0.2/24")
    host.sysctl({"net.ipv6.conf.mgmt.disable_ipv6": 1})
    return host


def repaired(lab: Lab, host: Host) -> None:
    host.sysctl({"net.ipv6.conf.cust2.disable_ipv6": 0})
    host.ip("address add 2001:db8:2::1/64 dev cust2")


WAY_OUT = "address add 2001:db8::2/64 dev eth0\nroute add default via 2001:db8::1"


def guests(lab: Lab) -> Host:
    """Guests with addresses of both families, and one way out."""
    host = worker(lab, v6=True)
    host.sysctl({"net.ipv6.conf.all.forwarding": 1})
    host.ip(WAY_OUT)
    return host


def on_again(lab: Lab, host: Host) -> None:
    host.sysctl({"net.ipv6.conf.eth0.disable_ipv6": 0})
    host.ip(WAY_OUT)


def private(lab: Lab) -> Host:
    """Guests whose IPv6 is for themselves."""
    host = worker(lab)
    host.ip("route add fd00:1::5/128 dev tap0\nroute add fd00:1::6/128 dev tap1")
    host.sysctl({"net.ipv6.conf.all.forwarding": 1, "net.ipv6.conf.eth0.disable_ipv6": 1})
    return host


test_drill = drill_test(
    Drill(
        rule="ipv6-disabled-iface",
        build=build,
        break_=lambda lab, host: host.sysctl({"net.ipv6.conf.cust2.disable_ipv6": 1}),
        repair=repaired,
        severity="warning",
        expect={"kind": "link", "ifname": "cust2"},
        twin=management,
    ),
    Drill(
        rule="ipv6-disabled-iface",
        name="the way out of guests",
        build=guests,
        break_=lambda lab, host: host.sysctl({"net.ipv6.conf.eth0.disable_ipv6": 1}),
        repair=on_again,
        severity="warning",
        expect={"kind": "link", "ifname": "eth0"},
        twin=private,
    ),
)
