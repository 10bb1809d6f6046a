"""``show fdb``: as ``bridge -statistics fdb``, every bridge and vxlan device. Ages are in seconds."""

from collections.abc import Iterator

import numpy as np

from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import Names, without_nothing


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Entries in the kernel's order; ``dev`` keeps those of one port, or those of one bridge."""
    names = Names(snapshot.tables.links)
    table = snapshot.tables.fdb
    keep = np.ones(len(table), bool)
    if filters.dev is not None:
        wanted = names.index(filters.dev)
        keep = (table.ifindex == wanted) | (table.master == wanted)
    for entry in table.rows(np.flatnonzero(keep)):
        yield without_nothing(
            {
                "mac": entry.lladdr,
                "ifname": names(entry.ifindex),
                "master": names(entry.master),
                "vlan": entry.vlan,
                "dst": entry.dst,
                "vni": entry.vni,
                "port": entry.port,
                "flags": list(entry.flags),
                "state": entry.state or None,
                "used": entry.used,
                "updated": entry.updated,
            }
        )


VIEW = View(
    collector="fdb",
    filters=("dev",),
    rows=rows,
    columns=(
        Column("mac"),
        Column("ifname"),
        Column("master", 1),
        Column("vlan", 2, right=True),
        Column("dst", 1),
        Column("vni", 3, right=True),
        Column("port", 5, right=True),
        Column("state", 1),
        Column("flags", 2),
        Column("used", 4, right=True),
        Column("updated", 4, right=True),
    ),
)
