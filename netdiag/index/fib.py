"""Longest prefix match over the route columns of one family, one index a routing table.

What the kernel answers with a trie (net/ipv4/fib_trie.c, net/ipv6/ip6_fib.c) is answered here with sorted edges: every
prefix is painted over the line of addresses, the shorter before the longer, so that one binary search finds the longest
prefix of an address, and ``parent`` leads from there to the next shorter one. An index is built when its table is first
asked for.

Routes of one prefix form a group, in the order in which the kernel tries them: IPv4 by falling TOS, then by metric
(fib_find_alias() in net/ipv4/fib_trie.c), IPv6 by metric (fib6_add_rt2node() in net/ipv6/ip6_fib.c), equals as dumped.
Which route of a group fits a packet is decided in netdiag.index.select4 and netdiag.index.select6.

Pure. ValueError for an address or prefix that is none, or of the other family.
"""

import ipaddress
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from netdiag.model.distinct import distinct, runs
from netdiag.model.plainaddress import packed
from netdiag.model.route import Addresses, Routes

Positions = npt.NDArray[np.int64]
"""Positions in the columns of ``Routes``."""
Address = str | int | bytes
"""An address as text; or IPv4 as an integer in host order, IPv6 as 16 bytes in network order."""
Key = int | bytes
"""The same without the text."""


FEW = 4096
"""Edges of a table that are kept as a list beside the array."""


class Group(NamedTuple):
    """The routes of one prefix of one table."""

    length: int
    """Bits of the prefix."""
    positions: list[int]
    """In the order in which the kernel tries them."""


class Fib:
    """Every routing table of one family."""

    def __init__(self, routes: Routes) -> None:
        self.routes = routes
        self.family = routes.family
        self._bits = 32 if routes.family == "inet" else 128
        self._indexes: dict[int, _TableIndex] = {}

    @cached_property
    def _slices(self) -> dict[int, Positions]:
        order = np.argsort(self.routes.table, kind="stable")
        tables, begin = runs(self.routes.table[order])
        parts = np.split(order, begin[1:]) if len(tables) else []
        return dict(zip(tables.tolist(), parts, strict=True))

    def tables(self) -> tuple[int, ...]:
        """Numbers of the tables that hold a route, rising. An empty table of the kernel is not seen in a dump."""
        return tuple(self._slices)

    def positions(self, table: int) -> Positions:
        """Every route of one table, in dump order; empty where there is no such table."""
        return self._slices.get(table, np.empty(0, np.int64))

    def key(self, address: Address) -> Key:
        """An address in the form in which it is looked up."""
        if isinstance(address, str):
            plain = packed(address)
            if plain is not None and len(plain) * 8 == self._bits:
                return int.from_bytes(plain, "big") if self._bits == 32 else plain
            parsed = ipaddress.ip_address(address)
            if parsed.max_prefixlen != self._bits:
                raise ValueError(f"{address} is not an {self.family} address")
            return int(parsed) if self._bits == 32 else parsed.packed
        if isinstance(address, bytes) != (self._bits == 128):
            raise ValueError(f"{address!r} is not an {self.family} address")
        return address

    def _index(self, table: int) -> "_TableIndex | None":
        index = self._indexes.get(table)
        if index is None and table in self._slices:
            index = self._indexes[table] = _TableIndex(self.routes, self._slices[table])
        return index

    def candidates(self, table: int, dst: Address) -> Iterator[Group]:
        """The prefixes of a table that hold an address, from the longest to the shortest."""
        index = self._index(table)
        return iter(()) if index is None else index.chain(self.key(dst))

    def longest(self, table: int) -> Callable[[Key], int]:
        """What gives, for an address, a number that stands for the longest prefix of a table that holds it; -1: none.

        The table must hold a route.
        """
        index = self._index(table)
        assert index is not None
        return index.owner_of

    def lookup_many(self, table: int, dst: Addresses) -> Positions:
        """For each address the first route of its longest prefix, -1 where no prefix holds it. Shape (n,).

        ``dst`` has the form of ``Routes.dst``: shape (n,) uint32 in host order, or (n, 16) uint8 in network order.
        TOS, dead next hops and thrown routes are not looked at: this is the plain longest match, for bulk questions.
        """
        index = self._index(table)
        return np.full(len(dst), -1, np.int64) if index is None else index.first_of(dst)

    def pieces(self, table: int, dst: Addresses) -> Positions:
        """For each address the number of its piece of the line between two edges of prefixes. Shape (n,).

        Addresses of one piece have the same candidates; a prefix whose first and last address lie in one piece holds
        no longer route. -1 before the first edge, and everywhere where there is no such table. ``dst``: as above.
        """
        index = self._index(table)
        return np.full(len(dst), -1, np.int64) if index is None else index.pieces(dst)

    def routes_covering(self, table: int, prefix: str) -> Positions:
        """Routes whose prefix holds the whole of ``prefix`` (itself included), the longest first."""
        start, length = self._prefix(prefix)
        groups = [group for group in self.candidates(table, start) if group.length <= length]
        return np.array([position for group in groups for position in group.positions], np.int64)

    def routes_within(self, table: int, prefix: str) -> Positions:
        """Routes whose prefix lies in ``prefix`` (itself included), by rising address."""
        index = self._index(table)
        start, length = self._prefix(prefix)
        return np.empty(0, np.int64) if index is None else index.within(start, length)

    def _prefix(self, prefix: str) -> tuple[Key, int]:
        network = ipaddress.ip_network(prefix, strict=False)
        return self.key(str(network.network_address)), network.prefixlen


class _TableIndex:
    """One table: its prefixes painted over the line of addresses."""

    def __init__(self, routes: Routes, positions: Positions) -> None:
        self.routes = routes
        lengths = routes.dst_len[positions]
        # TOS before metric, the larger first; IPv6 routes have no TOS. Sorting is stable: equals stay as dumped.
        trial = (np.int64(255) - routes.tos[positions]) << np.int64(32) | routes.priority[positions].astype(np.int64)
        line = _line(routes.dst[positions])
        order = np.lexsort((trial, lengths, *line))
        lengths, line = lengths[order], tuple(part[order] for part in line)
        heads = np.flatnonzero(_differs(lengths, *line))
        self.order = positions[order]
        self.bounds = np.append(heads, len(order))
        """Group g is ``order[bounds[g]:bounds[g + 1]]``; groups rise by address, then by length."""
        self.lengths = lengths[heads]
        self._paint(tuple(part[heads] for part in line))

    def _paint(self, line: tuple[npt.NDArray[Any], ...]) -> None:
        """Cut the line of addresses wherever a prefix starts or has ended, and note who owns each piece."""
        groups = len(self.lengths)
        after = _after(line, self.lengths)
        both = tuple(np.concatenate(pair) for pair in zip((*line, np.zeros(groups, np.uint8)), after, strict=True))
        order = np.lexsort(both)
        both = tuple(part[order] for part in both)
        fresh = _differs(*both)
        piece = np.empty(len(order), np.int64)
        piece[order] = np.cumsum(fresh) - 1
        begin, end = piece[:groups], piece[groups:]
        # Nothing lies after the last address of all: the edge there is only the end of the last piece.
        kept = fresh & (both[-1] == 0)
        self.edges = _keys(tuple(part[kept] for part in both[:-1]))
        self.owner = np.full(len(self.edges), -1, np.int32)
        self.parent = np.full(groups, -1, np.int32)
        for length in distinct(self.lengths):
            chosen = np.flatnonzero(self.lengths == length).astype(np.int32)
            left = begin[chosen]
            sizes = end[chosen] - left
            self.parent[chosen] = self.owner[left]
            shift = np.repeat(left - np.cumsum(sizes) + sizes, sizes)
            self.owner[shift + np.arange(len(shift))] = np.repeat(chosen, sizes)

    @cached_property
    def _few(self) -> tuple[list[Any], list[int]] | None:
        """Edges and owners as lists where there are few: bisect searches those in a tenth of the time.

        An edge of IPv6 has lost its trailing NULs here, and so sorts right before the address that it is.
        """
        return (self.edges.tolist(), self.owner.tolist()) if len(self.edges) <= FEW else None

    def owner_of(self, key: Key) -> int:
        """See ``Fib.longest``."""
        if self._few is not None:
            edges, owner = self._few
            at = bisect_right(edges, key)
            return owner[at - 1] if at else -1
        piece = int(self.edges.searchsorted(_probe(key), "right")) - 1
        return int(self.owner[piece]) if piece >= 0 else -1

    def chain(self, key: Key) -> Iterator[Group]:
        """Groups that hold the address, from the longest to the shortest prefix."""
        group = self.owner_of(key)
        while group >= 0:
            positions = self.order[self.bounds[group] : self.bounds[group + 1]].tolist()
            yield Group(int(self.lengths[group]), positions)
            group = int(self.parent[group])

    def first_of(self, dst: Addresses) -> Positions:
        """See ``Fib.lookup_many``."""
        line = _line(dst)
        order = np.argsort(line[-1])  # neighbours in the line meet the same part of the index: kinder to the cache
        piece = self.edges.searchsorted(_keys(tuple(part[order] for part in line)), "right") - 1
        group = np.where(piece >= 0, self.owner[piece], -1)
        found = np.empty(len(order), np.int64)
        found[order] = np.where(group >= 0, self.order[self.bounds[np.maximum(group, 0)]], -1)
        return found

    def pieces(self, dst: Addresses) -> Positions:
        """See ``Fib.pieces``."""
        return self.edges.searchsorted(_keys(_line(dst)), "right") - 1

    @cached_property
    def _starts(self) -> npt.NDArray[Any]:
        """The first address of each group."""
        return _keys(_line(self.routes.dst[self.order[self.bounds[:-1]]]))

    def within(self, start: Key, length: int) -> Positions:
        """See ``Fib.routes_within``."""
        if isinstance(start, int):
            last: Key = start | ((1 << (32 - length)) - 1)
        else:
            last = (int.from_bytes(start, "big") | ((1 << (128 - length)) - 1)).to_bytes(16, "big")
        begin = int(self._starts.searchsorted(_probe(start), "left"))
        end = int(self._starts.searchsorted(_probe(last), "right"))
        rows = self.order[self.bounds[begin] : self.bounds[end]]
        return rows[self.routes.dst_len[rows] >= length]


def _line(addresses: Addresses) -> tuple[npt.NDArray[Any], ...]:
    """Addresses as numbers of 64 bits, the least significant part first (the order that np.lexsort wants)."""
    if addresses.ndim == 1:
        return (addresses.astype(np.uint64),)
    halves = np.ascontiguousarray(addresses).view(">u8").astype(np.uint64)
    return halves[:, 1], halves[:, 0]


def _after(line: tuple[npt.NDArray[Any], ...], lengths: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[Any], ...]:
    """The address behind the last one of each prefix, and as most significant part whether it is past all addresses."""
    size = lengths.astype(np.uint64)
    one, width = np.uint64(1), np.uint64(64)
    if len(line) == 1:
        after = line[0] + (one << (np.uint64(32) - size))
        return after & np.uint64(0xFFFFFFFF), (after >> np.uint64(32)).astype(np.uint8)
    low, high = line
    short = size <= width
    # A shift by 64 or more is not defined in C, so both are kept below and a prefix of length 0 is put right after.
    low_after = np.where(short, low, low + (one << np.where(short, 0, np.uint64(128) - size).astype(np.uint64)))
    carry = ~short & (low_after == 0)
    step = np.where(short, one << np.where(short & (size > 0), width - size, 0).astype(np.uint64), carry)
    high_after = np.where(size == 0, np.uint64(0), high + step.astype(np.uint64))
    past = (high_after == 0) & (short | carry)
    return low_after, high_after, past.astype(np.uint8)


def _keys(line: tuple[npt.NDArray[Any], ...]) -> npt.NDArray[Any]:
    """Numbers in the form that is searched: uint32, or 16 bytes.

    NumPy pads strings of a fixed width with NUL on both sides of a comparison, so a trailing NUL changes no order.
    """
    if len(line) == 1:
        return line[0].astype(np.uint32)
    halves = np.empty((len(line[0]), 2), ">u8")
    halves[:, 0], halves[:, 1] = line[1], line[0]
    return halves.view("S16").reshape(-1)


def _probe(key: Key) -> Any:
    """One address in the type of ``_keys``: with another one NumPy would convert the whole array for each search."""
    return np.uint32(key) if isinstance(key, int) else np.array(key, "S16")


def _differs(*columns: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """True where a sorted row is not the one before it."""
    fresh = np.ones(len(columns[0]), bool)
    if len(fresh):
        fresh[1:] = False
        for column in columns:
            fresh[1:] |= column[1:] != column[:-1]
    return fresh
