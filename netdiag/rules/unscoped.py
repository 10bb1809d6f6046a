"""Rules that rewrite the source of packets and say neither where to nor by what, so that a mesh is hit too; and those
that give what goes into a tunnel the address of an uplink, whatever they say. Pure."""

from dataclasses import replace
from itertools import zip_longest

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Translation
from netdiag.index.view import HostView
from netdiag.index.ways import led_by
from netdiag.model.link import Link
from netdiag.model.nft import NftExpression
from netdiag.model.route import RTN_UNICAST

CHECKS_SOURCES = ("wireguard", "tun")
"""Kinds of tunnel whose other end lets in the sources that it was told, and no others."""
MOST_ASKED = 8
"""Routes into a tunnel that are tried."""
TUNNELS = {"wireguard", "vxlan", "geneve", "gre", "gretap", "ip6gre", "ipip", "sit", "ip6tnl"}

LO = b"lo".ljust(16, b"\0").hex()
"""Loopback, as the kernel compares whole names."""


def carries_mesh(link: Link) -> bool:
    """A tunnel to other hosts that know each other's addresses."""
    return link.kind in TUNNELS or link.info.get("type") == "tun"


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
    for one in _certain(view, packet)[:1]:
        assert one.at.rule is not None
        if not {load.key for load in _without_lo(one.at.rule.expressions)} & {"oifname", "oif", "mark"}:
            return one
    return _as_uplink(view, packet, mesh) if mesh.kind in CHECKS_SOURCES else None


def _certain(view: HostView, packet: Packet) -> list[Translation]:
    """What surely becomes of the packet's source, the first to come first."""
    return [one for one in view.netfilter.hook("postrouting", packet).translations if one.certain]


def _as_uplink(view: HostView, packet: Packet, mesh: Link) -> Translation | None:
    """The rule that gives packets into the tunnel the address of an uplink, which nobody there is told to let in."""
    routes, ways = view.routes(packet.family), default_ways(view, packet.family)
    rows = (led_by(routes, mesh.ifindex) & (routes.type == RTN_UNICAST)).nonzero()[0]
    for row in view.route_rows(packet.family, rows[:MOST_ASKED].tolist()):
        for one in _certain(view, replace(packet, daddr=row.dst))[:1]:
            owners = {owner.ifindex for owner in view.local.owners(one.addr)} if one.addr else set()
            if owners and owners <= ways:
                return one
    return None


def _without_lo(expressions: tuple[NftExpression, ...]) -> list[NftExpression]:
    """The expressions but for what is compared with loopback: ``oifname != "lo"`` says nothing about where to."""
    pairs = zip_longest(expressions, expressions[1:])
    return [one for one, after in pairs if after is None or after.value != LO]
