"""``show ethtool``: a line a device, as ``ethtool``, ``-i``, ``-k``, ``-g``, ``-l``, ``-c``, ``-a`` and ``-S`` tell it.

From model.Ethtool. ``features`` names those that are on, ``fixed`` those that cannot be changed.
"""

from collections.abc import Iterator

import msgspec

from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import without_nothing

WORDS = ("features", "features_hw", "features_wanted", "features_fixed")


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Devices in the kernel's order."""
    table = snapshot.tables.ethtool
    first = {row.ifindex: row.counters for row in table.counters}
    second = {row.ifindex: row.counters for row in table.second}
    for device in table.devices:
        if filters.dev not in (None, device.ifname):
            continue
        row: Row = msgspec.structs.asdict(device)
        for name in WORDS:
            row[name] = table.names_of(row[name])
        before, after = first.get(device.ifindex, {}), second.get(device.ifindex, {})
        row["errors"] = dict(sorted(before.items()))
        row["errors_moved"] = {
            name: value - before.get(name, 0) for name, value in sorted(after.items()) if value > before.get(name, 0)
        }
        yield without_nothing(row)


def cells(row: Row) -> list[Row]:
    """The text: rings and queues as now/most."""

    def pair(group: str, name: str) -> str | None:
        values = row.get(group, {})
        return f"{values[name]}/{values.get(name + '-max', '?')}" if values.get(name) is not None else None

    return [
        {**row, "rx_ring": pair("rings", "rx"), "tx_ring": pair("rings", "tx"), "queues": pair("channels", "combined")}
    ]


VIEW = View(
    collector="ethtool",
    filters=("dev",),
    rows=rows,
    cells=cells,
    columns=(
        Column("ifname"),
        Column("driver"),
        Column("bus_info", 4),
        Column("speed", right=True),
        Column("duplex", 1),
        Column("rx_ring", 2),
        Column("tx_ring", 2),
        Column("queues", 2),
        Column("fec", 3),
        Column("errors", 5),
        Column("errors_moved", 3),
    ),
)
