"""``show conntrack``: entries as ``conntrack -L`` spells them, both directions of each."""

from collections.abc import Iterator

import numpy as np

from netdiag.index.nftwords import L4
from netdiag.model.conntrack import (
    IPS_ASSURED,
    IPS_DST_NAT,
    IPS_HW_OFFLOAD,
    IPS_OFFLOAD,
    IPS_SEEN_REPLY,
    IPS_SRC_NAT,
    ConntrackEntry,
)
from netdiag.model.protocols import IPPROTO_ICMP, IPPROTO_ICMPV6
from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import without_nothing

AF_NUMBERS = {"inet": 2, "inet6": 10}
FLAGS = {
    IPS_ASSURED: "ASSURED",
    IPS_SRC_NAT: "SNAT",
    IPS_DST_NAT: "DNAT",
    IPS_OFFLOAD: "OFFLOAD",
    IPS_HW_OFFLOAD: "HW_OFFLOAD",
}


def direction(entry: ConntrackEntry, side: str) -> Row:
    """One tuple."""
    row: Row = {"src": getattr(entry, f"{side}_src"), "dst": getattr(entry, f"{side}_dst")}
    first, second = getattr(entry, f"{side}_sport"), getattr(entry, f"{side}_dport")
    if entry.proto in (IPPROTO_ICMP, IPPROTO_ICMPV6):
        return row | {"type": second >> 8, "code": second & 0xFF, "id": first}
    return row | ({"sport": first, "dport": second} if first or second else {})


def row_of(entry: ConntrackEntry, helper: str | None) -> Row:
    """One entry."""
    flags = [word for bit, word in FLAGS.items() if entry.status & bit]
    if not entry.status & IPS_SEEN_REPLY:
        flags.insert(0, "UNREPLIED")
    return without_nothing(
        {
            "family": entry.family,
            "proto": L4.get(entry.proto, str(entry.proto)),
            "timeout": entry.timeout,
            "state": entry.tcp_state.upper() if entry.tcp_state else None,
            "orig": direction(entry, "orig"),
            "reply": direction(entry, "reply"),
            "flags": flags,
            "mark": entry.mark,
            "zone": entry.zone or None,
            "helper": helper,
        }
    )


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Entries in the kernel's order."""
    table, helpers = snapshot.tables.conntrack, snapshot.tables.conntrack_helpers
    keep = np.ones(len(table), bool)
    if filters.family is not None:
        keep &= table.family == AF_NUMBERS[filters.family]
    for position in np.flatnonzero(keep).tolist():
        number = int(table.helper[position])
        yield row_of(table.row(position), helpers[number - 1] if 0 < number <= len(helpers) else None)


def _end(row: Row, side: str, port: str) -> str:
    address = row[side]
    number = row.get(port)
    if number is None:
        return str(address)
    return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"


def cells(row: Row) -> list[Row]:
    """The text: each direction in one column."""
    line = dict(row)
    for side in ("orig", "reply"):
        line[side] = f"{_end(row[side], 'src', 'sport')} > {_end(row[side], 'dst', 'dport')}"
    return [line]


VIEW = View(
    collector="conntrack",
    filters=("family",),
    rows=rows,
    cells=cells,
    columns=(
        Column("proto"),
        Column("timeout", 1, right=True),
        Column("state", 1),
        Column("orig"),
        Column("reply"),
        Column("flags", 1),
        Column("mark", 3, right=True),
        Column("zone", 3, right=True),
        Column("helper", 3),
    ),
)
