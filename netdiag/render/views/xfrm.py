"""``show xfrm``: as ``ip xfrm state`` and ``ip xfrm policy``, one line each; keys were never read."""

from collections.abc import Iterator

import msgspec

from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import Names, without_nothing


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """States, then policies, in the kernel's order."""
    names = Names(snapshot.tables.links)
    for state in snapshot.tables.xfrm.states:
        yield without_nothing({"type": "state", **msgspec.structs.asdict(state), "spi": f"{state.spi:#010x}"})
    for policy in snapshot.tables.xfrm.policies:
        row: Row = {"type": "policy", **msgspec.structs.asdict(policy), "dev": names(policy.ifindex)}
        row["templates"] = [msgspec.structs.asdict(template) for template in policy.templates]
        yield without_nothing({key: value for key, value in row.items() if key != "ifindex"})


def cells(row: Row) -> list[Row]:
    """The text: a policy's templates in short."""
    short = [f"{one['src']}>{one['dst']} {one['mode']} reqid {one['reqid']}" for one in row.get("templates", ())]
    return [{**row, "templates": short}]


VIEW = View(
    collector="xfrm",
    rows=rows,
    cells=cells,
    columns=(
        Column("type"),
        Column("src"),
        Column("dst"),
        Column("dir"),
        Column("proto", 1),
        Column("spi", 1),
        Column("mode", 1),
        Column("action", 2),
        Column("reqid", 2, right=True),
        Column("if_id", 3, right=True),
        Column("packets", 2, right=True),
        Column("integrity_failed", 3, right=True),
        Column("templates", 2),
        Column("priority", 4, right=True),
    ),
)
