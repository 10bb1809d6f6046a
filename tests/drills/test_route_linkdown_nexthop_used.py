"""Carriers that go: of the best default route, of one leg of two, over IPv6; and interfaces that are merely idle."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def uplinks(lab: Lab) -> Host:
    host, one, two = lab.host("edge1"), lab.host("gw"), lab.host("gw2")
    first, second = ["192.0.2.2/24", "2001:db8::2/64"], ["198.51.100.2/24", "2001:db8:1::2/64"]
    lab.link(host, "eth0", one, "eth0", a_addresses=first, b_addresses=["192.0.2.1/24", "2001:db8::1/64"])
    lab.link(host, "eth1", two, "eth0", a_addresses=second, b_addresses=["198.51.100.1/24", "2001:db8:1::1/64"])
    return host


def build(lab: Lab) -> Host:
    """IPv4: the first uplink is preferred; the second stands by."""
    host = uplinks(lab)
    host.ip("route add default via 192.0.2.1 metric 10\nroute add default via 198.51.100.1 metric 20")
    return host


def build_ecmp(lab: Lab) -> Host:
    host = uplinks(lab)
    host.ip("route add default nexthop via 192.0.2.1 nexthop via 198.51.100.1")
    return host


def build_bridged(lab: Lab) -> Host:
    """The preferred uplink is a bridge over the cable."""
    host, one, two = lab.host("edge1"), lab.host("gw"), lab.host("gw2")
    lab.link(host, "eth0", one, "eth0", b_addresses="192.0.2.1/24")
    lab.link(host, "eth1", two, "eth0", a_addresses="198.51.100.2/24", b_addresses="198.51.100.1/24")
    host.ip("link add br0 type bridge\nlink set eth0 master br0\nlink set br0 up\naddress add 192.0.2.2/24 dev br0")
    lab.wait(lambda: host.running("br0"))
    host.ip("route add default via 192.0.2.1 metric 10\nroute add default via 198.51.100.1 metric 20")
    return host


def build6(lab: Lab) -> Host:
    """IPv6: a router with two ways."""
    host = uplinks(lab)
    host.sysctl({"net.ipv6.conf.all.forwarding": 1})
    host.ip("route add default via 2001:db8::1 metric 10\nroute add default via 2001:db8:1::1 metric 20")
    return host


def cut(lab: Lab, host: Host) -> None:
    lab.hosts["gw"].ip("link set dev eth0 down")


def join(lab: Lab, host: Host) -> None:
    lab.hosts["gw"].ip("link set dev eth0 up")


def idle(lab: Lab) -> Host:
    """A bridge whose only port has gone, a tap that nobody has opened, a container that is stopped."""
    host, guest = lab.host("worker", sysctls={"net.ipv4.ip_forward": "1"}), lab.host("guest")
    lab.link(host, "eth0", lab.host("gw"), "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    lab.link(host, "veth1", guest, "eth0")
    host.ip("link add docker0 type bridge\naddress add 172.17.0.1/16 dev docker0\nlink set docker0 up")
    lab.link(host, "veth0", guest, "eth1")
    host.ip(
        "link set veth0 master docker0\ntuntap add tap0 mode tap\nlink set tap0 up\naddress add 10.9.0.1/24 dev tap0"
    )
    host.ip("route add default via 192.0.2.1\nroute add 10.1.0.7/32 dev veth1\nroute add 10.2.0.0/16 via 10.9.0.2")
    host.ip("route add 10.3.0.0/16 via 172.17.0.2")
    host.ip("link del veth0")
    guest.ip("link set eth0 down")
    lab.wait(lambda: host.run("ip", "route").stdout.count("linkdown") >= 4, what="all of them without carrier")
    return host


def ignored(lab: Lab) -> Host:
    """The kernel was told to leave such hops out; IPv4 by "all", IPv6 by the interface."""
    host = build(lab)
    host.ip("route add default via 2001:db8::1 metric 10\nroute add default via 2001:db8:1::1 metric 20")
    host.sysctl({f"net.{v}.conf.{i}.ignore_routes_with_linkdown": 1 for v, i in (("ipv4", "all"), ("ipv6", "eth0"))})
    cut(lab, host)
    lab.wait(lambda: "linkdown" in host.run("ip", "route").stdout)
    return host


def stand_by_down(lab: Lab) -> Host:
    """The route of the worse metric has lost its carrier."""
    host = uplinks(lab)
    host.ip("route add default via 192.0.2.1 metric 20\nroute add default via 198.51.100.1 metric 10")
    cut(lab, host)
    lab.wait(lambda: "linkdown" in host.run("ip", "route").stdout)
    return host


RULE = "route-linkdown-nexthop-used"
ABOUT = {"kind": "route", "dst": "0.0.0.0/0", "table": 254, "ifname": "eth0"}
test_drill = drill_test(
    Drill(
        rule=RULE,
        name="stand-by",
        build=build,
        break_=cut,
        repair=None,
        severity="critical",
        expect=ABOUT,
        twin=idle,
        tolerate=("tap-no-owner-fd",),  # the twin's tap has a route and no VMM
    ),
    Drill(
        rule=RULE,
        name="ECMP",
        build=build_ecmp,
        break_=cut,
        repair=None,
        severity="critical",
        expect=ABOUT,
        twin=ignored,
    ),
    Drill(
        rule=RULE,
        name="bridge",
        build=build_bridged,
        break_=cut,
        repair=join,
        severity="critical",
        expect=ABOUT | {"ifname": "br0"},
        twin=stand_by_down,
    ),
    Drill(
        rule=RULE,
        name="IPv6",
        build=build6,
        break_=cut,
        repair=None,
        severity="critical",
        expect=ABOUT | {"dst": "::/0"},
    ),
)
