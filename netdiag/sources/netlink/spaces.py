"""The reply of a sweep over namespaces into tables: all namespaces decoded together, then cut apart again.

See netdiag.sources.netnssweep for the reply. Rows of policy rules are the same bytes in most namespaces and are decoded
once. What cannot be decoded is counted. Raises ValueError where the reply is not as long as its head says.
"""

from dataclasses import dataclass, field
from struct import pack

import msgspec
import numpy as np

from netdiag.model.address import Address
from netdiag.model.link import Link
from netdiag.model.neighbour import Neighbours
from netdiag.model.nexthop import Nexthop
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import Routes
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.addresses import AddressSink
from netdiag.sources.netlink.links import LinkSink
from netdiag.sources.netlink.messages import HEADER_SIZE, walk_messages
from netdiag.sources.netlink.neighbours import NeighbourColumns
from netdiag.sources.netlink.routes import RouteColumns
from netdiag.sources.netlink.small import NexthopSink, RuleSink
from netdiag.sources.netnssweep import Head, Swept

_CACHEINFO = pack("=HH", 20, nl.IFA_CACHEINFO)
BULK = ("routes", "routes6", "neighbours", "proxies")


@dataclass
class Space:
    """One namespace of the sweep."""

    swept: Swept
    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    rules: tuple[PolicyRule, ...] = ()
    nexthops: tuple[Nexthop, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)
    """Rows in each bulk table."""
    malformed: int = 0


@dataclass
class Sweep:
    """Everything of a sweep."""

    spaces: list[Space]
    routes: Routes
    routes6: Routes
    neighbours: Neighbours


class _Cut:
    """The bytes of one dump over all namespaces, namespace by namespace."""

    def __init__(self, head: Head, raw: memoryview, start: int) -> None:
        self.raw = raw
        self.dumps = head.dumps
        self.spaces = [Space(swept) for swept in head.namespaces if not swept.error]
        self.starts: dict[str, list[int]] = {}
        for position, name in enumerate(head.dumps):
            edges = [start]
            for space in self.spaces:
                edges.append(edges[-1] + space.swept.octets[position])
            self.starts[name] = edges
            start = edges[-1]
        if start != len(raw):
            raise ValueError(f"a sweep of {len(raw)} bytes whose head speaks of {start}")

    def piece(self, name: str, number: int) -> memoryview:
        edges = self.starts[name]
        return self.raw[edges[number] : edges[number + 1]]


def decoded(reply: bytes) -> Sweep:
    """Tables of every namespace that was entered."""
    length = int.from_bytes(reply[:8], "little")
    try:
        head = msgspec.json.decode(reply[8 : 8 + length], type=Head)
    except msgspec.MsgspecError as error:
        raise ValueError(f"a sweep without a head: {error}") from error
    cut = _Cut(head, memoryview(reply), 8 + length)
    _links(cut)
    _addresses(cut)
    _rules(cut)
    _nexthops(cut)
    return Sweep(cut.spaces, _routes(cut, "routes", "inet"), _routes(cut, "routes6", "inet6"), _neighbours(cut))


def _links(cut: _Cut) -> None:
    sink = LinkSink()
    for number, space in enumerate(cut.spaces):
        first, malformed = len(sink.links), sink.malformed
        sink.feed(cut.piece("links", number))
        space.links = tuple(sink.links[first:])
        space.malformed += sink.malformed - malformed


def _addresses(cut: _Cut) -> None:
    """Most namespaces have the same few addresses, told by the same bytes but for the time at which they were made:
    the last half of struct ifa_cacheinfo, which is the last attribute."""
    known: dict[bytes, tuple[Address, ...]] = {}
    for number, space in enumerate(cut.spaces):
        raw = bytes(cut.piece("addresses", number))
        found: list[Address] = []
        for message in walk_messages(raw):
            timed = raw[message.end - 20 : message.end - 16] == _CACHEINFO
            key = raw[message.start : message.end - 8 if timed else message.end]
            rows = known.get(key)
            if rows is None:
                sink = AddressSink()
                sink.feed(memoryview(raw)[message.start - HEADER_SIZE : message.end])
                space.malformed += sink.malformed
                rows = known[key] = tuple(sink.addresses)
            found += rows
        space.addresses = tuple(found)


def _rules(cut: _Cut) -> None:
    known: dict[bytes, tuple[PolicyRule, ...]] = {}
    for number, space in enumerate(cut.spaces):
        for name in ("rules", "rules6"):
            raw = bytes(cut.piece(name, number))
            rows = known.get(raw)
            if rows is None:
                sink = RuleSink()
                sink.feed(memoryview(raw))
                space.malformed += sink.malformed
                rows = known[raw] = tuple(sink.rules)
            space.rules += rows


def _nexthops(cut: _Cut) -> None:
    for number, space in enumerate(cut.spaces):
        raw = cut.piece("nexthops", number)
        if raw:
            sink = NexthopSink()
            sink.feed(raw)
            space.nexthops = tuple(sink.nexthops)
            space.malformed += sink.malformed


def _counts(cut: _Cut, name: str) -> None:
    """Messages of each namespace. A message of another type counts as none: the sink skips it."""
    for number, space in enumerate(cut.spaces):
        edges = cut.starts[name]
        position, count, end = edges[number], 0, edges[number + 1]
        raw = cut.raw
        while position + 16 <= end:
            step = int.from_bytes(raw[position : position + 4], "little")
            if step < 16:
                break
            position += (step + 3) & ~3
            count += 1
        space.rows[name] = count


def _routes(cut: _Cut, name: str, family: str) -> Routes:
    sink = RouteColumns(family)
    _counts(cut, name)
    edges = cut.starts[name]
    if edges[-1] > edges[0]:
        sink.feed(cut.raw[edges[0] : edges[-1]])
    table = sink.finish()
    if len(table) != sum(space.rows[name] for space in cut.spaces):
        raise ValueError(f"{name} of the namespaces cannot be told apart")
    return table


def _neighbours(cut: _Cut) -> Neighbours:
    found = []
    for name in ("neighbours", "proxies"):
        sink = NeighbourColumns()
        _counts(cut, name)
        edges = cut.starts[name]
        if edges[-1] > edges[0]:
            sink.feed(cut.raw[edges[0] : edges[-1]])
        table = sink.finish()
        if len(table) != sum(space.rows[name] for space in cut.spaces):
            raise ValueError(f"{name} of the namespaces cannot be told apart")
        found.append(table)
    # Neighbours of a namespace, then its proxy entries: as its own dump would have them.
    home = np.concatenate(
        [np.repeat(np.arange(len(cut.spaces)), [space.rows[name] for space in cut.spaces]) for name in BULK[2:]]
    )
    order = np.argsort(home, kind="stable")
    columns = {
        name: np.concatenate([getattr(found[0], name), getattr(found[1], name)])[order] for name in Neighbours.COLUMNS
    }
    for space in cut.spaces:
        space.rows["neighbours"] += space.rows.pop("proxies")
    return Neighbours(**columns)
