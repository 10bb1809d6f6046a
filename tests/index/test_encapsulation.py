"""What each kind of tunnel puts around a packet.

The sizes of GRE, IPIP, SIT, ip6tnl and Geneve are those that Linux 6.1 takes off the underlay's 1500 bytes by itself
when such an interface is made.
"""

from typing import Any

import pytest

from netdiag.index.encapsulation import tunnel
from netdiag.model.link import Link

V4 = {"local": "192.0.2.1", "remote": "192.0.2.2"}
V6 = {"local": "2001:db8::1", "remote": "2001:db8::2"}

SIZES: list[tuple[str, dict[str, Any], int]] = [
    ("vxlan", V4, 50),
    ("vxlan", V6, 70),
    ("vxlan", {}, 50),
    ("vxlan", {"remote": "0.0.0.0", "local": "2001:db8::1"}, 70),
    ("vxlan", {"group": "ff05::1"}, 70),
    ("vxlan", {"group": "239.0.0.1"}, 50),
    ("vxlan", V4 | {"gpe": True}, 36),
    ("vxlan", V6 | {"gpe": True}, 56),
    ("geneve", V4, 50),
    ("geneve", V6, 70),
    ("geneve", V4 | {"inner_proto_inherit": True}, 36),
    ("gre", V4, 24),
    ("gre", V4 | {"oflags": 0x2000}, 28),
    ("gre", V4 | {"oflags": 0x8000}, 28),
    ("gre", V4 | {"oflags": 0x1000}, 28),
    ("gre", V4 | {"oflags": 0xB000}, 36),
    ("gre", V4 | {"encap_type": 1}, 32),
    ("gre", V4 | {"encap_type": 2}, 36),
    ("gretap", V4, 38),
    ("ipip", V4, 20),
    ("ipip", V4 | {"encap_type": 1, "oflags": 0x2000}, 28),
    ("sit", V4, 20),
    ("ip6tnl", V6 | {"flags": 0}, 48),
    ("ip6tnl", V6 | {"flags": 1}, 40),
    ("ip6gre", V6, 52),
    ("ip6gre", V6 | {"flags": 1, "oflags": 0x2000}, 48),
    ("ip6gretap", V6, 66),
]


@pytest.mark.parametrize(("kind", "info", "overhead"), SIZES)
def test_overhead(kind: str, info: dict[str, Any], overhead: int) -> None:
    found = tunnel(Link(ifindex=5, ifname="t0", kind=kind, info=info))
    assert found is not None
    assert found.overhead == overhead


@pytest.mark.parametrize("kind", ["wireguard", "veth", "bridge", None, "erspan"])
def test_other_kinds_are_no_tunnels(kind: str | None) -> None:
    assert tunnel(Link(ifindex=5, ifname="t0", kind=kind, info=dict(V4))) is None


@pytest.mark.parametrize("kind", ["vxlan", "geneve", "gre", "ip6tnl"])
def test_a_tunnel_that_is_told_its_far_end_is_not_known(kind: str) -> None:
    assert tunnel(Link(ifindex=5, ifname="t0", kind=kind, info=V4 | {"external": True})) is None


def test_what_the_outer_packet_looks_like() -> None:
    vxlan = tunnel(Link(ifindex=5, ifname="t0", kind="vxlan", info=V6 | {"port": 4789}))
    assert vxlan is not None
    assert (vxlan.name, vxlan.outer, vxlan.ethernet) == ("VXLAN over IPv6", "inet6", True)
    assert (vxlan.remote, vxlan.local, vxlan.mark) == ("2001:db8::2", "2001:db8::1", 0)
    assert (vxlan.ip_proto, vxlan.dport) == (17, 4789)
    gre = tunnel(Link(ifindex=5, ifname="t0", kind="gre", info=V4 | {"fwmark": 7, "port": 1}))
    assert gre is not None
    assert (gre.name, gre.outer, gre.ethernet, gre.mark) == ("GRE over IPv4", "inet", False, 7)
    assert (gre.ip_proto, gre.dport) == (47, None)


@pytest.mark.parametrize(
    ("kind", "info", "ip_proto"),
    [("gretap", V4, 47), ("ipip", V4, 4), ("sit", V4, 41), ("ip6gre", V6, 47), ("ip6tnl", V6, 41), ("geneve", V4, 17)],
)
def test_protocol_of_the_outer_packet(kind: str, info: dict[str, Any], ip_proto: int) -> None:
    plain = tunnel(Link(ifindex=5, ifname="t0", kind=kind, info=info))
    assert plain is not None
    assert plain.ip_proto == ip_proto
    if kind in ("ipip", "sit", "gretap"):
        wrapped = tunnel(Link(ifindex=5, ifname="t0", kind=kind, info=info | {"encap_type": 2}))
        assert wrapped is not None
        assert wrapped.ip_proto == 17
