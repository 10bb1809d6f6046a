"""IPv4: which route of a table a packet takes, and which of its next hops.

Mirrors fib_table_lookup() and fib_lookup_good_nhc() of net/ipv4/fib_trie.c, fib_select_path(), fib_select_multipath()
and fib_select_default() of net/ipv4/fib_semantics.c, nexthop_get_nhc_lookup() and nexthop_select_path() of
net/ipv4/nexthop.c. What the kernel does and few expect:

- A prefix none of whose routes fits (TOS, dead next hops, the wrong oif) is passed over for the next shorter one, but a
  blackhole, unreachable, prohibit or throw route that is met ends the search, whatever oif says.
- A route whose nexthop object has no usable hop takes with it all that follows on its leaf of the trie: later routes of
  its prefix, and shorter prefixes that begin with the same address (10.0.0.0/8 behind 10.0.0.0/16).
- Of several next hops the kernel picks one by a hash of the flow with a random key: here all are possible. Newer
  kernels (6.16) prefer those whose source address is the packet's.
- Nexthop groups do not look at carrier when they pick, but at the neighbour; a resilient group looks at neither.
- Of several default routes of one metric, the first whose gateway answers is taken, and it is remembered: all are
  possible.

Pure.
"""

import errno
import heapq
from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from netdiag.index.fib import Fib, Group
from netdiag.index.hops import BadNeighbours, RouteHops
from netdiag.index.packet import Flow, Found, Hop
from netdiag.index.rulewalk import LEGACY_TOS
from netdiag.model.route import (
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTN_BLACKHOLE,
    RTN_PROHIBIT,
    RTN_THROW,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    RTNH_F_LINKDOWN,
)

TYPE_ERRNO = {
    RTN_BLACKHOLE: errno.EINVAL,
    RTN_UNREACHABLE: errno.EHOSTUNREACH,
    RTN_PROHIBIT: errno.EACCES,
    RTN_THROW: errno.EAGAIN,
    10: errno.EINVAL,  # RTN_NAT
    11: errno.EINVAL,  # RTN_XRESOLVE
}
"""fib_props[] of net/ipv4/fib_semantics.c, fib6_prop[] of net/ipv6/route.c; EAGAIN: go on with the next rule."""

DEAD_TEXT = "its interface is down"
LINKDOWN_TEXT = "no carrier, and ignore_routes_with_linkdown is set; flows from before that setting may still use it"
SILENT_TEXT = "its neighbour does not answer"


class Select4:
    """Choice of route and next hop in the IPv4 tables of one namespace."""

    def __init__(self, fib: Fib, hops: RouteHops, neighbours: BadNeighbours, *, use_neigh: bool) -> None:
        """``use_neigh``: net.ipv4.fib_multipath_use_neigh."""
        self.fib = fib
        self.hops = hops
        self._neighbours = neighbours
        self._use_neigh = use_neigh

    def table(self, table: int, flow: Flow) -> Found | None:
        """What one table answers; None: no route."""
        return self._search(self._chain(table, flow), flow)

    def merged(self, flow: Flow) -> Found | None:
        """What table main answers while it shares its trie with table local, as it does until the first policy rule
        is added or deleted (fib_unmerge()): the longest prefix of both counts, local first among equals."""
        chains = [self._chain(table, flow) for table in (RT_TABLE_LOCAL, RT_TABLE_MAIN)]
        found = self._search(heapq.merge(*chains, key=lambda entry: -entry[0]), flow)
        return None if found is None else replace(found, trie=RT_TABLE_MAIN)

    def _chain(self, table: int, flow: Flow) -> Iterator[tuple[int, int, list[int]]]:
        for group in self.fib.candidates(table, flow.dst):
            yield group.length, table, group.positions

    def _search(self, groups: Iterable[tuple[int, int, list[int]]], flow: Flow) -> Found | None:
        routes = self.fib.routes
        closed = None
        for length, table, positions in groups:
            for position in positions:
                if routes.dst[position] == closed or not self._fits(position, flow):
                    continue
                kind = int(routes.type[position])
                refusal = TYPE_ERRNO.get(kind)
                if refusal is not None:
                    return Found(position=position, table=table, prefixlen=length, type=kind, errno=refusal)
                usable = self._usable(position, flow)
                if not usable and self.hops.by_object(position):
                    closed = routes.dst[position]
                elif usable:
                    found = Found(position=position, table=table, prefixlen=length, type=kind, hops=(usable[0],))
                    return replace(found, devices=(self.hops.of(position)[0].oif,))
        return None

    def _fits(self, position: int, flow: Flow) -> bool:
        tos = int(self.fib.routes.tos[position])
        if tos and tos != flow.tos & LEGACY_TOS:
            return False
        return not flow.scope or int(self.fib.routes.scope[position]) >= flow.scope

    def _usable(self, position: int, flow: Flow) -> list[Hop]:
        return [
            hop
            for hop in self.hops.of(position)
            if (not flow.oif or hop.oif == flow.oif) and not self.hops.dead(hop, ignore_linkstate=flow.ignore_linkstate)
        ]

    def spread(self, found: Found, flow: Flow, gatewayed: Callable[[Hop], bool | None]) -> Found:
        """The same route with every next hop (and every equal default route) that the packet can take.

        ``gatewayed``: whether a hop's gateway is used, see netdiag.index.lookup4.
        """
        if found.errno or flow.oif:
            return found
        hops = self.hops.of(found.position)
        if len(hops) > 1:
            by_object = self.hops.by_object(found.position)
            possible = self._group_members(found.position) if by_object else self._paths(hops, gatewayed)
            return replace(found, hops=tuple(possible), left_out=tuple(self._left_out(hops, possible)))
        mixed = found.trie not in (None, found.table)
        if found.prefixlen == 0 and found.type == RTN_UNICAST and not flow.arriving and not mixed:
            return self._equal_defaults(found, flow, gatewayed)
        return found

    def _paths(self, hops: tuple[Hop, ...], gatewayed: Callable[[Hop], bool | None]) -> list[Hop]:
        """fib_select_multipath(); fib_good_nh() asks only for the neighbour behind a gateway that is used."""
        alive = [hop for hop in hops if not self.hops.dead(hop)]
        if not self._use_neigh:
            return alive
        return [hop for hop in alive if not self._neighbours.invalid(hop) or not gatewayed(hop)] or alive[:1]

    def _group_members(self, position: int) -> list[Hop]:
        hops = self.hops.of(position)
        if self.hops.resilient(position):
            return list(hops)
        return [hop for hop in hops if not self._neighbours.invalid(hop)] or [hops[0]]

    def _left_out(self, hops: tuple[Hop, ...], possible: list[Hop]) -> Iterator[Hop]:
        for hop in hops:
            if hop in possible:
                continue
            if self.hops.dead(hop):
                yield replace(hop, why=LINKDOWN_TEXT if hop.flags & RTNH_F_LINKDOWN else DEAD_TEXT)
            else:
                yield replace(hop, why=SILENT_TEXT)

    def _equal_defaults(self, found: Found, flow: Flow, gatewayed: Callable[[Hop], bool | None]) -> Found:
        """fib_select_default(): the walk starts at the head of the list, and must meet the found route first."""
        routes = self.fib.routes
        (group,) = [group for group in self.fib.candidates(found.table, flow.dst) if group.length == 0]
        chosen = list(self._default_walk(group, found, flow, gatewayed))
        if len(group.positions) < 2 or len(chosen) < 2:
            return found
        hops = tuple(self.hops.of(position)[0] for position in chosen)
        metric = int(routes.priority[found.position])
        note = f"{len(chosen)} default routes with metric {metric}: the first whose gateway answers is used"
        return replace(found, hops=hops, notes=(*found.notes, note))

    def _default_walk(
        self, group: Group, found: Found, flow: Flow, gatewayed: Callable[[Hop], bool | None]
    ) -> Iterator[int]:
        routes = self.fib.routes
        last_metric, last_tos, met = int(routes.priority[found.position]), 0, False
        for position in group.positions:
            tos, metric = int(routes.tos[position]), int(routes.priority[position])
            if tos and tos != flow.tos & LEGACY_TOS:
                continue
            if metric > last_metric and tos == last_tos:
                if last_tos:
                    continue
                return
            last_tos, last_metric = tos, metric
            hops = self.hops.of(position)
            if routes.scope[position] != routes.scope[found.position] or routes.type[position] != RTN_UNICAST:
                continue
            if not hops or gatewayed(hops[0]) is False:
                continue
            if not met and position != found.position:
                return
            met = True
            yield position
