"""The distinct ways out of a family's routes: each next hop once, with the routes that use it, and their rivals.

A full Internet table has a million routes and a handful of next hops, so rules that judge next hops (does the gateway
answer, has its link a carrier, is it attached at all) ask here. A route names its hops in its own columns, in
RTA_MULTIPATH, or by a nexthop object; the kernel writes an object's hops into the route as well, unless
net.ipv4.nexthop_compat_mode is 0 (fib_dump_info() in net/ipv4/fib_semantics.c, rt6_fill_node() in net/ipv6/route.c):
then they are taken from the object.

Pure. For what one packet does there is netdiag.index.policy; here all packets are meant at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netdiag.index.fib import Fib
from netdiag.model.distinct import among
from netdiag.model.nexthop import Nexthop
from netdiag.model.route import RTN_UNICAST, RTNH_F_DEAD, RTNH_F_LINKDOWN, RTNH_F_ONLINK, RouteHop, Routes, address_text

Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

_PEELS = 16
"""Ways taken off one by one before the rest is sorted: comparing a column is far cheaper than sorting it."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way out, and the routes of one table that have it."""

    table: int
    hop: RouteHop
    legs: tuple[RouteHop, ...]
    """Every hop of these routes, this one among them; this one alone where they are no multipath routes."""
    positions: Positions
    """The routes, in dump order; never empty."""

    @property
    def onlink(self) -> bool:
        """RTNH_F_ONLINK: whoever made the route vouches for the gateway."""
        return bool(self.hop.flags & RTNH_F_ONLINK)

    @property
    def linkdown(self) -> bool:
        """RTNH_F_LINKDOWN: the interface has no carrier."""
        return bool(self.hop.flags & RTNH_F_LINKDOWN)

    @property
    def dead(self) -> bool:
        """RTNH_F_DEAD: the kernel does not use the hop; also set where a hop without carrier is to be ignored."""
        return bool(self.hop.flags & RTNH_F_DEAD)


def ways(routes: Routes, nexthops: Iterable[Nexthop] = (), chosen: Mask | None = None) -> Iterator[Way]:
    """The distinct ways of the unicast routes (of those in ``chosen``: shape (n,) bool), each with its routes.

    A next hop that stands alone in some routes and is a leg in others comes once for each.
    """
    unicast = routes.type == RTN_UNICAST
    if chosen is not None:
        unicast &= chosen
    several = np.array([bool(extra.multipath) for extra in routes.extras] + [False])[routes.extra]
    by_object = (routes.nh_id != 0) & (routes.oif == 0) & ~several
    yield from _alone(routes, np.flatnonzero(unicast & ~several & ~by_object))
    yield from _multipath(routes, np.flatnonzero(unicast & several))
    yield from _by_object(routes, np.flatnonzero(unicast & by_object), {nexthop.id: nexthop for nexthop in nexthops})


def _alone(routes: Routes, positions: Positions) -> Iterator[Way]:
    """Routes with a single hop of their own."""
    vias = [extra.via for extra in routes.extras] + [None]
    known = sorted({via for via in vias if via})
    via = np.array([known.index(text) + 1 if text else 0 for text in vias], np.uint64)[routes.extra[positions]]
    place = routes.oif[positions].astype(np.uint64) << np.uint64(8) | (routes.flags[positions] & 0xFF).astype(np.uint64)
    table = routes.table[positions].astype(np.uint64) << np.uint64(24) | via
    for rows in _grouped(positions, (place, table, *_words(routes.gateway[positions]))):
        first = int(rows[0])
        gateway = vias[int(routes.extra[first])]
        if gateway is None and np.any(routes.gateway[first]):
            gateway = address_text(routes.gateway[first])
        hop = RouteHop(oif=int(routes.oif[first]), gateway=gateway, flags=int(routes.flags[first]) & 0xFF)
        yield Way(table=int(routes.table[first]), hop=hop, legs=(hop,), positions=rows)


def _multipath(routes: Routes, positions: Positions) -> Iterator[Way]:
    """Routes that list several hops; routes with the same list share one extra."""
    keys = (routes.extra[positions].astype(np.uint64), routes.table[positions].astype(np.uint64))
    for rows in _grouped(positions, keys):
        legs = routes.extras[int(routes.extra[rows[0]])].multipath
        for hop in legs:
            yield Way(table=int(routes.table[rows[0]]), hop=hop, legs=legs, positions=rows)


def _by_object(routes: Routes, positions: Positions, objects: dict[int, Nexthop]) -> Iterator[Way]:
    """Routes that only name a nexthop object."""
    keys = (routes.nh_id[positions].astype(np.uint64), routes.table[positions].astype(np.uint64))
    for rows in _grouped(positions, keys):
        legs = tuple(_hops_of(int(routes.nh_id[rows[0]]), objects))
        for hop in legs:
            yield Way(table=int(routes.table[rows[0]]), hop=hop, legs=legs, positions=rows)


def _hops_of(number: int, objects: dict[int, Nexthop]) -> Iterator[RouteHop]:
    """The hops of an object or of a group's members (a group holds no groups: nh_check_attr_group())."""
    nexthop = objects.get(number)
    if nexthop is None:
        return
    members = [(objects.get(member.id), member.weight) for member in nexthop.group] or [(nexthop, 1)]
    for member, weight in members:
        if member is not None and member.oif is not None:
            yield RouteHop(oif=member.oif, gateway=member.gateway, weight=weight, flags=member.flags & 0xFF)


def _words(addresses: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.uint64], ...]:
    """Addresses as columns of 64 bits: one for IPv4 (shape (n,)), two for IPv6 (shape (n, 16))."""
    if addresses.ndim == 1:
        return (addresses.astype(np.uint64),)
    words = np.ascontiguousarray(addresses).view(np.uint64).reshape(-1, 2)
    return words[:, 0], words[:, 1]


def _grouped(positions: Positions, keys: Sequence[npt.NDArray[np.uint64]]) -> Iterator[Positions]:
    """``positions`` in groups that are equal in all ``keys`` (shape (n,) each), in dump order within each group."""
    for _ in range(_PEELS):
        if not len(positions):
            return
        same = np.ones(len(positions), bool)
        for key in keys:
            same &= key == key[0]
        yield positions[same]
        positions, keys = positions[~same], [key[~same] for key in keys]
    if len(positions):
        order = np.lexsort(tuple(keys))
        fresh = np.zeros(len(order), bool)
        for key in keys:
            fresh[1:] |= np.diff(key[order]) != 0
        yield from np.split(positions[order], np.flatnonzero(fresh))


@dataclass(frozen=True, kw_only=True)
class Rivals:
    """The other routes of a route's table that could carry its packets, in the order in which the kernel tries them."""

    before: list[int]
    """Same prefix and TOS."""
    after: list[int]
    shorter: list[int]
    """Shorter prefixes that hold the whole prefix, the longest first."""


def rivals(fib: Fib, position: int) -> Rivals:
    """Who is tried before and after the route at ``position``, and what is left below it."""
    routes = fib.routes
    length, tos, dst = int(routes.dst_len[position]), int(routes.tos[position]), routes.dst[position]
    before: list[int] = []
    after: list[int] = []
    shorter: list[int] = []
    for group in fib.candidates(int(routes.table[position]), int(dst) if dst.ndim == 0 else dst.tobytes()):
        if group.length < length:
            shorter += group.positions
        elif group.length == length:
            mates = [other for other in group.positions if int(routes.tos[other]) == tos]
            at = mates.index(position)
            before, after = mates[:at], mates[at + 1 :]
    return Rivals(before=before, after=after, shorter=shorter)


def led_by(routes: Routes, ifindex: int) -> Mask:
    """Routes with a next hop by the interface, the only one or one of several. Shape (n,) bool."""
    legs = [number for number, extra in enumerate(routes.extras) if any(h.oif == ifindex for h in extra.multipath)]
    return np.asarray((routes.oif == ifindex) | among(routes.extra, legs) if legs else routes.oif == ifindex)


def usable(routes: Routes, position: int, *, unusable: int = RTNH_F_DEAD) -> bool:
    """Whether the route is unicast and has a hop without any of the flags in ``unusable``.

    A route that only names a nexthop object counts as usable: the kernel deletes it with its object.
    """
    if int(routes.type[position]) != RTN_UNICAST:
        return False
    hops = routes.row(position).hops
    return not hops or any(not hop.flags & unusable for hop in hops)


def taken(fib: Fib, position: int) -> bool:
    """Whether the kernel takes this route for its prefix: everything that it tries before it is dead."""
    routes = fib.routes
    before = rivals(fib, position).before
    return all(int(routes.type[other]) == RTN_UNICAST and not usable(routes, other) for other in before)
