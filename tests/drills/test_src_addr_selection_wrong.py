"""The default route loses its source on a host whose uplink has no address: the tunnel's is taken instead.

198.51.100.9 --- gateway 192.0.2.1 --- eth0 (no address)  edge1  wg0 10.8.0.1 (a tun), br0 203.0.113.7/24
"""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

ROUTE = "default via 192.0.2.1 dev eth0 onlink"


def build(lab: Lab) -> Host:
    """The route names the public address."""
    host, gateway = lab.host("edge1"), lab.host("gateway")
    lab.link(host, "eth0", gateway, "eth0", b_addresses="192.0.2.1/24")
    lab.link(host, "wg0", gateway, "wg0", a_addresses="10.8.0.1/24", b_addresses="10.8.0.2/24")
    host.ip("link add br0 index 900 type bridge\nlink set br0 up\naddress add 203.0.113.7/24 dev br0")
    gateway.ip("route add 203.0.113.7 dev eth0\nroute add 10.8.0.1 dev wg0")
    host.ip(f"route add {ROUTE} src 203.0.113.7")
    far = lab.host("far")
    lab.link(gateway, "eth1", far, "eth0", a_addresses="198.51.100.1/24", b_addresses="198.51.100.9/24")
    gateway.sysctl({"net.ipv4.ip_forward": 1})
    far.ip("route add 203.0.113.0/24 via 198.51.100.1")
    return host


def answered(lab: Lab, host: Host) -> bool:
    """Somebody beyond the gateway, who knows no private address, answers."""
    return host.run("ping", "-c1", "-W0.3", "198.51.100.9", check=False).returncode == 0


def translated(lab: Lab) -> Host:
    """Without a source, but what leaves is rewritten."""
    host = build(lab)
    host.ip(f"route replace {ROUTE}")
    rule = 'oifname "eth0" snat to 203.0.113.7'
    lab.nft(host, f"table ip n {{\nchain s {{\ntype nat hook postrouting priority srcnat;\n{rule}\n}}\n}}")
    return host


def numbered(lab: Lab) -> Host:
    """Without a source, and the uplink has a private address of its own."""
    host = build(lab)
    host.ip(f"address add 192.168.7.2/24 dev eth0\nroute replace {ROUTE}")
    return host


RULE = "src-addr-selection-wrong"
EXPECT = {"kind": "route", "dst": "0.0.0.0/0"}
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=build,
        break_=lambda lab, host: host.ip(f"route replace {ROUTE}"),
        repair=None,
        severity="critical",
        expect=EXPECT,
        carries=answered,
        twin=translated,
    ),
    Drill(
        rule=RULE,
        name="the tunnel's address named",
        build=build,
        break_=lambda lab, host: host.ip(f"route replace {ROUTE} src 10.8.0.1"),
        repair=None,
        severity="critical",
        expect=EXPECT,
        carries=answered,
        twin=numbered,
    ),
)
