"""``show taps``: each tun and tap device with its flags, who holds it, and what points to it.

From model.Link and model.Taps; ``routes`` are prefixes, ``neighbours`` and ``proxies`` addresses, at most a handful of
each with their number in full beside them.
"""

from collections.abc import Iterator

from netdiag.index.taps import holders_of, is_tun, pointers
from netdiag.model.link import Link
from netdiag.model.snapshot import Snapshot
from netdiag.model.tap import TapHolder
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import Names, without_nothing

SHOWN = 8
"""Prefixes or addresses that are spelt out."""


def _holder(holder: TapHolder) -> Row:
    return without_nothing(
        {
            "pid": holder.pid,
            "comm": holder.comm,
            "exe": holder.exe,
            "vmm": holder.vmm,
            "state": holder.state,
            "netns": holder.netns,
            "queues": holder.queues,
        }
    )


def row_of(link: Link, names: Names, holders: tuple[TapHolder, ...]) -> Row:
    """One device and its holders."""
    return {
        "ifname": link.ifname,
        **link.info,
        "up": link.up,
        "carrier": link.carrier,
        "master": names(link.master),
        "vmm": next((holder.vmm for holder in holders if holder.vmm), None),
        "holders": [_holder(holder) for holder in holders],
    }


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Devices in the kernel's order."""
    tables = snapshot.tables
    names = Names(tables.links)
    devices = [link for link in tables.links if is_tun(link) and filters.dev in (None, link.ifname)]
    found = pointers([link.ifindex for link in devices], tables.routes, tables.routes6, tables.neighbours)
    for link in devices:
        mine = found[link.ifindex]
        row = row_of(link, names, holders_of(tables.taps, link))
        prefixes = [route.dst for route in tables.routes.rows(list(mine.routes[:SHOWN]))]
        prefixes += [route.dst for route in tables.routes6.rows(list(mine.routes6[:SHOWN]))]
        row["routes"] = prefixes[:SHOWN]
        row["routes_count"] = len(mine.routes) + len(mine.routes6)
        row["neighbours"] = [near.dst for near in tables.neighbours.rows(list(mine.neighbours[:SHOWN]))]
        row["neighbours_count"] = len(mine.neighbours)
        row["proxies"] = [near.dst for near in tables.neighbours.rows(list(mine.proxies[:SHOWN]))]
        row["proxies_count"] = len(mine.proxies)
        yield without_nothing(row)


def cells(row: Row) -> list[Row]:
    """The text: holders as ``comm/pid``, flags as words."""
    flags = [name for name in ("persist", "vnet_hdr", "multi_queue", "pi") if row.get(name)]
    flags += ["up"] if row.get("up") else []
    flags += [] if row.get("carrier") else ["no-carrier"]
    holders = [f"{holder['comm']}/{holder['pid']}" for holder in row.get("holders", [])]
    queues = sum(holder["queues"] for holder in row.get("holders", []))
    return [{**row, "flags": flags, "holders": holders, "queues": queues or None}]


VIEW = View(
    collector="taps",
    filters=("dev",),
    rows=rows,
    cells=cells,
    columns=(
        Column("ifname"),
        Column("type"),
        Column("flags", 1),
        Column("holders"),
        Column("vmm", 2),
        Column("queues", 4, right=True),
        Column("master", 2),
        Column("routes", 1),
        Column("neighbours", 3),
        Column("proxies", 5),
        Column("user", 6),
        Column("group", 6),
    ),
)
