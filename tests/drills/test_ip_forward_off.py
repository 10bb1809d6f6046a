"""Forwarding is switched off in front of guests; and hosts that were never meant to forward."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

ON = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}


def _edge(lab: Lab) -> Host:
    host, gateway = lab.host("worker1"), lab.host("gw")
    addresses = ["192.0.2.2/24", "2001:db8::2/64"]
    lab.link(host, "eth0", gateway, "eth0", a_addresses=addresses, b_addresses=["192.0.2.1/24", "2001:db8::1/64"])
    host.ip("route add default via 192.0.2.1\nroute add default via 2001:db8::1")
    return host


def taps(lab: Lab) -> Host:
    """Virtual machines behind taps, each with a host route."""
    host = _edge(lab)
    host.sysctl(ON)
    for number in range(3):
        host.ip(f"tuntap add tap{number} mode tap\nlink set tap{number} up\nroute add 10.9.0.{number} dev tap{number}")
        host.ip(f"route add 2001:db8:9::{number + 1} dev tap{number}")
    return host


def container(lab: Lab) -> Host:
    """One container on a bridge, and an uplink that knows the way back."""
    host = _edge(lab)
    host.sysctl(ON)
    host.ip("link add br0 type bridge\nlink set br0 up\naddress add 10.9.0.1/24 dev br0")
    guest = lab.host("guest1")
    lab.link(host, "veth0", guest, "eth0", b_addresses="10.9.0.2/24")
    host.ip("link set veth0 master br0")
    guest.ip("route add default via 10.9.0.1")
    lab.hosts["gw"].ip("route add 10.9.0.0/24 via 192.0.2.2")
    return host


def ask(lab: Lab, host: Host) -> None:
    """The container calls the world."""
    lab.send_udp(lab.hosts["guest1"], "192.0.2.1", 9, count=3)


def per_interface(lab: Lab) -> Host:
    """Forwarding between two interfaces only, and a third that stays out."""
    host = taps(lab)
    host.sysctl({"net.ipv4.ip_forward": 0})
    host.sysctl({f"net.ipv4.conf.{ifname}.forwarding": 1 for ifname in ("eth0", "tap0", "tap1", "tap2")})
    return host


def terminating(lab: Lab) -> Host:
    """A proxy with two uplinks, an idle bridge, a VPN's tun and a tap of another VPN with a wide subnet."""
    host, second = _edge(lab), lab.host("gw2")
    lab.link(host, "eth1", second, "eth0", a_addresses="198.51.100.2/24", b_addresses="198.51.100.1/24")
    host.ip("route add 10.0.0.0/8 via 198.51.100.1\naddress add 203.0.113.7/32 dev lo")
    host.ip("link add br0 type bridge\nlink set br0 up\naddress add 172.17.0.1/16 dev br0")
    host.ip("tuntap add tun0 mode tun\nlink set tun0 up\naddress add 10.8.0.2/24 dev tun0\nroute add 10.7.0.1 dev tun0")
    return host


def inside(lab: Lab) -> Host:
    """A container seen from inside."""
    container(lab)
    return lab.hosts["guest1"]


RULE = "ip-forward-off"
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=taps,
        tolerate=("tap-no-owner-fd",),  # the lab's taps have no VMM
        break_=lambda lab, host: host.sysctl({"net.ipv4.ip_forward": 0}),
        repair=None,
        severity="critical",
        expect={"kind": "sysctl", "name": "net.ipv4.ip_forward"},
        twin=terminating,
    ),
    Drill(
        rule=RULE,
        name="IPv6",
        build=taps,
        tolerate=("tap-no-owner-fd",),  # the lab's taps have no VMM
        break_=lambda lab, host: host.sysctl({"net.ipv6.conf.all.forwarding": 0}),
        repair=None,
        severity="critical",
        expect={"name": "net.ipv6.conf.all.forwarding"},
        twin=per_interface,
    ),
    Drill(
        rule=RULE,
        name="container that sends",
        build=container,
        during=ask,
        break_=lambda lab, host: host.sysctl({"net.ipv4.ip_forward": 0}),
        repair=None,
        severity="critical",
        expect={"name": "net.ipv4.ip_forward"},
        twin=inside,
    ),
)
