"""``show counters``: everything that counts, with how far it moved between the two samples.

From model.Counters. ``delta`` and ``per_second`` are missing where there was one sample or the counter went back (it
was reset). Interfaces are ``link.NAME.rx_bytes``, CPUs ``softnet.0.dropped``, neighbour tables
``neigh.arp_cache.entries``.
"""

from collections.abc import Iterator

import msgspec

from netdiag.model.counters import CounterSample
from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import without_nothing


def flat(sample: CounterSample) -> dict[str, int]:
    """Every counter of a sample by one name."""
    values = dict(sample.snmp)
    values |= {f"sockstat.{name}": value for name, value in sample.sockstat.items()}
    rows: list[tuple[str, msgspec.Struct]] = [(f"softnet.{row.cpu}", row) for row in sample.softnet]
    rows += [(f"neigh.{table.name}", table) for table in sample.neigh_tables]
    rows += [(f"link.{link.ifname}", link.stats) for link in sample.links]
    rows += [(f"link.{link.ifname}", link) for link in sample.links]
    for prefix, row in rows:
        for name, value in msgspec.structs.asdict(row).items():
            if isinstance(value, int) and name not in ("cpu", "ifindex"):
                values[f"{prefix}.{name}"] = value
    return values


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Counters by name; ``dev`` keeps those of one interface."""
    counters = snapshot.tables.counters
    first = flat(counters.first)
    second = flat(counters.second) if counters.second else {}
    seconds = counters.second.at - counters.first.at if counters.second else 0.0
    prefix = f"link.{filters.dev}."
    for name in sorted(first | second):
        if filters.dev is not None and not name.startswith(prefix):
            continue
        value, before = second.get(name, first.get(name)), first.get(name)
        moved = second[name] - before if name in second and before is not None else None
        delta = moved if moved is not None and moved >= 0 else None
        rate = round(delta / seconds, 1) if delta is not None and seconds > 0 else None
        yield without_nothing({"name": name, "value": value, "delta": delta, "per_second": rate})


VIEW = View(
    collector="counters",
    filters=("dev",),
    rows=rows,
    columns=(
        Column("name"),
        Column("value", right=True),
        Column("delta", right=True),
        Column("per_second", 1, right=True),
    ),
)
