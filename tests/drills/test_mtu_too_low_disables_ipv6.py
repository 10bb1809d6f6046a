"""An MTU below 1280 takes IPv6 off an interface."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

RULE = "mtu-too-low-disables-ipv6"
ONE, TWO = ["192.0.2.1/30", "2001:db8::1/64"], ["192.0.2.2/30", "2001:db8::2/64"]


def cable(lab: Lab) -> Host:
    """edge1 eth0 ---- eth0 edge2, both families"""
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses=ONE, b_addresses=TWO)
    return host


def ipv6_alone(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses=ONE[1], b_addresses=TWO[1])
    return host


def bridge(lab: Lab) -> Host:
    """A bridge with both families and two containers behind it."""
    host = lab.host("worker")
    host.ip("link add name br0 type bridge\nlink set dev br0 up\naddress add 10.0.0.254/24 dev br0")
    host.ip("address add 2001:db8:1::1/64 dev br0")
    for name, last in (("web", 1), ("db", 2)):
        container = lab.host(name)
        lab.link(container, "eth0", host, name, a_addresses=[f"10.0.0.{last}/24", f"2001:db8:1::1{last}/64"])
        host.ip(f"link set dev {name} master br0")
    return host


def uplink(lab: Lab) -> Host:
    """A router with IPv6 on a second cable; both ends of the uplink will be lowered."""
    host = cable(lab)
    lab.link(host, "lan", lab.host("pc"), "eth0", a_addresses="2001:db8:5::1/64", b_addresses="2001:db8:5::2/64")
    host.ip("route add default via 192.0.2.2")
    return host


def both_ends(lab: Lab, mtu: int) -> None:
    for name in ("edge1", "edge2"):
        lab.hosts[name].ip(f"link set dev eth0 mtu {mtu}")


def restore(lab: Lab, host: Host) -> None:
    both_ends(lab, 1500)
    host.ip("address add 2001:db8::1/64 dev eth0")


def container_network_of_1200(lab: Lab) -> Host:
    """IPv4 alone and 1200 at both ends, on a host that has IPv6 elsewhere."""
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "uplink", peer, "eth0", a_addresses=ONE, b_addresses=TWO)
    host.ip("link add name br1 mtu 1200 type bridge\nlink set dev br1 up\naddress add 172.18.0.1/16 dev br1")
    lab.link(host, "box0", lab.host("box"), "eth0", b_addresses="172.18.0.2/16", mtu=1200)
    host.ip("link set dev box0 master br1")
    return host


def inside_the_container(lab: Lab) -> Host:
    container_network_of_1200(lab)
    box = lab.hosts["box"]
    box.ip("route add default via 172.18.0.1")
    return box


def tunnel_for_ipv4(lab: Lab) -> Host:
    """A tun device for a VPN of IPv4 alone, 1200 by design, on a host with both families."""
    host = cable(lab)
    host.ip("tuntap add dev tun0 mode tun\nlink set dev tun0 mtu 1200 up\naddress add 10.8.0.2/24 dev tun0")
    return host


def ipv6_off(lab: Lab) -> Host:
    """The administrator has switched IPv6 off, and one end is small (and lossless: the other is as small)."""
    off = {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"}
    host, peer = lab.host("edge1", sysctls=off), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses=ONE[0], b_addresses=TWO[0], mtu=1276)
    peer.ip("link set dev eth0 mtu 1280")
    return host


test_drill = drill_test(
    Drill(
        name="one end of a cable",
        rule=RULE,
        build=cable,
        break_=lambda lab, host: host.ip("link set dev eth0 mtu 1200"),
        repair=None,
        severity="warning",
        expect={"kind": "link", "ifname": "eth0"},
        explains=("link-mtu-peer-mismatch",),
        twin=container_network_of_1200,
    ),
    Drill(
        name="an interface with IPv6 alone",
        rule=RULE,
        build=ipv6_alone,
        break_=lambda lab, host: host.ip("link set dev eth0 mtu 1279"),
        repair=None,
        expect={"kind": "link", "ifname": "eth0"},
        twin=inside_the_container,
    ),
    Drill(
        name="a bridge set too small by hand",
        rule=RULE,
        build=bridge,
        break_=lambda lab, host: host.ip("link set dev br0 mtu 1200"),
        repair=None,
        expect={"kind": "link", "ifname": "br0"},
        twin=ipv6_off,
    ),
    Drill(
        name="the way out of a host that uses IPv6, lowered at both ends",
        rule=RULE,
        build=uplink,
        break_=lambda lab, host: both_ends(lab, 1200),
        repair=restore,
        expect={"kind": "link", "ifname": "eth0"},
        twin=tunnel_for_ipv4,
    ),
    Drill(
        name="a small port takes IPv6 off the whole bridge",
        rule="bridge-mtu-auto-shrunk",
        build=bridge,
        break_=lambda lab, host: host.ip(
            "link add name vx0 mtu 1200 type vxlan external dstport 4789\nlink set vx0 master br0"
        ),
        repair=lambda lab, host: host.ip("link del dev vx0"),
        expect={"kind": "link", "ifname": "br0"},
        explains=(RULE,),
    ),
)


def test_the_addresses_do_not_come_back_by_themselves(lab: Lab) -> None:
    """What the fix says: raising the MTU is half of the repair."""
    host = cable(lab)
    host.ip("link set dev eth0 mtu 1200\nlink set dev eth0 mtu 1500")
    assert host.run("ip", "-br", "-6", "address", "show", "dev", "eth0", "scope", "global").stdout == ""
    assert "fe80::" in host.run("ip", "-br", "-6", "address", "show", "dev", "eth0").stdout
