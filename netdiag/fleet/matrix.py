"""Which host of a mesh reaches which, and with how long packets: all ordered pairs at once, as arrays.

A pair is a WireGuard device and another one whose key it has as a peer. What is asked of each, in this order: do both
know each other, do the allowed addresses lead there, do the routes lead into the device, and do the keys live. The
length is what the devices of both ends and the interfaces under them leave. IPv4 addresses of the mesh; pure.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from netdiag.index.cryptokey import Cryptokey
from netdiag.index.fleet import End, FleetHost, FleetView
from netdiag.index.fleetedges import HANDSHAKE_LIFE
from netdiag.index.hostindex import HostIndex
from netdiag.index.packet import Query
from netdiag.model.fleetmatrix import MatrixPair, MatrixReport
from netdiag.model.route import RT_TABLE_LOCAL, RTNH_F_DEAD, Routes

STATES = ("no peer", "up", "idle", "silent", "one-sided", "not allowed", "no route")
"""What a pair can be; the position is its code."""
LETTERS = ".+~X<!%"
NO_PEER, UP, IDLE, SILENT, ONE_SIDED, NOT_ALLOWED, NO_ROUTE = range(7)
OVERHEAD4, OVERHEAD6 = 60, 80
UNICAST = 1
NOT_FOUND = -1
DEAD = RTNH_F_DEAD | 0x10
"""RTNH_F_DEAD, RTNH_F_LINKDOWN."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Matrix:
    """All ordered pairs of n devices."""

    names: tuple[str, ...]
    regions: tuple[str, ...]
    state: npt.NDArray[np.uint8]
    """Shape (n, n): code of STATES, row sends to column."""
    mtu: npt.NDArray[np.int32]
    """Shape (n, n): bytes through the tunnel; 0: not known."""

    @cached_property
    def usual(self) -> int:
        """The length that most pairs have."""
        known = self.mtu[(self.mtu > 0) & (self.state != NO_PEER)]
        return int(np.bincount(known).argmax()) if known.size else 0

    def sick(self) -> Iterator[tuple[int, int]]:
        """Pairs that are not in order, or shorter than most."""
        bad = (self.state > IDLE) | ((self.mtu > 0) & (self.mtu < self.usual) & (self.state != NO_PEER))
        yield from zip(*(axis.tolist() for axis in bad.nonzero()), strict=True)


def matrix(hosts: tuple[FleetHost, ...]) -> Matrix:
    """The matrix of a fleet."""
    ends = list(FleetView(hosts=hosts).ends.values())
    numbers = {str(end.device.public_key): number for number, end in enumerate(ends)}
    count = len(ends)
    state = np.zeros((count, count), np.uint8)
    several = Counter(end.host.name for end in ends)
    inner = [next((row.local for row in end.addresses if row.family == "inet"), "") for end in ends]
    addresses = np.array([_number(text) for text in inner], np.int64)
    allowed = np.zeros((count, count), bool)
    known = np.zeros((count, count), bool)
    under = np.zeros((count, count), np.int32)
    roads: dict[str, Roads] = {}
    for number, end in enumerate(ends):
        road = roads.get(end.host.name)
        if road is None:
            road = roads[end.host.name] = Roads(end.host)
        _fill(end, numbers, inner, _Row(state[number], allowed[number], under[number]), road)
        known[number] = state[number] != NO_PEER
        leads = road.oif(addresses, inner) == end.link.ifindex
        state[number][known[number] & ~leads & (addresses > 0)] = NO_ROUTE
    both = known & known.T
    bad = known & ~(allowed & allowed.T) & (addresses > 0) & (addresses > 0)[:, None]
    state[bad & (state != NO_ROUTE)] = NOT_ALLOWED
    alive = (state == UP) | (state.T == UP)
    state[both & alive & (state == IDLE)] = UP
    state[known & ~known.T] = ONE_SIDED
    own = np.array([end.link.mtu for end in ends], np.int32)
    inside = np.minimum(own[:, None], own[None, :]) if count else np.zeros((0, 0), np.int32)
    wide = np.where(under > 0, under, np.iinfo(np.int32).max)
    mtu = np.where(known, np.minimum(inside, np.minimum(wide, np.where(both, wide.T, wide))), 0).astype(np.int32)
    names = tuple(
        f"{end.host.name}/{end.device.ifname}" if several[end.host.name] > 1 else end.host.name for end in ends
    )
    regions = tuple(end.host.labels.get("region", "") for end in ends)
    return Matrix(names, regions, state, mtu)


class _Row(NamedTuple):
    """One row of the arrays, to be filled."""

    state: npt.NDArray[Any]
    allowed: npt.NDArray[Any]
    under: npt.NDArray[Any]


def _fill(end: End, numbers: dict[str, int], inner: list[str], row: _Row, road: "Roads") -> None:
    """What one device says of all others."""
    state, allowed, under = row
    table = end.host.tables.wireguard
    now = table.second_at or table.at
    looks = {look.public_key: look for look in table.second if look.ifname == end.device.ifname}
    keyed: Cryptokey | None = None
    outer: list[tuple[int, str]] = []
    for peer in end.device.peers:
        far = numbers.get(peer.public_key)
        if far is None:
            continue
        look = looks.get(peer.public_key)
        last = (look.latest_handshake if look is not None else None) or peer.latest_handshake
        age = None if last is None else now - last
        if age is not None and age <= HANDSHAKE_LIFE:
            state[far] = UP
        elif look is not None:
            silent = peer.endpoint is not None and look.tx_bytes > peer.tx_bytes and look.rx_bytes == peer.rx_bytes
            state[far] = SILENT if silent else IDLE
        else:
            wants = peer.endpoint is not None and peer.persistent_keepalive > 0
            state[far] = SILENT if wants and (age is None or age > 2 * HANDSHAKE_LIFE) else IDLE
        if f"{inner[far]}/32" in peer.allowed_ips:
            allowed[far] = True
        elif inner[far]:
            keyed = keyed or Cryptokey(end.device)
            found = keyed.lookup(inner[far])
            allowed[far] = found is not None and found.peer.public_key == peer.public_key
        if peer.endpoint is not None:
            outer.append((far, peer.endpoint.partition("%")[0]))
    four = [(far, address) for far, address in outer if ":" not in address]
    if four:
        where = np.array([far for far, _ in four])
        asked = np.array([_number(address) for _, address in four], np.int64)
        oifs = road.oif(asked, [address for _, address in four], end.device.fwmark)
        under[where] = [max(0, road.mtu(int(oif)) - OVERHEAD4) if oif else 0 for oif in oifs]
    for far, _ in (row for row in outer if ":" in row[1]):
        under[far] = max(0, road.widest - OVERHEAD6)


def _number(address: str) -> int:
    if not address or ":" in address:
        return 0
    a, b, c, d = address.split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)


class Roads:
    """Which interface IPv4 packets of one host leave by, for many destinations at once.

    Rules that a packet without source cannot meet are left out; where one is left that asks for the destination, or
    suppresses what it finds, each destination is looked up by itself.
    """

    def __init__(self, host: FleetHost) -> None:
        tables = host.tables
        self._index = HostIndex(tables)
        self._links = {link.ifindex: link.mtu for link in tables.links}
        self._rules = sorted((rule for rule in tables.rules if rule.family == "inet"), key=lambda rule: rule.priority)
        self._tables: dict[int, _Table | None] = {}
        self._plain: dict[int, list[int] | None] = {}

    @property
    def widest(self) -> int:
        """The largest MTU of the interfaces that IPv4 routes lead to."""
        return max((self.mtu(int(oif)) for oif in np.unique(self._index.tables.routes.oif)), default=0)

    def mtu(self, oif: int) -> int:
        """MTU of an interface; 0: not known."""
        return self._links.get(oif, 0)

    def _lookups(self, mark: int) -> list[int] | None:
        """Tables in the order in which they are asked; None: it depends on the destination."""
        if mark not in self._plain:
            self._plain[mark] = self._sequence(mark)
        return self._plain[mark]

    def _sequence(self, mark: int) -> list[int] | None:
        found: list[int] = []
        for rule in self._rules:
            mask = 0xFFFFFFFF if rule.fwmask is None else rule.fwmask
            marked = rule.fwmark is None or (mark & mask) == (rule.fwmark or 0)
            if not rule.invert and (not marked or rule.src_len or rule.iif not in (None, "lo")):
                continue
            odd = (rule.dst_len, rule.oif, rule.tos, rule.ip_proto, rule.sport_start, rule.dport_start, rule.uid_start)
            if (
                rule.invert
                or any(odd)
                or rule.suppress_prefixlength is not None
                or rule.action != "lookup"
                or rule.l3mdev
            ):
                return None
            if rule.table is not None and rule.table != RT_TABLE_LOCAL:
                found.append(rule.table)
        return found

    def _table(self, number: int) -> "_Table | None":
        if number not in self._tables:
            self._tables[number] = _Table.of(self._index.tables.routes, number)
        return self._tables[number]

    def oif(self, asked: Ints, texts: list[str], mark: int = 0) -> Ints:
        """Indexes of the interfaces; 0: no way, or several."""
        numbers = self._lookups(mark)
        tables = [self._table(number) for number in numbers or ()]
        if numbers is None or any(table is None for table in tables):
            return self._one_by_one(texts, mark)
        found = np.full(len(asked), NOT_FOUND, np.int64)
        for table in tables:
            if table is not None:
                table.search(asked, found)
        found[found == NOT_FOUND] = 0
        return found

    def _one_by_one(self, texts: list[str], mark: int) -> Ints:
        found = np.zeros(len(texts), np.int64)
        for number, text in enumerate(texts):
            if text:
                answer = self._index.routing.lookup(Query(family="inet", dst=text, mark=mark))
                devices = {hop.oif for hop in answer.hops} if not answer.errno else set()
                found[number] = devices.pop() if len(devices) == 1 else 0
        return found


@dataclass(frozen=True)
class _Table:
    """One routing table, sorted by length and network, the best of equals first."""

    dst: Ints
    lengths: Ints
    oif: Ints
    """0: the packet is refused, or goes by one of several."""

    @classmethod
    def of(cls, routes: Routes, number: int) -> "_Table | None":
        """None where a route holds for some packets only (tos), or is dead."""
        rows = routes.table == number
        if bool((rows & ((routes.tos != 0) | (routes.flags & DEAD != 0))).any()):
            return None
        dst, lengths = np.asarray(routes.dst, np.int64)[rows], np.asarray(routes.dst_len, np.int64)[rows]
        order = np.lexsort((np.asarray(routes.priority)[rows], dst, lengths))
        oif = np.where(routes.type[rows] == UNICAST, np.asarray(routes.oif, np.int64)[rows], 0)
        return cls(dst[order], lengths[order], oif[order])

    def search(self, asked: Ints, found: Ints) -> None:
        """Longest prefix match, one search for each length, of what is not found yet."""
        for length in np.unique(self.lengths)[::-1].tolist():
            rows = slice(*np.searchsorted(self.lengths, [length, length + 1]).tolist())
            nets, oifs = self.dst[rows], self.oif[rows]
            masked = asked >> (32 - length) << (32 - length) if length else np.zeros_like(asked)
            at = np.searchsorted(nets, masked)
            hit = (found == NOT_FOUND) & (at < len(nets))
            hit[hit] = nets[at[hit]] == masked[hit]
            found[hit] = oifs[at[hit]]


def report(told: Matrix, *, most: int = 1000) -> MatrixReport:
    """The matrix for machines; at most so many sick pairs are named, all are in the rows."""
    letters = np.array(list(LETTERS))
    lengths, counts = np.unique(told.mtu[told.state != NO_PEER], return_counts=True)
    sick: list[MatrixPair] = []
    for near, far in told.sick():
        if len(sick) >= most:
            break
        sick.append(
            MatrixPair(
                near=told.names[near],
                far=told.names[far],
                state=STATES[int(told.state[near, far])],
                mtu=int(told.mtu[near, far]) or None,
            )
        )
    return MatrixReport(
        hosts=told.names,
        legend=dict(zip(LETTERS, STATES, strict=True)),
        counts={name: int((told.state == code).sum()) for code, name in enumerate(STATES)},
        rows=tuple("".join(row) for row in letters[told.state].tolist()),
        mtus={str(int(length)): int(count) for length, count in zip(lengths, counts, strict=True) if length},
        sick=tuple(sick),
    )
