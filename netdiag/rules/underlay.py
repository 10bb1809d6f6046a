"""What a tunnel's packets go out by, and how long they may be there: for the rules about tunnels and WireGuard.

A tunnel asks the routing tables for the way to its far end and takes the MTU of that way: the path MTU that was learnt
for the far end, else the route's own metric, else the device's (ipv4_mtu() in net/ipv4/route.c, ip6_mtu() in
net/ipv6/route.c). Pure; asks for what a lookup asks for.
"""

import socket
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.finding import Unjudged
from netdiag.model.link import Link
from netdiag.model.pathmtu import PathMtu

MOST_ENDS = 64
"""Tunnel ends of one device that are looked up; they leave by a handful of uplinks."""


class Underlay(NamedTuple):
    """One way that outer packets can take."""

    link: Link
    """The device that they leave by."""
    mtu: int
    """Bytes of the longest outer packet, its IP header included."""
    source: tuple[str, object, str]
    """Where the MTU stands: fact, value and source, as evidence wants it."""


def bound(view: HostView, link: Link) -> Link | None:
    """The device that a tunnel is bound to. VXLAN names it in its own settings alone (IFLA_VXLAN_LINK)."""
    told = link.info.get("link")
    return view.stack.lower(link.ifindex) or (view.link(told) if isinstance(told, int) else None)


def far_ends(view: HostView, link: Link, family: str) -> list[str]:
    """The tunnel ends that a VXLAN device's forwarding entries name, at most ``MOST_ENDS``; all are of the device's own
    family (vxlan_fdb_add() in drivers/net/vxlan/vxlan_core.c refuses others)."""
    if link.kind != "vxlan":
        return []
    length, version = (16, socket.AF_INET6) if family == "inet6" else (4, socket.AF_INET)
    table = view.fdb
    mine = (table.ifindex == link.ifindex) & (table.dst_len == length)
    ends = {row[:length].tobytes() for row in table.dst[mine]}
    return [socket.inet_ntop(version, end) for end in sorted(ends)[:MOST_ENDS]]


def ends_unread(view: HostView, link: Link, remote: str | None) -> Iterator[Unjudged]:
    """A VXLAN device that only its forwarding entries tell the far ends of, and they were not read."""
    open_ = link.kind == "vxlan" and remote is None and link.link_netnsid is None and bound(view, link) is None
    if open_ and not view.read_whole("fdb"):
        yield Unjudged(reason=f"{link.ifname}: its far ends are not known, fdb was not read")


def by_device(link: Link, family: str) -> Underlay:
    """A device alone. IPv6 has a limit of its own for each interface, which may be below the device's (cnf.mtu6)."""
    own = link.inet6_conf.get("mtu", link.mtu) if family == "inet6" else link.mtu
    if own < link.mtu:
        return Underlay(link, own, ("IPv6 mtu", own, f"/proc/sys/net/ipv6/conf/{link.ifname}/mtu"))
    return Underlay(link, link.mtu, (f"{link.ifname} mtu", link.mtu, f"RTM_GETLINK {link.ifname} IFLA_MTU"))


def by_route(view: HostView, query: Query, learnt: Sequence[PathMtu] = ()) -> list[Underlay]:
    """Every way that the packet can take, one a next hop; empty where it does not leave this host. ``learnt``: path
    MTUs for its destination."""
    answer = view.lookup(query)
    if answer.route is None:
        return []
    route = view.route_rows(query.family, [answer.route])[0]
    limit = (route.extra.metrics if route.extra else {}).get("mtu")
    found = []
    for hop in answer.hops:
        link = view.link(hop.oif)
        if link is None:
            continue
        way = by_device(link, query.family)
        if limit is not None and limit < way.mtu:
            way = Underlay(link, limit, (f"mtu of route {route.dst}", limit, "RTM_GETROUTE RTA_METRICS RTAX_MTU"))
        for row in learnt:
            placed = (row.dst, row.ifindex, row.gateway) == (query.dst, hop.oif, hop.gateway)
            if placed and row.table in (None, answer.table) and row.mtu < way.mtu:
                told = (f"path MTU to {row.dst}, learnt by ICMP", row.mtu, "RTM_GETROUTE RTM_F_CLONED RTAX_MTU")
                way = Underlay(link, row.mtu, told)
        found.append(way)
    return found
