"""``show path_mtus``: path MTUs that were learnt, as ``ip route show cache``."""

from collections.abc import Iterator

from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import Names, without_nothing


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Entries in the kernel's order."""
    names = Names(snapshot.tables.links)
    for row in snapshot.tables.path_mtus:
        if filters.family not in (None, row.family) or filters.dev not in (None, names(row.ifindex)):
            continue
        yield without_nothing(
            {
                "family": row.family,
                "dst": row.dst,
                "gateway": row.gateway,
                "dev": names(row.ifindex),
                "mtu": row.mtu,
                "expires": row.expires,
            }
        )


VIEW = View(
    collector="path_mtus",
    filters=("dev", "family"),
    rows=rows,
    columns=(
        Column("dst"),
        Column("gateway", 1),
        Column("dev"),
        Column("mtu", right=True),
        Column("expires", 1, right=True),
    ),
)
