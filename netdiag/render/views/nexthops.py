"""``show nexthops``: nexthop objects and groups as ``ip nexthop`` prints them. From model.Nexthop."""

from collections.abc import Iterator

from netdiag.model.nexthop import Nexthop
from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import ROUTE_FLAGS, Names, flag_words, protocol_word, scope_word, without_nothing


def row_of(nexthop: Nexthop, names: Names) -> Row:
    """One object."""
    row = {
        "group": [{"id": member.id, "weight": member.weight} for member in nexthop.group],
        "type": "resilient" if nexthop.resilient else None,
        "gateway": nexthop.gateway,
        "dev": names(nexthop.oif),
        "scope": scope_word(nexthop.scope),
        "protocol": protocol_word(nexthop.protocol),
        "flags": flag_words(nexthop.flags, ROUTE_FLAGS),
        "blackhole": nexthop.blackhole,
        "fdb": nexthop.fdb,
        "encap": nexthop.encap,
        "master": names(nexthop.master),
        "family": nexthop.family,
    }
    return {"id": nexthop.id, **without_nothing(row)}


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Objects in the kernel's order."""
    names = Names(snapshot.tables.links)
    dev = names.index(filters.dev)
    for nexthop in snapshot.tables.nexthops:
        if (
            dev in (None, nexthop.oif)
            and filters.proto in (None, nexthop.protocol)
            and filters.family in (None, nexthop.family)
        ):
            yield row_of(nexthop, names)


def cells(row: Row) -> list[Row]:
    """The text: a group as ``1,10/2``: ids, and weights other than one."""
    members = row.get("group", [])
    group = [f"{m['id']}/{m['weight']}" if m["weight"] != 1 else str(m["id"]) for m in members]
    return [{**row, "group": group, "scope": None if row["scope"] == "global" else row["scope"]}]


VIEW = View(
    collector="nexthops",
    filters=("dev", "proto", "family"),
    rows=rows,
    cells=cells,
    columns=(
        Column("id", right=True),
        Column("group"),
        Column("gateway"),
        Column("dev"),
        Column("type", 1),
        Column("blackhole", 1),
        Column("protocol", 2),
        Column("scope", 3),
        Column("flags", 1),
        Column("encap", 2),
        Column("fdb", 3),
        Column("master", 3),
    ),
)
