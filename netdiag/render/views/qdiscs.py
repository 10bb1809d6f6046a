"""``show qdiscs``: as ``tc -statistics qdisc``, ``class`` and ``filter``, one line each; ``type`` says which it is.

From model.Tc. ``delta_drops`` and ``delta_overlimits`` are what came between two looks (--interval).
"""

from collections.abc import Iterator

import msgspec

from netdiag.model.snapshot import Snapshot
from netdiag.model.tc import INGRESS, Qdisc, QueueStats, TcClass, handle_text
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import Names, without_nothing


def _place(parent: int) -> str:
    return {INGRESS: "ingress", 0xFFFFFFF2: "ingress", 0xFFFFFFF3: "egress"}.get(parent, handle_text(parent))


def _stats(stats: QueueStats, later: QueueStats | None) -> Row:
    row: Row = msgspec.structs.asdict(stats)
    if later is not None:
        row |= {"delta_drops": later.drops - stats.drops, "delta_overlimits": later.overlimits - stats.overlimits}
    return row


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Qdiscs, then classes, then filters, in the kernel's order; ``dev`` keeps those of one interface."""
    names = Names(snapshot.tables.links)
    table = snapshot.tables.qdiscs
    wanted = names.index(filters.dev)
    later = {(row.ifindex, row.of_class, row.handle, row.parent): row.stats for row in table.second}
    both: tuple[Qdisc | TcClass, ...] = (*table.qdiscs, *table.classes)
    for row in both:
        if wanted not in (None, row.ifindex):
            continue
        of_class = isinstance(row, TcClass)
        yield without_nothing(
            {
                "type": "class" if of_class else "qdisc",
                "dev": names(row.ifindex),
                "kind": row.kind,
                "handle": handle_text(row.handle),
                "parent": _place(row.parent),
                "leaf": handle_text(row.leaf) if isinstance(row, TcClass) and row.leaf else None,
                "options": row.options,
                **_stats(row.stats, later.get((row.ifindex, of_class, row.handle, row.parent))),
            }
        )
    for one in table.filters:
        if wanted in (None, one.ifindex):
            yield without_nothing(
                {
                    "type": "filter",
                    "dev": names(one.ifindex),
                    "kind": one.kind,
                    "parent": _place(one.parent),
                    "priority": one.priority,
                    "protocol": f"{one.protocol:#06x}",
                    "chain": one.chain,
                    "block": one.block,
                    "classid": handle_text(one.classid) if one.classid is not None else None,
                    "actions": [msgspec.structs.asdict(action) for action in one.actions],
                }
            )


def cells(row: Row) -> list[Row]:
    """The text: actions by kind and verdict."""
    actions = [
        " ".join(str(a[key]) for key in ("kind", "direction", "verdict") if a.get(key)) for a in row.get("actions", ())
    ]
    return [{**row, "actions": actions}]


VIEW = View(
    collector="qdiscs",
    filters=("dev",),
    rows=rows,
    cells=cells,
    columns=(
        Column("type"),
        Column("dev"),
        Column("kind"),
        Column("handle", 1),
        Column("parent"),
        Column("priority", 4),
        Column("actions", 2),
        Column("packets", 3, right=True),
        Column("drops", 1, right=True),
        Column("delta_drops", 2, right=True),
        Column("overlimits", 3, right=True),
        Column("requeues", 5, right=True),
        Column("backlog", 3, right=True),
        Column("options", 6),
    ),
)
