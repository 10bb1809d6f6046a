"""A neighbour that asks with its loopback address, and a strict filter that keeps the host from answering.

    203.0.113.9/32 lo
         |
peer eth0 192.0.2.2 --- 192.0.2.1 eth0  edge1  eth1 198.51.100.1 --- router (default route)
"""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """The filter is strict, and the way back to the peer's loopback address leaves by the link that it uses."""
    host, peer, router = lab.host("edge1"), lab.host("peer"), lab.host("router")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    lab.link(host, "eth1", router, "eth0", a_addresses="198.51.100.1/24", b_addresses="198.51.100.2/24")
    peer.ip("address add 203.0.113.9/32 dev lo")
    host.ip("route add default via 198.51.100.2\nroute add 203.0.113.9 via 192.0.2.2")
    host.sysctl({"net.ipv4.conf.eth0.rp_filter": 1})
    return host


def ask(lab: Lab, host: Host) -> None:
    """The peer does not know the host yet, and asks for it with the address that its packet has."""
    peer = lab.hosts["peer"]
    for _ in range(3):
        peer.ip("neighbour flush dev eth0")
        lab.send_udp(peer, "192.0.2.1", 9, src="203.0.113.9")


def ask_beside(lab: Lab, host: Host) -> None:
    """The same, while the router sends as every live uplink does."""
    ask(lab, host)
    lab.send_udp(lab.hosts["router"], "198.51.100.1", 9, count=20)


def loose(lab: Lab) -> Host:
    """all=2 makes the interface's own 1 loose: whoever has a way back is answered."""
    host = build(lab)
    host.ip("route del 203.0.113.9 via 192.0.2.2")
    host.sysctl({"net.ipv4.conf.all.rp_filter": 2})
    return host


RULE = "rpfilter-strict-drops-arp"
EXPECT = {"kind": "link", "ifname": "eth0"}
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=build,
        during=ask,
        break_=lambda lab, host: host.ip("route del 203.0.113.9 via 192.0.2.2"),
        repair=None,
        severity="critical",
        expect=EXPECT,
        twin=loose,
    ),
    Drill(
        rule=RULE,
        name="strict by all",
        build=build,
        during=ask,
        break_=lambda lab, host: (
            host.ip("route del 203.0.113.9 via 192.0.2.2"),
            host.sysctl({"net.ipv4.conf.all.rp_filter": 1}),
        ),
        repair=lambda lab, host: (
            lab.hosts["peer"].sysctl({"net.ipv4.conf.eth0.arp_announce": 2})
            or host.sysctl({"net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.eth0.rp_filter": 2})
        ),
        severity="critical",
        expect=EXPECT,
    ),
    Drill(
        rule=RULE,
        name="beside traffic",
        build=build,
        during=ask_beside,
        break_=lambda lab, host: host.ip("route del 203.0.113.9 via 192.0.2.2"),
        repair=lambda lab, host: host.ip("route add 203.0.113.9 via 192.0.2.2"),
        severity="warning",
        expect=EXPECT,
    ),
)
