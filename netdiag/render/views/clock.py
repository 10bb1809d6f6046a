"""``show clock``: the kernel's opinion of its clock, as ``adjtimex`` tells it, and who keeps it. Errors in seconds."""

from collections.abc import Iterator

from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import without_nothing

STATES = ("TIME_OK", "TIME_INS", "TIME_DEL", "TIME_OOP", "TIME_WAIT", "TIME_ERROR")


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """One row."""
    clock = snapshot.tables.clock
    yield without_nothing(
        {
            "state": None if clock.state is None else dict(enumerate(STATES)).get(clock.state, str(clock.state)),
            "synchronised": "yes" if clock.synchronised else "no",
            "status": f"{clock.status:#x}",
            "offset": clock.offset,
            "maxerror": clock.maxerror,
            "esterror": clock.esterror,
            "freq": clock.freq,
            "tai": clock.tai or None,
            "daemons": [f"{daemon.name}/{daemon.pid}" for daemon in clock.daemons],
            "enabled": list(clock.enabled),
        }
    )


VIEW = View(
    collector="clock",
    rows=rows,
    columns=(
        Column("state"),
        Column("synchronised"),
        Column("offset", right=True),
        Column("maxerror", right=True),
        Column("esterror", 1, right=True),
        Column("freq", 2, right=True),
        Column("daemons"),
        Column("enabled", 1),
    ),
)
