"""Rules that rewrite the source of packets and say neither where to nor by what, so that a mesh is hit too. Pure."""

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Translation
from netdiag.index.view import HostView
from netdiag.model.link import Link
from netdiag.model.nft import NftExpression
from netdiag.rules.nftspecimen import meant

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
    found = view.netfilter.hook("postrouting", packet)
    for one in found.translations:
        if one.kind not in ("snat", "masquerade") or not one.certain or one.at.rule is None:
            continue
        asked = meant(one.at.table, one.at.rule).fields
        loads = {e.key for e in _without_lo(one.at.rule.expressions) if e.name == "meta"}
        if "oif" not in asked and "daddr" not in asked and not loads & {"oifname", "oif", "mark"}:
            return one
        return None
    return None


def _without_lo(expressions: tuple[NftExpression, ...]) -> list[NftExpression]:
    """The expressions but for ``oifname != "lo"``, which says nothing about where to."""
    pairs = zip(expressions, (*expressions[1:], None), strict=True)
    return [
        one
        for one, after in pairs
        if not (one.key == "oifname" and after and after.name == "cmp" and after.op == "neq" and after.value == LO)
    ]
