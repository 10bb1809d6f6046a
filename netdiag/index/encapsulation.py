"""What a tunnel puts around a packet, in bytes, and between which addresses it sends the result.

Sizes: RFC 7348 (VXLAN), RFC 8926 (Geneve), RFC 2784 and RFC 2890 (GRE), RFC 2003, RFC 4213, RFC 2473; as the kernel
counts them in drivers/net/vxlan/vxlan_core.c vxlan_headroom(), drivers/net/geneve.c, net/ipv4/ip_tunnel.c,
net/ipv4/ip_gre.c, net/ipv6/ip6_tunnel.c and net/ipv6/ip6_gre.c. Pure; kinds that are not known here, and tunnels that
are told their far end packet by packet (``external``), give None.
"""

from typing import NamedTuple

from netdiag.model.link import Link

ETHERNET, IPV4, IPV6, UDP = 14, 20, 40, 8
"""Bytes of a header."""
_VXLAN = 8
"""VXLAN's header, and Geneve's without options."""
_GRE = 4
_GRE_PROTOCOL, _UDP_PROTOCOL = 47, 17
_IPV4_TUNNELS = {"gre": _GRE_PROTOCOL, "gretap": _GRE_PROTOCOL, "ipip": 4, "sit": 41}
"""Kinds over IPv4 and what their outer header carries (include/uapi/linux/in.h)."""
_GRE_OPTIONS = {0x8000: 4, 0x2000: 4, 0x1000: 4}
"""GRE_CSUM, GRE_KEY, GRE_SEQ (include/uapi/linux/if_tunnel.h), and four bytes for each."""
_IGN_ENCAP_LIMIT = 0x1
"""IP6_TNL_F_IGN_ENCAP_LIMIT (include/uapi/linux/ip6_tunnel.h); without it a destination option goes along."""
_ENCAP_LIMIT = 8
_FOU = {1: UDP, 2: UDP + 4}
"""TUNNEL_ENCAP_FOU and TUNNEL_ENCAP_GUE, the latter without options."""


class Tunnel(NamedTuple):
    """One tunnel as its underlay sees it."""

    name: str
    """``VXLAN over IPv4`` and the like."""
    outer: str
    """Family of the outer packet: ``inet`` or ``inet6``."""
    overhead: int
    """Bytes of the outer packet that are not the inner one. The inner Ethernet header counts where there is one, since
    an MTU does not."""
    ethernet: bool
    """It carries Ethernet frames, so it can be a bridge port."""
    remote: str | None
    """Far end, a unicast address; None: not set, or a multicast group."""
    local: str | None
    mark: int
    ip_proto: int
    """What the outer IP header carries."""
    dport: int | None


def tunnel(link: Link) -> Tunnel | None:
    """The tunnel that an interface is; None for another kind, and where its far end is not fixed by the interface."""
    if link.info.get("external"):
        return None
    local = _unicast(link.info.get("local"))
    remote = _unicast(link.info.get("remote"))
    ends = (local, remote, link.info.get("group"))
    outer = "inet6" if any(isinstance(end, str) and ":" in end for end in ends) else "inet"
    sized = _udp(link, outer) or _ip(link) or _ip6(link)
    if sized is None:
        return None
    name, family, overhead, ethernet, ip_proto = sized
    dport = link.info.get("port") if ip_proto == _UDP_PROTOCOL else None
    mark = link.info.get("fwmark", 0)
    return Tunnel(
        f"{name} over {'IPv4' if family == 'inet' else 'IPv6'}",
        family,
        overhead,
        ethernet,
        remote,
        local,
        mark if isinstance(mark, int) else 0,
        ip_proto,
        dport if isinstance(dport, int) else None,
    )


_Sized = tuple[str, str, int, bool, int]
"""name, outer, overhead, ethernet, ip_proto of ``Tunnel``."""


def _udp(link: Link, outer: str) -> _Sized | None:
    """VXLAN and Geneve carry Ethernet, unless told to carry bare packets (vxlan gpe, geneve inner_proto_inherit)."""
    name, bare = {"vxlan": ("VXLAN", "gpe"), "geneve": ("Geneve", "inner_proto_inherit")}.get(link.kind or "", ("", ""))
    if not name:
        return None
    ethernet = not link.info.get(bare)
    size = (IPV4 if outer == "inet" else IPV6) + UDP + _VXLAN + (ETHERNET if ethernet else 0)
    return name, outer, size, ethernet, _UDP_PROTOCOL


def _ip(link: Link) -> _Sized | None:
    """Tunnels of IPv4: GRE, IP in IP and IPv6 in IPv4, bare or in UDP (fou, gue)."""
    bare = _IPV4_TUNNELS.get(link.kind or "")
    if bare is None:
        return None
    wrapped = _FOU.get(link.info.get("encap_type") or 0, 0)
    ethernet = link.kind == "gretap"
    size = IPV4 + wrapped + (_gre(link) if bare == _GRE_PROTOCOL else 0) + (ETHERNET if ethernet else 0)
    name = "GRE" if bare == _GRE_PROTOCOL else str(link.kind)
    return name, "inet", size, ethernet, _UDP_PROTOCOL if wrapped else bare


def _ip6(link: Link) -> _Sized | None:
    """Tunnels of IPv6: GRE, and IPv4 or IPv6 in IPv6."""
    limited = not int(link.info.get("flags") or 0) & _IGN_ENCAP_LIMIT
    option = _ENCAP_LIMIT if limited else 0
    if link.kind in ("ip6gre", "ip6gretap"):
        ethernet = link.kind == "ip6gretap"
        return "GRE", "inet6", IPV6 + option + _gre(link) + (ETHERNET if ethernet else 0), ethernet, _GRE_PROTOCOL
    if link.kind == "ip6tnl":
        return "ip6tnl", "inet6", IPV6 + option, False, 41
    return None


def _gre(link: Link) -> int:
    flags = int(link.info.get("oflags") or 0)
    return _GRE + sum(size for bit, size in _GRE_OPTIONS.items() if flags & bit)


def _unicast(end: object) -> str | None:
    return end if isinstance(end, str) and end not in ("0.0.0.0", "::", "any", "") else None
