"""VXLAN interfaces whose packets do not fit the cable below them; other kinds of tunnel in the guest.

What becomes of the packets of GRE, IPIP, SIT, ip6tnl and Geneve was measured by hand on Debian's 6.1 kernel: see the
table of the rule's page. in_guest_tunnels.py beside this file holds their sizes against what the kernel gives them.
"""

import functools
from collections.abc import Callable

import pytest

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.vm.oneboot import InGuest

RULE = "tunnel-mtu-headroom-missing"


def hosts(lab: Lab, *, mtu: int = 1500) -> Host:
    """edge1 eth0 192.0.2.1 ---- 192.0.2.2 eth0 edge2, with IPv6 beside"""
    one, two = lab.host("edge1"), lab.host("edge2")
    lab.link(
        one, "eth0", two, "eth0", mtu=mtu,
        a_addresses=["192.0.2.1/30", "2001:db8::1/64"], b_addresses=["192.0.2.2/30", "2001:db8::2/64"],
    )  # fmt: skip
    return one


def tunnel(lab: Lab, host: Host, *, mtu: int, settings: str = "", family: str = "inet", bound: bool = False) -> None:
    """vx0 10.0.0.1 ---- 10.0.0.2 vx0, over IPv4 or IPv6; ``bound`` ties it to eth0."""
    ends = {"inet": "192.0.2.{}", "inet6": "2001:db8::{}"}[family]
    for number, other in (("1", "2"), ("2", "1")):
        lab.hosts[f"edge{number}"].ip(
            f"link add name vx0 {f'mtu {mtu} ' if not bound else ''}type vxlan id 7 dstport 4789"
            f" remote {ends.format(other)} {settings} {'dev eth0' if bound else ''}\n"
            f"address add 10.0.0.{number}/24 dev vx0\n"
            "link set dev vx0 up"
        )


def made(**how: object) -> Callable[[Lab], Host]:
    """The healthy hosts with a tunnel between them."""

    def build(lab: Lab) -> Host:
        host = hosts(lab, mtu=int(str(how.get("underlay", 1500))))
        tunnel(lab, host, **{key: value for key, value in how.items() if key != "underlay"})  # type: ignore[arg-type]
        return host

    return build


def external(lab: Lab) -> Host:
    """A tunnel that is told the far end of each packet, as Open vSwitch and Cilium use it."""
    host = hosts(lab)
    host.ip("link add name vx0 mtu 65000 type vxlan external dstport 4789\nlink set dev vx0 up")
    return host


def limited_routes(lab: Lab) -> Host:
    """The interface takes 1500, but every route over it is limited to what fits."""
    host = hosts(lab)
    host.ip("link add name vx0 mtu 1500 type vxlan id 7 remote 192.0.2.2 dstport 4789\nlink set dev vx0 up")
    host.ip("address add 10.0.0.1/32 dev vx0\nroute add 10.0.0.0/24 dev vx0 mtu 1450")
    return host


def small_bridge(lab: Lab) -> Host:
    """The tunnel is a port among containers of 1450."""
    host = hosts(lab)
    lab.link(host, "web0", lab.host("web"), "eth0", b_addresses="10.0.0.3/24", mtu=1450)
    host.ip(
        "link add name br0 type bridge\nlink set dev br0 up\nlink set dev web0 master br0\n"
        "link add name vx0 mtu 1500 type vxlan id 7 remote 192.0.2.2 dstport 4789\n"
        "link set dev vx0 up master br0"
    )
    return host


def lower_both(lab: Lab, host: Host, mtu: int) -> None:
    for end in (host, lab.hosts["edge2"]):
        end.ip(f"link set dev eth0 mtu {mtu}")


test_drill = drill_test(
    Drill(
        name="VXLAN of 1500 over 1500",
        rule=RULE,
        build=made(mtu=1450),
        break_=lambda lab, host: host.ip("link set dev vx0 mtu 1500"),
        repair=None,
        severity="warning",
        expect={"kind": "link", "ifname": "vx0"},
        twin=made(mtu=1500, underlay=1550),
    ),
    Drill(
        name="VXLAN is made with the kernel's own 1500",
        rule=RULE,
        build=hosts,
        break_=functools.partial(tunnel, mtu=1500),
        repair=None,
        expect={"kind": "link", "ifname": "vx0"},
        twin=external,
    ),
    Drill(
        name="VXLAN over IPv6",
        rule=RULE,
        build=made(mtu=1430, family="inet6"),
        break_=lambda lab, host: host.ip("link set dev vx0 mtu 1450"),
        repair=None,
        severity="critical",
        expect={"kind": "link", "ifname": "vx0"},
        twin=limited_routes,
    ),
    Drill(
        name="the cable below shrinks at both ends",
        rule=RULE,
        build=made(mtu=0, bound=True, settings="df set"),
        break_=functools.partial(lower_both, mtu=1400),
        repair=functools.partial(lower_both, mtu=1500),
        severity="critical",
        expect={"kind": "link", "ifname": "vx0"},
        twin=small_bridge,
    ),
    Drill(
        name="the route to the far end is limited",
        rule=RULE,
        build=made(mtu=1450),
        break_=lambda lab, host: host.ip("route add 192.0.2.2/32 dev eth0 mtu 1400"),
        repair=lambda lab, host: host.ip("route del 192.0.2.2/32 dev eth0"),
        expect={"kind": "link", "ifname": "vx0"},
    ),
)


@pytest.mark.parametrize(
    ("settings", "family", "arrives"),
    [("df unset", "inet", True), ("df set", "inet", False), ("df inherit", "inet", False), ("", "inet6", False)],
)
def test_what_becomes_of_a_packet_that_is_too_long(lab: Lab, settings: str, family: str, arrives: bool) -> None:
    """As the severities say: over IPv4 it is cut where DF allows it, else it is lost without a word.

    The sender is behind the tunnel's host, and sets DF as TCP does; it never hears that its packets are too long.
    """
    host = hosts(lab)
    tunnel(lab, host, mtu=1500, settings=settings, family=family)
    web = lab.host("web", sysctls={"net.ipv6.conf.all.disable_ipv6": "1"})
    host.sysctl({"net.ipv4.ip_forward": 1})
    lab.link(host, "web0", web, "eth0", a_addresses="10.1.0.1/24", b_addresses="10.1.0.2/24")
    web.ip("route add default via 10.1.0.1")
    lab.hosts["edge2"].ip("route add 10.1.0.0/24 via 10.0.0.1")
    listener = lab.listen_udp(lab.hosts["edge2"], "0.0.0.0", 7777)

    first = host.report("--rule", RULE)["findings"][0]
    assert first["severity"] == ("warning" if arrives else "critical")
    assert lab.send_udp(web, "10.0.0.2", 7777, count=3, size=1472) == {"sent": 3}
    assert lab.send_udp(web, "10.0.0.2", 7777, count=1, size=100) == {"sent": 1}
    lab.wait(lambda: listener.packets >= (4 if arrives else 1), what="the datagrams have come")
    assert listener.packets == (4 if arrives else 1)


@pytest.mark.in_guest("tests/drills/in_guest_tunnels.py")
def test_the_other_kinds_in_the_guest(in_guest: InGuest) -> None:
    in_guest.passed(1)
