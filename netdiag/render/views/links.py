"""``show links``: as ``ip -details link``, one line an interface.

From model.Link. ``master`` and ``link`` are names where that interface is in this namespace; ``link_netnsid`` tells
where the other end is if it is not.
"""

from collections.abc import Iterator

import msgspec

from netdiag.model.link import Link
from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import LINK_FLAGS, Names, flag_words, without_nothing


def row_of(link: Link, names: Names) -> Row:
    """One interface; every field that the kernel sent."""
    row: Row = msgspec.structs.asdict(link)
    row["flags"] = flag_words(link.flags, LINK_FLAGS)
    row["operstate"] = link.operstate.upper()
    row["master"] = names(link.master)
    if link.link_netnsid is None:
        row["link"] = names(link.link)
    else:
        row["link_index"] = row.pop("link")
    row["altnames"] = list(link.altnames)
    row["linkinfo"] = without_nothing(
        {
            "info_kind": link.kind,
            "info_data": row.pop("info") or None,
            "info_slave_kind": row.pop("slave_kind"),
            "info_slave_data": row.pop("slave_info") or None,
        }
    )
    row["stats64"] = row.pop("stats")
    return without_nothing(row)


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Interfaces in the kernel's order."""
    names = Names(snapshot.tables.links)
    for link in snapshot.tables.links:
        if filters.dev in (None, link.ifname):
            yield row_of(link, names)


def cells(row: Row) -> list[Row]:
    """The text: the lower device behind ``@``, as iproute2 writes it."""
    lower = row.get("link") or (f"if{row['link_index']}" if row.get("link_index") else None)
    xdp = row.get("xdp")
    line = {
        **row,
        "ifname": f"{row['ifname']}@{lower}" if lower else row["ifname"],
        "netns": row.get("link_netnsid"),
        "xdp": f"{xdp.mode}:{xdp.prog_id}" if xdp else None,
    }
    return [line]


VIEW = View(
    collector="links",
    filters=("dev",),
    rows=rows,
    cells=cells,
    columns=(
        Column("ifname"),
        Column("operstate"),
        Column("mtu", right=True),
        Column("kind", 1),
        Column("master", 1),
        Column("netns", 3, right=True),
        Column("address", 2),
        Column("xdp", 1),
        Column("qdisc", 5),
        Column("flags", 4),
        Column("carrier_changes", 6, right=True),
        Column("alias", 6),
        Column("altnames", 7),
    ),
)
