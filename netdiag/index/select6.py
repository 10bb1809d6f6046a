"""IPv6: which route of a table a packet takes, and which of its next hops.

Mirrors fib6_table_lookup(), rt6_select(), find_rr_leaf(), rt6_score_route(), fib6_select_path() and ip6_pol_route() of
net/ipv6/route.c, fib6_node_lookup() and source subtrees of net/ipv6/ip6_fib.c. What the kernel does and few expect:

- Among routes of one prefix with the best metric the score decides: the interface asked for first (it is only a wish
  unless the destination is link-local or multicast, or no source is given), then the router preference of RFC 4191.
  Where no route of the best metric can be used, *all* others compete by score alone, their metrics forgotten.
- For a packet that arrives, "the interface asked for" is the one it came in by.
- The siblings of a multipath route are picked by hash, also against the wish for an interface; only where it is strict
  do others count out. A nexthop group is not even then bound to it.
- A host that does not forward passes over gateways whose neighbour entry is FAILED, as long as another route is left.
- A prefix with source-specific routes none of which fits is passed over at first, its plain routes included; they are
  reached again only by way of a longer prefix that failed.

Pure.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from ipaddress import IPv6Address
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from netdiag.index.fib import Fib, Group
from netdiag.index.hops import BadNeighbours, RouteHops
from netdiag.index.packet import Flow, Found, Hop
from netdiag.index.select4 import DEAD_TEXT, LINKDOWN_TEXT, SILENT_TEXT, TYPE_ERRNO
from netdiag.model.distinct import among
from netdiag.model.route import RTN_ANYCAST, RTN_BLACKHOLE, RTN_LOCAL, RTNH_F_LINKDOWN

RTPROT_KERNEL = 2


class _Entry(NamedTuple):
    """One struct fib6_info: a route, one sibling of a multipath route, or a route over a nexthop object."""

    position: int
    hops: tuple[Hop, ...]
    by_object: bool


class _Choice(NamedTuple):
    entry: _Entry
    hop: Hop


def link_scoped(address: int) -> bool:
    """Multicast or link-local."""
    return address >> 120 == 0xFF or address >> 118 == 0x3FA


class Select6:
    """Choice of route and next hop in the IPv6 tables of one namespace."""

    def __init__(
        self, fib: Fib, hops: RouteHops, neighbours: BadNeighbours, loopback: dict[int, int], *, forwarding: bool
    ) -> None:
        """``loopback``: by ifindex, where packets to the host itself go instead of it: its VRF; all others go to lo.

        ``forwarding``: net.ipv6.conf.all.forwarding.
        """
        self.fib = fib
        self.hops = hops
        self._neighbours = neighbours
        self._loopback = loopback
        self._forwarding = forwarding

    def table(self, table: int, flow: Flow) -> Found | None:
        """What one table answers; None: no route."""
        for reachable in (False,) if self._forwarding else (True, False):
            for length, positions, doubtful in self._visit(table, flow):
                choice = self._best(positions, flow, reachable)
                if choice is not None:
                    return replace(self._found(table, length, choice, flow), doubtful=doubtful)
        return None

    @cached_property
    def _sources(self) -> dict[int, tuple[int, int]]:
        """(source prefix, its mask) by position, of the source-specific routes."""
        routes = self.fib.routes
        specific = [number for number, extra in enumerate(routes.extras) if extra.src_len and extra.src is not None]
        found = {}
        for position in np.flatnonzero(among(routes.extra, specific)).tolist():
            extra = routes.extras[int(routes.extra[position])]
            mask = ((1 << extra.src_len) - 1) << (128 - extra.src_len)
            found[position] = (int(IPv6Address(extra.src or "::")) & mask, mask)
        return found

    def _visit(self, table: int, flow: Flow) -> Iterator[tuple[int, list[int], bool]]:
        """Prefixes in the order in which the kernel looks into them: source-specific routes before the plain ones.

        The flag tells that the kernel may have begun further up, see ``_overlooked``.
        """
        chain = self.fib.candidates(table, flow.dst)
        if not self._sources:
            yield from ((group.length, group.positions, False) for group in chain)
            return
        started = doubtful = False
        for group in chain:
            subtrees, plain = self._subtrees(group)
            fitting = [positions for source, mask, positions in subtrees if not (flow.src_number ^ source) & mask]
            # fib6_node_lookup_1() leaves a node whose subtree has nothing for this source; the root is the last resort.
            if not started and fitting and not plain and self._overlooked(table, group):
                started = doubtful = not flow.skip_doubtful
            else:
                started = started or bool(fitting) or not subtrees or group.length == 0
            if started:
                yield from ((group.length, positions, doubtful) for positions in (*fitting, plain) if positions)

    def _overlooked(self, table: int, group: Group) -> bool:
        """Whether the kernel may not find the source-specific routes of a prefix that has no plain one.

        If it once had one and longer prefixes lie in it, the node of the tree took over a route of one of those
        (fib6_find_prefix() of net/ipv6/ip6_fib.c), and the search begins there only for destinations in that one.
        """
        prefix = self.fib.routes.row(group.positions[0]).dst
        return group.length > 0 and len(self.fib.routes_within(table, prefix)) > len(group.positions)

    def _subtrees(self, group: Group) -> tuple[list[tuple[int, int, list[int]]], list[int]]:
        """The group's source-specific routes by source prefix, the longest first, and its plain ones."""
        parts: dict[tuple[int, int], list[int]] = {}
        plain: list[int] = []
        for position in group.positions:
            source = self._sources.get(position)
            (plain if source is None else parts.setdefault(source, [])).append(position)
        longest_first = sorted(parts.items(), key=lambda part: -part[0][1])
        return [(source, mask, positions) for (source, mask), positions in longest_first], plain

    def _entries(self, positions: list[int]) -> list[_Entry]:
        entries = []
        for position in positions:
            hops = self.hops.of(position) or (Hop(route=position, oif=1),)
            if self.hops.by_object(position):
                entries.append(_Entry(position, hops, True))
            else:
                entries += [_Entry(position, (hop,), False) for hop in hops]
        return entries

    def _best(self, positions: list[int], flow: Flow, reachable: bool) -> _Choice | None:
        """find_rr_leaf(): the best score among the routes of the lowest metric; else among all the others at once."""
        metrics = self.fib.routes.priority
        entries = self._entries(positions)
        split = 0
        while split < len(entries) and metrics[entries[split].position] == metrics[entries[0].position]:
            split += 1
        choice = self._best_of(entries[:split], flow, reachable)
        return choice if choice is not None else self._best_of(entries[split:], flow, reachable)

    def _best_of(self, entries: list[_Entry], flow: Flow, reachable: bool) -> _Choice | None:
        best, choice = -1, None
        for entry in entries:
            if entry.by_object and self.fib.routes.type[entry.position] == RTN_BLACKHOLE:
                return _Choice(entry, entry.hops[0])
            for hop in entry.hops:
                score = None if self.hops.dead(hop) else self._score(hop, flow, reachable)
                if score is not None and score > best:
                    best, choice = score, _Choice(entry, hop)
                    break  # of a group the first hop that beats the best so far stands for all (rt6_nh_find_match())
        return choice

    def _score(self, hop: Hop, flow: Flow, reachable: bool) -> int | None:
        """rt6_score_route(); None where it counts out."""
        wished = flow.iif if flow.arriving else flow.oif
        score = 2 if not wished or hop.oif == wished else 0
        if not score and flow.strict:
            return None
        if reachable and self._neighbours.failed(hop):
            return None
        # IPV6_DECODE_PREF() of include/net/ip6_route.h makes 3, 2, 1 of high, medium, low.
        return score | (self._preference(hop.route) ^ 2) << 2

    def _preference(self, position: int | None) -> int:
        pointer = int(self.fib.routes.extra[position]) if position is not None else -1
        return self.fib.routes.extras[pointer].pref if pointer >= 0 else 0

    def _found(self, table: int, length: int, choice: _Choice, flow: Flow) -> Found:
        position = choice.entry.position
        kind = int(self.fib.routes.type[position])
        found = Found(
            position=position,
            table=table,
            prefixlen=length,
            type=kind,
            errno=TYPE_ERRNO.get(kind, 0),
            other_prefixlens=self.hops.shared_prefixlens(position),
        )
        if found.errno:
            return found
        # RTF_LOCAL stands on every local route, RTF_ANYCAST only on those that the kernel made for its own prefixes.
        if kind == RTN_LOCAL or (kind == RTN_ANYCAST and self.fib.routes.protocol[position] == RTPROT_KERNEL):
            delivered = replace(choice.hop, oif=self._delivery(position, choice.hop.oif))
            return replace(found, hops=(delivered,), devices=(choice.hop.oif,))
        hops = self.hops.of(position)
        if len(hops) < 2:
            return replace(found, hops=(choice.hop,), devices=(choice.hop.oif,))
        possible = self._group_members(position, hops) if choice.entry.by_object else self._siblings(hops, choice, flow)
        left_out = tuple(self._left_out(hops, possible))
        return replace(found, hops=tuple(possible), left_out=left_out, devices=tuple(hop.oif for hop in possible))

    def _delivery(self, position: int, oif: int) -> int:
        """ip6_rt_get_dev_rcu(): by lo, in a VRF by the VRF, but link-local addresses of its members by lo again."""
        vrf = self._loopback.get(oif, 1)
        dst = int.from_bytes(self.fib.routes.dst[position].tobytes(), "big")
        return 1 if vrf != oif and (link_scoped(dst) or dst == 1) else vrf

    def _siblings(self, hops: tuple[Hop, ...], choice: _Choice, flow: Flow) -> list[Hop]:
        """fib6_select_path(): the hash falls on a live sibling; if that one counts out, the first choice stays."""
        alive = [hop for hop in hops if not self.hops.dead(hop)]
        fitting = [hop for hop in alive if self._score(hop, flow, not self._forwarding) is not None]
        stays = len(fitting) < len(alive) and choice.hop not in fitting
        return fitting + ([choice.hop] if stays else [])

    def _group_members(self, position: int, hops: tuple[Hop, ...]) -> list[Hop]:
        if self.hops.resilient(position):
            return list(hops)
        return [hop for hop in hops if not self._neighbours.invalid(hop)] or [hops[0]]

    def _left_out(self, hops: tuple[Hop, ...], possible: Iterable[Hop]) -> Iterator[Hop]:
        for hop in hops:
            if hop not in possible:
                dead = LINKDOWN_TEXT if hop.flags & RTNH_F_LINKDOWN else DEAD_TEXT
                yield replace(hop, why=dead if self.hops.dead(hop) else SILENT_TEXT)
