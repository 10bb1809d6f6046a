"""A port with a small MTU joins a bridge, and the bridge shrinks to it."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

RULE = "bridge-mtu-auto-shrunk"
VXLAN = "link add name vx0 mtu 1450 type vxlan id 7 remote 192.0.2.2 dstport 4789\n"


def containers(lab: Lab, *, mtu: int = 1500) -> Host:
    """web eth0 ---- [br0 on the host, 10.0.0.254] ---- eth0 db; eth0 ---- eth0 far, where VXLAN leads"""
    host = lab.switch("worker")
    lab.link(host, "eth0", lab.host("far"), "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    for name, address in (("web", "10.0.0.1/24"), ("db", "10.0.0.2/24")):
        lab.plug(lab.host(name), "eth0", host, address, mtu=mtu)
    host.ip("address add 10.0.0.254/24 dev br0")
    return host


def set_by_hand(lab: Lab) -> Host:
    """The administrator wants 1500, and the kernel leaves that alone. Setting what already is would not count."""
    host = containers(lab)
    host.ip("link set dev br0 mtu 1400\nlink set dev br0 mtu 1500\n" + VXLAN + "link set dev vx0 up master br0")
    return host


def overlay(lab: Lab) -> Host:
    """A container network over VXLAN, 1450 throughout."""
    host = containers(lab, mtu=1450)
    host.ip(VXLAN + "link set dev vx0 up master br0")
    return host


def guests_below_their_uplink(lab: Lab) -> Host:
    """Two taps of 1400 and an uplink that was left at 1500."""
    host, router = lab.host("worker"), lab.host("router")
    host.ip("link add name br0 type bridge\nlink set dev br0 up\naddress add 10.0.0.254/24 dev br0")
    lab.link(host, "uplink", router, "eth0", b_addresses="10.0.0.1/24", mtu=1500)
    router.ip("link set dev eth0 mtu 1400")
    host.ip("link set dev uplink mtu 1400 master br0")
    for number in range(2):
        host.ip(f"tuntap add dev tap{number} mode tap\nlink set dev tap{number} mtu 1400 up master br0")
    return host


def remote_end(lab: Lab, host: Host) -> None:
    """A new container with a smaller interface, both ends of it."""
    late = lab.host("late")
    lab.plug(late, "eth0", host, "10.0.0.3/24", mtu=1400)


test_drill = drill_test(
    Drill(
        name="a VXLAN port joins",
        rule=RULE,
        build=containers,
        break_=lambda lab, host: host.ip(VXLAN + "link set dev vx0 up master br0"),
        repair=lambda lab, host: host.ip("link set dev vx0 nomaster"),
        expect={"kind": "link", "ifname": "br0"},
        severity="warning",
        twin=set_by_hand,
    ),
    Drill(
        name="a small container joins, and is mended as the fix says",
        rule=RULE,
        build=containers,
        break_=remote_end,
        repair=lambda lab, host: [
            host.ip("link set dev late0 mtu 1500"),
            lab.hosts["late"].ip("link set dev eth0 mtu 1500"),
        ],
        expect={"kind": "link", "ifname": "br0"},
        twin=overlay,
    ),
    Drill(
        name="a tap joins that is too small for IPv6",
        rule=RULE,
        build=containers,
        break_=lambda lab, host: host.ip("tuntap add dev tap0 mode tap\nlink set dev tap0 mtu 1200 up master br0"),
        repair=None,
        expect={"kind": "link", "ifname": "br0"},
        twin=guests_below_their_uplink,
    ),
)


def test_the_frames_are_lost(lab: Lab) -> None:
    """A full-sized datagram with DF from one container dies at the small port, and no counter of the sender moves."""
    host = containers(lab)
    remote_end(lab, host)
    web, late = lab.hosts["web"], lab.hosts["late"]
    listener = lab.listen_udp(late, "0.0.0.0", 7777)
    assert lab.send_udp(web, "10.0.0.3", 7777, count=3, size=1472) == {"sent": 3}
    assert lab.send_udp(web, "10.0.0.3", 7777, count=1, size=1000) == {"sent": 1}
    lab.wait(lambda: listener.packets, what="the small datagram has come")
    assert listener.packets == 1
