"""An address with the length of another subnet; and virtual addresses and a cloud's /32."""

from tests.drills import bgp
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", b_addresses=["192.0.2.1/24", "198.51.100.1/24"])
    host.ip("address add 192.0.2.5/24 brd + dev eth0")
    return host


def legitimate(lab: Lab) -> Host:
    """A virtual address beside the subnet, and a /32 with an onlink gateway on another interface."""
    host = build(lab)
    host.ip("address add 192.0.2.77/32 dev eth0")
    lab.link(host, "eth1", lab.hosts["edge2"], "eth1", a_addresses="203.0.113.9/32", b_addresses="10.0.0.1/24")
    host.ip("route add default via 10.0.0.1 dev eth1 onlink")
    return host


def remote(lab: Lab) -> Host:
    """A client of another site calls a service here, by the gateway."""
    host, gateway, client = lab.host("edge1"), lab.host("gw", sysctls={"net.ipv4.ip_forward": "1"}), lab.host("far")
    lab.link(host, "eth0", gateway, "eth0", a_addresses="10.0.0.5/24", b_addresses="10.0.0.1/24")
    lab.link(gateway, "eth1", client, "eth0", a_addresses="10.50.0.1/24", b_addresses="10.50.0.9/24")
    client.ip("route add default via 10.50.0.1")
    host.ip("route add default via 10.0.0.1")
    lab.listen_tcp(host, "10.0.0.5", 443)
    called(lab)
    return host


def called(lab: Lab) -> bool:
    """It is heard, and hears the answer."""
    return lab.send_tcp(lab.hosts["far"], "10.0.0.5", 443, timeout=0.5) == "sent"


def length(host: Host, right: int, wrong: int) -> None:
    """The same address with another length; the default route stays."""
    host.ip(f"address add 10.0.0.5/{right} dev eth0\naddress del 10.0.0.5/{wrong} dev eth0")


def widened(lab: Lab, host: Host) -> None:
    length(host, 8, 24)
    lab.hosts["far"].spawn("python3", "-c", "import socket; socket.create_connection(('10.0.0.5', 443), 60)")
    lab.wait(lambda: "SYN-RECV" in host.run("ss", "-Htan").stdout, 5, "the call has come")


test_drill = drill_test(
    Drill(
        rule="addr-wrong-prefixlen",
        name="as ifconfig makes it",
        build=remote,
        break_=widened,
        repair=lambda lab, host: length(host, 24, 8),
        severity="warning",
        expect={"kind": "address", "ifname": "eth0", "address": "10.0.0.5/8"},
    ),
    Drill(
        rule="addr-wrong-prefixlen",
        build=build,
        break_=lambda lab, host: host.sh("ip addr flush dev eth0; ip addr add 192.0.2.5/26 brd 192.0.2.255 dev eth0"),
        repair=None,
        severity="warning",
        expect={"kind": "address", "ifname": "eth0", "address": "192.0.2.5/26"},
        twin=legitimate,
    ),
    Drill(
        rule="addr-wrong-prefixlen",
        name="under a session",
        build=bgp.world,
        break_=lambda lab, host: host.ip("address del 192.0.2.1/24 dev eth0\naddress add 192.0.2.1/32 dev eth0"),
        settle=lambda lab, host: not bgp.stands(host, "up1"),
        repair=lambda lab, host: host.ip("address del 192.0.2.1/32 dev eth0\naddress add 192.0.2.1/24 dev eth0"),
        carries=lambda lab, host: bgp.stands(host, "up1"),
        severity="critical",
        expect={"kind": "address", "ifname": "eth0"},
        explains=("bgp-not-established",),
    ),
)
