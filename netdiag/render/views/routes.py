"""``show routes``: as ``ip route show table all``, both families, one line a route.

From the columns of model.Routes, a few thousand rows at a time: a million routes are shown in the memory of one piece.
"""

from collections.abc import Iterator
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


class Piece:
    """Some rows of a table as lists, column by column: reading one number of a NumPy array costs more than the row."""

    def __init__(self, table: Routes, positions: npt.NDArray[np.intp]) -> None:
        def column(name: str) -> list[Any]:
            values: list[Any] = getattr(table, name)[positions].tolist()
            return values

        self.table = table
        self.numbers = {name: column(name) for name in table.COLUMNS if name not in ("dst", "gateway", "prefsrc")}
        self.addresses = {name: texts(table, getattr(table, name)[positions]) for name in ("dst", "gateway", "prefsrc")}

    def rows(self, names: Names) -> Iterator[Row]:
        """The rows, made readable."""
        bits, none = (32, "0.0.0.0") if self.table.family == "inet" else (128, "::")
        addresses = zip(*self.addresses.values(), strict=True)
        for values, (dst, gateway, prefsrc) in zip(zip(*self.numbers.values(), strict=True), addresses, strict=True):
            at: dict[str, int] = dict(zip(self.numbers, values, strict=True))
            length, index = at["dst_len"], at["extra"]
            row: Row = {
                "type": RTN_NAMES.get(at["type"], str(at["type"])),
                "dst": dst if length == bits else f"{dst}/{length}" if length else "default",
                "gateway": None if gateway == none else gateway,
                "dev": names(at["oif"]),
                "table": table_word(at["table"]),
                "protocol": protocol_word(at["protocol"]),
                "scope": scope_word(at["scope"]),
                "metric": at["priority"] or None,
                "prefsrc": None if prefsrc == none else prefsrc,
                "tos": at["tos"] or None,
                "flags": flag_words(at["flags"], ROUTE_FLAGS),
                "nhid": at["nh_id"] or None,
                "expires": at["expires"] if at["expires"] >= 0 else None,
            }
            if index >= 0:
                row |= extra_row(self.table.extras[index], names)
            yield {"family": self.table.family, **without_nothing(row)}


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """IPv4, then IPv6, in the kernel's order."""
    names = Names(snapshot.tables.links)
    for table in (snapshot.tables.routes, snapshot.tables.routes6):
        positions = wanted(table, filters, names.index(filters.dev))
        for start in range(0, len(positions), PIECE):
            yield from Piece(table, positions[start : start + PIECE]).rows(names)


def cells(row: Row) -> list[Row]:
    """The text: a line for the route, one below it for each of several hops; ``unicast`` goes without saying."""
    line = {
        **row,
        "type": None if row["type"] == "unicast" else row["type"],
        "gateway": row.get("via") or row.get("gateway"),
        "scope": None if row["scope"] == "global" else row["scope"],
    }
    hops = row.get("nexthops", [])
    return [line, *({**hop, "dst": f"  nexthop weight {hop['weight']}"} for hop in hops)]


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
