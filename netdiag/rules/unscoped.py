"""Rules that rewrite the source of packets and say neither where to nor by what, so that a mesh is hit too; and those
that give what goes into a tunnel the address of an uplink, whatever they say. Pure."""

from dataclasses import replace

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Translation
from netdiag.index.view import HostView
from netdiag.model.link import Link
from netdiag.model.nft import NftExpression
from netdiag.model.route import RTN_UNICAST
from netdiag.rules.nftspecimen import meant

CHECKS_SOURCES = ("wireguard", "tun")
"""Kinds of tunnel whose other end lets in the sources that it was told, and no others."""
MOST_ASKED = 8
"""Routes into a tunnel that are tried."""
TUNNELS = {"wireguard", "vxlan", "geneve", "gre", "gretap", "ip6gre", "ipip", "sit", "ip6tnl"}

LO = b"lo".ljust(16, b"\0").hex()
"""Loopback, as the kernel compares whole names."""


def carries_mesh(link: Link) -> bool:
    """A tunnel to other hosts that know each other's addresses."""
    return link.kind in TUNNELS or (link.kind == "tun" and link.info.get("type") == "tun")


def default_ways(view: HostView, family: str) -> set[int]:
    """Interfaces of default routes, halves of the address space included."""
    routes = view.routes(family)
    rows = (routes.dst_len <= 1).nonzero()[0].tolist()
    return {hop.oif for route in view.route_rows(family, rows[:64]) for hop in route.hops} | {
        int(routes.oif[row]) for row in rows
    }


def unscoped(view: HostView, family: str, source: str | None, mesh: Link) -> Translation | None:
    """The rule that rewrites the source of everything from a prefix into a mesh, and does not say that it means it."""
    packet = Packet(family=family, iif="", oif=mesh.ifname, saddr=source, mark=None, ct_mark=None, daddr_type="unicast")
    for one in _certain(view, packet):
        assert one.at.rule is not None
        asked = meant(one.at.table, one.at.rule).fields
        loads = {e.key for e in _without_lo(one.at.rule.expressions) if e.name == "meta"}
        if "oif" not in asked and "daddr" not in asked and not loads & {"oifname", "oif", "mark"}:
            return one
        break
    return _as_uplink(view, packet, mesh) if mesh.kind in CHECKS_SOURCES else None


def _certain(view: HostView, packet: Packet) -> list[Translation]:
    """What surely becomes of the packet's source, the first to come first."""
    found = view.netfilter.hook("postrouting", packet).translations
    return [one for one in found if one.kind in ("snat", "masquerade") and one.certain and one.at.rule is not None]


def _as_uplink(view: HostView, packet: Packet, mesh: Link) -> Translation | None:
    """The rule that gives packets into the tunnel the address of an uplink, which nobody there is told to let in."""
    routes, ways = view.routes(packet.family), default_ways(view, packet.family)
    rows = ((routes.oif == mesh.ifindex) & (routes.dst_len > 1) & (routes.type == RTN_UNICAST)).nonzero()[0]
    for row in view.route_rows(packet.family, rows[:MOST_ASKED].tolist()):
        for one in _certain(view, replace(packet, daddr=row.dst))[:1]:
            owners = {owner.ifindex for owner in view.local.owners(one.addr)} if one.addr else set()
            if one.kind == "snat" and owners and mesh.ifindex not in owners and owners <= ways:
                return one
    return None


def _without_lo(expressions: tuple[NftExpression, ...]) -> list[NftExpression]:
    """The expressions but for ``oifname != "lo"``, which says nothing about where to."""
    pairs = zip(expressions, (*expressions[1:], None), strict=True)
    return [
        one
        for one, after in pairs
        if not (one.key == "oifname" and after and after.name == "cmp" and after.op == "neq" and after.value == LO)
    ]
