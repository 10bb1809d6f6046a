"""``show identity``: which machine this is, and who manages its network. A line a fact."""

from collections.abc import Iterator

from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import without_nothing


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """One row."""
    table = snapshot.tables.identity
    yield without_nothing(
        {
            "name": snapshot.meta.name,
            "kernel": table.kernel,
            "distribution": table.distribution,
            "distribution_id": table.distribution_id,
            "version_id": table.version_id,
            "machine_id": table.machine_id,
            "boot_id": table.boot_id,
            "uptime": table.uptime,
            "managers": {row.name: row.evidence for row in table.managers},
            "daemons": [f"{daemon.name}/{daemon.pid}" for daemon in table.daemons],
        }
    )


def cells(row: Row) -> list[Row]:
    """A line for each fact."""
    return [{"fact": name, "value": value} for name, value in row.items()]


VIEW = View(collector="identity", rows=rows, cells=cells, columns=(Column("fact"), Column("value")))
