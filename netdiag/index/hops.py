"""The next hops of a route, from wherever the kernel's dump put them, and what speaks against using one.

A route names its hop itself, or several (RTA_MULTIPATH), or a nexthop object (RTA_NH_ID). For an object the dump also
expands the hops, unless net.ipv4.nexthop_compat_mode is 0: then they are taken from the objects (net/ipv4/nexthop.c,
nh_fill_node()). The flags are those of fib_nexthop_info() in net/ipv4/fib_semantics.c: RTNH_F_DEAD stands both for an
interface that is down and for one without carrier where ignore_routes_with_linkdown is set, that is for "not used now".

Pure; a route that names nothing has no hops.
"""

import ipaddress
from collections.abc import Iterable
from functools import cached_property

import numpy as np

from netdiag.index.links import LinkStack
from netdiag.index.packet import Hop
from netdiag.model.distinct import among, distinct
from netdiag.model.neighbour import (
    NTF_PROXY,
    NUD_DELAY,
    NUD_FAILED,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_PROBE,
    NUD_REACHABLE,
    NUD_STALE,
    Neighbours,
)
from netdiag.model.nexthop import Nexthop
from netdiag.model.route import RTNH_F_DEAD, RTNH_F_LINKDOWN, Routes, address_text
from netdiag.model.sysctl import Sysctls

NUD_VALID = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY
"""States with which a packet can be sent (include/net/neighbour.h)."""


class BadNeighbours:
    """Neighbours that do not answer. One that is not in the table counts as good, as it does for the kernel."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours

    @cached_property
    def _states(self) -> dict[tuple[int, str], int]:
        rows = self._neighbours
        bad = np.flatnonzero((rows.state & NUD_VALID == 0) & (rows.flags & NTF_PROXY == 0))
        states = {}
        for position in bad.tolist():
            raw = rows.dst[position].tobytes()
            address = ipaddress.IPv4Address(raw[:4]) if rows.family[position] == 2 else ipaddress.IPv6Address(raw)
            states[int(rows.ifindex[position]), str(address)] = int(rows.state[position])
        return states

    def invalid(self, hop: Hop) -> bool:
        """There is an entry for the hop's gateway and packets cannot be sent with it (not NUD_VALID)."""
        return hop.gateway is not None and (hop.oif, hop.gateway) in self._states

    def failed(self, hop: Hop) -> bool:
        """The hop's gateway did not answer to resolution (NUD_FAILED)."""
        return hop.gateway is not None and bool(self._states.get((hop.oif, hop.gateway), 0) & NUD_FAILED)


class RouteHops:
    """The next hops of one family's routes, made readable when asked for and kept."""

    def __init__(
        self,
        routes: Routes,
        nexthops: Iterable[Nexthop],
        stack: LinkStack,
        sysctls: Sysctls,
    ) -> None:
        self._routes = routes
        self._objects = {nexthop.id: nexthop for nexthop in nexthops}
        self._stack = stack
        self._conf = "inet_conf" if routes.family == "inet" else "inet6_conf"
        everywhere = sysctls.values.get("net.ipv4.conf.all.ignore_routes_with_linkdown", "0")
        # IPv4 combines "all" and the interface by OR, IPv6 looks at the interface alone (ip6_ignore_linkdown()).
        self._ignore_everywhere = routes.family == "inet" and everywhere == "1"
        self._known: dict[int, tuple[Hop, ...]] = {}
        self._shared: dict[int, tuple[int, ...]] = {}

    def of(self, position: int) -> tuple[Hop, ...]:
        """Every next hop of a route, also those that are not used now, in the kernel's order."""
        hops = self._known.get(position)
        if hops is None:
            hops = self._known[position] = tuple(self._read(position))
        return hops

    def resilient(self, position: int) -> bool:
        """The route goes through a resilient group, whose buckets keep their member whatever becomes of it."""
        nexthop = self._objects.get(int(self._routes.nh_id[position]))
        return nexthop is not None and nexthop.resilient

    def object_scope(self, hop: Hop) -> int | None:
        """Scope that the kernel noted for a hop of a nexthop object; None for other routes, or where not known."""
        nexthop = self._objects.get(int(self._routes.nh_id[hop.route])) if hop.route is not None else None
        if nexthop is None:
            return None
        members = [self._objects.get(member.id) for member in nexthop.group] or [nexthop]
        for member in members:
            if member is not None and (member.oif, member.gateway) == (hop.oif, hop.own_gateway or hop.gateway):
                return member.scope
        return None

    def shared_prefixlens(self, position: int) -> tuple[int, ...]:
        """Prefix lengths of all routes that share a nexthop object with this one; empty for a route without one."""
        mine = int(self._routes.nh_id[position])
        if not mine:
            return ()
        if mine not in self._shared:
            sharing = [number for number in self._objects if self._members(number) & self._members(mine)]
            lengths = self._routes.dst_len[among(self._routes.nh_id, [mine, *sharing])]
            self._shared[mine] = tuple(distinct(lengths).tolist())
        return self._shared[mine]

    def _members(self, nh_id: int) -> set[int]:
        nexthop = self._objects.get(nh_id)
        return {nh_id} if nexthop is None or not nexthop.group else {member.id for member in nexthop.group}

    def by_object(self, position: int) -> bool:
        """The route goes through a nexthop object."""
        return int(self._routes.nh_id[position]) != 0

    def dead(self, hop: Hop, *, ignore_linkstate: bool = False) -> bool:
        """The kernel does not use the hop: its interface is down, or without carrier and that is to be heeded."""
        if not hop.flags & RTNH_F_DEAD:
            return False
        if not ignore_linkstate or not hop.flags & RTNH_F_LINKDOWN:
            return True
        link = self._stack.by_index.get(hop.oif)
        return link is None or not link.up

    def _read(self, position: int) -> Iterable[Hop]:
        routes = self._routes
        pointer, nh_id = int(routes.extra[position]), int(routes.nh_id[position])
        extra = routes.extras[pointer] if pointer >= 0 else None
        oif, gateway = int(routes.oif[position]), routes.gateway[position]
        if extra is not None and extra.multipath:
            return [_hop(position, hop.oif, hop.gateway, hop.weight, hop.flags) for hop in extra.multipath]
        via = extra.via if extra is not None else None
        if via is None and np.any(gateway):
            via = address_text(gateway)
        if oif or via:
            return [_hop(position, oif, via, 1, int(routes.flags[position]))]
        return self._expand(position, nh_id, 1) if nh_id else ()

    def _expand(self, position: int, nh_id: int, weight: int) -> list[Hop]:
        """The hops of a nexthop object. A group holds no groups (nh_check_attr_group())."""
        nexthop = self._objects.get(nh_id)
        if nexthop is None:
            return []
        if nexthop.group:
            members = [(self._objects.get(member.id), member.weight) for member in nexthop.group]
            return [self._single(position, member, weight) for member, weight in members if member is not None]
        return [self._single(position, nexthop, weight)]

    def _single(self, position: int, nexthop: Nexthop, weight: int) -> Hop:
        flags = nexthop.flags
        link = self._stack.by_index.get(nexthop.oif or 0)
        if flags & RTNH_F_LINKDOWN and link is not None:
            own = getattr(link, self._conf).get("ignore_routes_with_linkdown", 0)
            flags |= RTNH_F_DEAD if own or self._ignore_everywhere else 0
        return _hop(position, nexthop.oif or 0, nexthop.gateway, weight, flags)


def _hop(position: int, oif: int, gateway: str | None, weight: int, flags: int) -> Hop:
    return Hop(route=position, oif=oif, gateway=gateway, weight=weight, flags=flags & 0xFF)
