"""Two machines on one switch with the same hardware address, seen from the switch and from one of them."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

MAC = "02:00:00:00:00:42"


def build(lab: Lab) -> Host:
    """The host has the bridge; two containers are plugged into it."""
    host = lab.host("node1")
    host.ip("link add br0 address 02:00:00:00:00:01 type bridge\nlink set br0 up\naddress add 192.0.2.1/24 dev br0")
    for number in (2, 3):
        container = lab.host(f"c{number}")
        lab.link(host, f"v{number}", container, "eth0", b_addresses=f"192.0.2.{number}/24")
        host.ip(f"link set v{number} master br0")
    return host


def clone(lab: Lab, host: Host) -> None:
    for name in ("c2", "c3"):
        lab.hosts[name].ip(f"link set dev eth0 address {MAC}")


def member(lab: Lab) -> Host:
    """One of two hosts on a switch elsewhere."""
    host, other, switch = lab.host("a"), lab.host("b"), lab.switch()
    lab.plug(host, "eth0", switch, "192.0.2.2/24")
    lab.plug(other, "eth0", switch, "192.0.2.3/24")
    host.ip(f"link set dev eth0 address {MAC}")
    return host


def cloned(lab: Lab, host: Host) -> None:
    lab.hosts["b"].ip(f"link set dev eth0 address {MAC}")
    host.run("ip", "neigh", "replace", "192.0.2.3", "lladdr", MAC, "dev", "eth0", "nud", "stale")


def gateways(lab: Lab) -> Host:
    """Two virtual routers in separate bridges, and containers with addresses of their own."""
    host = build(lab)
    host.ip("link add br1 address 02:00:00:00:00:09 type bridge\nlink set br1 up")
    far = lab.host("c4")
    lab.link(host, "v4", far, "eth0")
    host.ip("link set v4 master br1")
    for name in ("c2", "c4"):
        lab.hosts[name].ip("link set dev eth0 address 02:00:00:00:00:77")
    return host


RULE = "mac-duplicate-on-segment"
test_drill = drill_test(
    Drill(
        rule=RULE,
        name="behind a bridge",
        build=build,
        break_=clone,
        repair=lambda lab, host: lab.hosts["c3"].ip("link set dev eth0 address 02:00:00:00:00:43"),
        severity="critical",
        expect={"kind": "link", "address": MAC},
        twin=gateways,
    ),
    Drill(
        rule=RULE,
        name="a neighbour",
        build=member,
        break_=cloned,
        repair=lambda lab, host: host.ip("link set dev eth0 address 02:00:00:00:00:44\nneigh flush dev eth0"),
        severity="critical",
        expect={"ifname": "eth0"},
    ),
)
