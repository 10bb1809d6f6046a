"""``show neighbours``: as ``ip -statistics neigh``, both families, proxy entries too. Ages are in seconds."""

from collections.abc import Iterator

import numpy as np

from netdiag.model.neighbour import NTF_EXT_LEARNED, NTF_STICKY, Neighbour
from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import Names, protocol_word, without_nothing

AF_NUMBERS = {"inet": 2, "inet6": 10}


def row_of(neighbour: Neighbour, names: Names) -> Row:
    """One entry."""
    return without_nothing(
        {
            "family": neighbour.family,
            "dst": neighbour.dst,
            "dev": names(neighbour.ifindex),
            "lladdr": neighbour.lladdr,
            "state": None if neighbour.proxy else neighbour.state.upper(),
            "router": neighbour.router,
            "proxy": neighbour.proxy,
            "extern_learn": bool(neighbour.flags & NTF_EXT_LEARNED),
            "sticky": bool(neighbour.flags & NTF_STICKY),
            "used": neighbour.used,
            "confirmed": neighbour.confirmed,
            "updated": neighbour.updated,
            "probes": neighbour.probes,
            "protocol": None if neighbour.protocol is None else protocol_word(neighbour.protocol),
        }
    )


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Entries in the kernel's order."""
    names = Names(snapshot.tables.links)
    table = snapshot.tables.neighbours
    keep = np.ones(len(table), bool)
    if filters.family is not None:
        keep &= table.family == AF_NUMBERS[filters.family]
    if filters.dev is not None:
        keep &= table.ifindex == names.index(filters.dev)
    for neighbour in table.rows(np.flatnonzero(keep)):
        yield row_of(neighbour, names)


def cells(row: Row) -> list[Row]:
    """The text: the flags in one column, ages as whole seconds."""
    flags = [name for name in ("router", "proxy", "extern_learn", "sticky") if row.get(name)]
    ages: Row = {name: round(row[name]) for name in ("used", "confirmed", "updated") if name in row}
    return [{**row, **ages, "flags": flags}]


VIEW = View(
    collector="neighbours",
    filters=("dev", "family"),
    rows=rows,
    cells=cells,
    columns=(
        Column("dst"),
        Column("dev"),
        Column("lladdr"),
        Column("state"),
        Column("flags", 1),
        Column("confirmed", 2, right=True),
        Column("used", 3, right=True),
        Column("updated", 3, right=True),
        Column("probes", 4, right=True),
        Column("protocol", 5),
    ),
)
