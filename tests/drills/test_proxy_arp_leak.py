"""proxy_arp on an uplink; and an entry for a host that is on the same side."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """An edge with a network behind it."""
    host, gateway, inner = lab.host("edge1", sysctls={"net.ipv4.ip_forward": "1"}), lab.host("gw"), lab.host("inner")
    lab.link(host, "eth0", gateway, "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    lab.link(host, "eth1", inner, "eth0", a_addresses="10.0.0.1/16", b_addresses="10.0.0.2/16")
    host.ip("route add default via 192.0.2.1")
    return host


def guests(lab: Lab) -> Host:
    """Routed guests: proxy_arp towards them, and one published on the uplink by an entry."""
    host = build(lab)
    host.ip("tuntap add dev tap0 mode tap\nlink set tap0 up")
    host.ip("neigh add proxy 10.0.0.77 dev eth0\nroute add 10.0.9.0/24 via 10.0.0.2")
    host.sysctl({"net/ipv4/conf/tap0/proxy_arp": 1, "net/ipv4/conf/eth1/proxy_arp": 1})
    return host


RULE = "proxy-arp-leak"
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=build,
        break_=lambda lab, host: host.sysctl({"net/ipv4/conf/eth0/proxy_arp": 1}),
        repair=None,
        expect={"kind": "sysctl", "ifname": "eth0"},
        twin=guests,
    ),
    Drill(
        rule=RULE,
        name="switched on for all",
        build=build,
        break_=lambda lab, host: host.sysctl({"net/ipv4/conf/all/proxy_arp": 1}),
        repair=None,
    ),
    Drill(
        rule=RULE,
        name="an entry",
        build=build,
        break_=lambda lab, host: host.ip("neigh add proxy 192.0.2.9 dev eth0"),
        repair=None,
        expect={"kind": "neighbour", "dst": "192.0.2.9"},
    ),
)
