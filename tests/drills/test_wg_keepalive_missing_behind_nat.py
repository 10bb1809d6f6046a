"""A peer behind NAT without a keepalive, told by a scripted daemon; with one it is well."""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import Told, scripted
from tests.lab import Host, Lab

PEER = "A" * 42 + "E="


def build(lab: Lab) -> Host:
    host, gateway = lab.host("a"), lab.host("b")
    lab.link(host, "eth0", gateway, "eth0", a_addresses="192.168.1.7/24", b_addresses="192.168.1.1/24")
    host.ip("tuntap add dev wg0 mode tun\nlink set dev wg0 mtu 1420 up\naddress add 10.9.0.1/24 dev wg0")
    host.ip("route add default via 192.168.1.1")
    tell(host, age=20, keepalive=25)
    return host


def tell(host: Host, *, age: float, keepalive: int) -> None:
    scripted(host, "wg0", [Told(public_key=PEER, age=age, keepalive=keepalive, endpoint="198.51.100.9:51820")])


test_drill = drill_test(
    Drill(
        rule="wg-keepalive-missing-behind-nat",
        build=build,
        break_=lambda lab, host: tell(host, age=250, keepalive=0),
        repair=lambda lab, host: tell(host, age=20, keepalive=25),
        severity="info",
        expect={"kind": "wireguard-peer", "ifname": "wg0"},
    )
)
