"""``show coverage``: how each collector fared."""

from collections.abc import Iterator

import msgspec

from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Collectors in the order in which they were asked."""
    for row in snapshot.coverage:
        yield msgspec.structs.asdict(row)


VIEW = View(
    collector="coverage",
    rows=rows,
    columns=(
        Column("collector"),
        Column("status"),
        Column("rows", right=True),
        Column("duration_ms", 1, right=True),
        Column("detail"),
    ),
)
