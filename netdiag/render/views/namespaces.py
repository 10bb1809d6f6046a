"""``show namespaces``: each reachable network namespace, and what keeps it alive.

From model.Namespaces. ``held_by``: process, mount, fd, or unknown (a socket, or a process that cannot be seen). A name
under /run/netns with nothing behind it is a row without inode.
"""

from collections.abc import Iterator

import msgspec

from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import without_nothing


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """By inode; stale names last."""
    table = snapshot.tables.namespaces
    for namespace in table.namespaces:
        row: Row = msgspec.structs.asdict(namespace)
        row |= {
            "names": list(namespace.names),
            "mounts": list(namespace.mounts),
            "pids": list(namespace.pids),
            "holders": [msgspec.structs.asdict(holder) for holder in namespace.holders],
        }
        yield without_nothing(row | {"held_by": namespace.held_by})
    for name in table.stale_names:
        yield {"names": [name], "held_by": "nothing", "stale": True}


def cells(row: Row) -> list[Row]:
    """The text: holders as ``comm/pid``."""
    holders = [f"{holder['comm']}/{holder['pid']}" for holder in row.get("holders", [])]
    return [{**row, "holders": holders}]


VIEW = View(
    collector="namespaces",
    rows=rows,
    cells=cells,
    columns=(
        Column("inode"),
        Column("names"),
        Column("netnsid", 3, right=True),
        Column("held_by", 1),
        Column("processes", 1, right=True),
        Column("comm", 2),
        Column("links", 1, right=True),
        Column("holders", 2),
        Column("mounts", 4),
        Column("own", 3),
        Column("path", 6),
    ),
)
