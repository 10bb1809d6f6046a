"""``show routes``: as ``ip route show table all``, both families, one line a route.

From the columns of model.Routes, a few thousand rows at a time: a million routes are shown in the memory of one piece.
"""

from collections.abc import Callable, Iterator
from socket import AF_INET6, inet_ntoa, inet_ntop
from typing import Any

import numpy as np
import numpy.typing as npt

from netdiag.model.route import RTN_NAMES, RouteExtra, RouteHop, Routes
from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import (
    ROUTE_FLAGS,
    Names,
    flag_words,
    protocol_word,
    scope_word,
    table_word,
    without_nothing,
)

PIECE = 4096
"""Rows that are objects at one time."""


def wanted(table: Routes, filters: Filters, dev: int | None) -> npt.NDArray[np.intp]:
    """Positions of the rows that pass the filters; a multipath route passes where one of its hops does."""
    keep = np.ones(len(table), bool)
    if filters.family not in (None, table.family):
        keep[:] = False
    if filters.table is not None:
        keep &= table.table == filters.table
    if filters.proto is not None:
        keep &= table.protocol == filters.proto
    if dev is not None:
        over = [n for n, extra in enumerate(table.extras) if any(hop.oif == dev for hop in extra.multipath)]
        keep &= (table.oif == dev) | np.isin(table.extra, over)
    return np.flatnonzero(keep)


def texts(table: Routes, column: Any) -> list[str]:
    """Addresses of a piece of a column."""
    if table.family == "inet":
        return [inet_ntoa(number.to_bytes(4, "big")) for number in column.tolist()]
    octets = column.tobytes()
    return [inet_ntop(AF_INET6, octets[start : start + 16]) for start in range(0, len(octets), 16)]


def hop_row(hop: RouteHop, names: Names) -> Row:
    """One next hop of several."""
    return without_nothing(
        {
            "gateway": hop.gateway,
            "dev": names(hop.oif),
            "weight": hop.weight,
            "flags": flag_words(hop.flags, ROUTE_FLAGS),
            "encap": hop.encap,
        }
    )


def extra_row(extra: RouteExtra, names: Names) -> Row:
    """What only few routes have."""
    return {
        "via": extra.via,
        "from": f"{extra.src}/{extra.src_len}" if extra.src else None,
        "encap": extra.encap,
        "metrics": dict(extra.metrics) or None,
        "nexthops": [hop_row(hop, names) for hop in extra.multipath],
    }


class Words(dict[int, str]):
    """Numbers to words, each looked up once."""

    def __init__(self, word: Callable[[int], str | None]) -> None:
        super().__init__()
        self.word = word

    def __missing__(self, number: int) -> str:
        text = self[number] = self.word(number) or ""
        return text


class Reader:
    """Rows of a table made readable, some at a time, column by column: taking one number out of a NumPy array costs
    more than the rest of the row."""

    def __init__(self, table: Routes, names: Names) -> None:
        self.table = table
        self.names = names
        self.bits, self.none = (32, "0.0.0.0") if table.family == "inet" else (128, "::")
        self.types = Words(lambda number: RTN_NAMES.get(number, str(number)))
        self.tables = Words(table_word)
        self.protocols = Words(protocol_word)
        self.scopes = Words(scope_word)
        self.devices = Words(names)

    def rows(self, positions: npt.NDArray[np.intp]) -> Iterator[Row]:
        """The rows at these positions. What is not set is not in the row."""
        table = self.table
        addresses = [texts(table, getattr(table, name)[positions]) for name in ("dst", "gateway", "prefsrc")]
        numbers = [getattr(table, name)[positions].tolist() for name in NUMBERS]
        for dst, gateway, prefsrc, length, kind, oif, number, protocol, scope, *rare in zip(
            *addresses, *numbers, strict=True
        ):
            row: Row = {"family": table.family, "type": self.types[kind]}
            row["dst"] = dst if length == self.bits else f"{dst}/{length}" if length else "default"
            if gateway != self.none:
                row["gateway"] = gateway
            if oif:
                row["dev"] = self.devices[oif]
            row["table"] = self.tables[number]
            row["protocol"] = self.protocols[protocol]
            row["scope"] = self.scopes[scope]
            if prefsrc != self.none:
                row["prefsrc"] = prefsrc
            if rare != USUAL:
                row |= self._unusual(rare)
            yield row

    def _unusual(self, rare: list[int]) -> Row:
        """What most routes do not have."""
        priority, tos, flags, nh_id, expires, extra = rare
        row: Row = {
            "metric": priority or None,
            "tos": tos or None,
            "flags": flag_words(flags, ROUTE_FLAGS),
            "nhid": nh_id or None,
            "expires": expires if expires >= 0 else None,
        }
        if extra >= 0:
            row |= extra_row(self.table.extras[extra], self.names)
        return without_nothing(row)


NUMBERS = (
    "dst_len",
    "type",
    "oif",
    "table",
    "protocol",
    "scope",
    "priority",
    "tos",
    "flags",
    "nh_id",
    "expires",
    "extra",
)
"""Columns of numbers, in the order in which ``Reader.rows`` takes them."""
USUAL = [0, 0, 0, 0, -1, -1]
"""The last six of them where there is nothing to tell."""


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """IPv4, then IPv6, in the kernel's order."""
    names = Names(snapshot.tables.links)
    for table in (snapshot.tables.routes, snapshot.tables.routes6):
        positions = wanted(table, filters, names.index(filters.dev))
        reader = Reader(table, names)
        for start in range(0, len(positions), PIECE):
            yield from reader.rows(positions[start : start + PIECE])


def cells(row: Row) -> list[Row]:
    """The text: a line for the route, one below it for each of several hops; ``unicast`` goes without saying.

    The row itself becomes the line: it is this view's own, and copying a million of them takes seconds.
    """
    hops = row.get("nexthops", ())
    if row["type"] == "unicast":
        del row["type"]
    if row["scope"] == "global":
        del row["scope"]
    if "via" in row:
        row["gateway"] = row["via"]
    return [row, *({**hop, "dst": f"  nexthop weight {hop['weight']}"} for hop in hops)]


VIEW = View(
    collector="routes",
    filters=("table", "dev", "proto", "family"),
    rows=rows,
    cells=cells,
    columns=(
        Column("dst"),
        Column("type"),
        Column("gateway"),
        Column("dev"),
        Column("table"),
        Column("metric", 1, right=True),
        Column("protocol", 3),
        Column("scope", 5),
        Column("prefsrc", 4),
        Column("flags", 1),
        Column("nhid", 2, right=True),
        Column("encap", 2),
        Column("from", 1),
        Column("metrics", 5),
        Column("tos", 6),
        Column("expires", 6, right=True),
    ),
)
