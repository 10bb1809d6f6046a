"""``show rules``: policy rules as ``ip rule`` and ``ip -6 rule`` print them, in the order in which they are tried."""

from collections.abc import Iterator

from netdiag.model.policyrule import PolicyRule
from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import protocol_word, table_word, without_nothing


def prefix(address: str | None, length: int) -> str | None:
    """``192.0.2.0/24``; a host goes without its length; None is "any"."""
    if address is None:
        return None
    return address if length == (128 if ":" in address else 32) else f"{address}/{length}"


def span(start: int | None, end: int | None) -> str | None:
    """``1000-1999``, or ``80`` for a span of one."""
    if start is None:
        return None
    return str(start) if end in (None, start) else f"{start}-{end}"


def mark(rule: PolicyRule) -> str | None:
    """``0x1``, or ``0x1/0xff`` where not every bit counts."""
    if rule.fwmark is None and rule.fwmask is None:
        return None
    whole = rule.fwmask in (None, 0xFFFFFFFF)
    return f"{rule.fwmark or 0:#x}" + ("" if whole else f"/{rule.fwmask:#x}")


def row_of(rule: PolicyRule) -> Row:
    """One rule."""
    row = {
        "not": rule.invert,
        "from": prefix(rule.src, rule.src_len) or "all",
        "to": prefix(rule.dst, rule.dst_len),
        "tos": rule.tos or None,
        "dscp": rule.dscp,
        "fwmark": mark(rule),
        "iif": rule.iif,
        "iif_detached": rule.iif_detached,
        "oif": rule.oif,
        "oif_detached": rule.oif_detached,
        "l3mdev": rule.l3mdev,
        "uidrange": span(rule.uid_start, rule.uid_end),
        "ipproto": rule.ip_proto,
        "sport": span(rule.sport_start, rule.sport_end),
        "dport": span(rule.dport_start, rule.dport_end),
        "tun_id": rule.tun_id,
        "action": rule.action,
        "table": table_word(rule.table),
        "suppress_prefixlength": rule.suppress_prefixlength,
        "suppress_ifgroup": rule.suppress_ifgroup,
        "goto": rule.goto,
        "unresolved": rule.goto_unresolved,
        "protocol": protocol_word(rule.protocol),
        "unknown_attributes": rule.unknown or None,
    }
    return {"family": rule.family, "priority": rule.priority, **without_nothing(row)}


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """IPv4, then IPv6, by priority."""
    order = sorted(snapshot.tables.rules, key=lambda rule: (rule.family, rule.priority))
    for rule in order:
        if (
            filters.family in (None, rule.family)
            and filters.table in (None, rule.table)
            and filters.proto in (None, rule.protocol)
            and filters.dev in (None, rule.iif, rule.oif)
        ):
            yield row_of(rule)


SELECTORS = ("to", "tos", "dscp", "fwmark", "iif", "oif", "uidrange", "ipproto", "sport", "dport", "tun_id")


def cells(row: Row) -> list[Row]:
    """The text: what the rule matches, and what it then does."""
    words = ["not"] if row.get("not") else []
    words += ["from", row["from"]]
    for key in SELECTORS:
        if key in row:
            words += [key, str(row[key])]
            words += ["[detached]"] if row.get(f"{key}_detached") else []
    does = [row["action"]] if row["action"] != "lookup" else ["lookup", row.get("table", "[l3mdev-table]")]
    if "goto" in row:
        does += [str(row["goto"])] + (["[unresolved]"] if row.get("unresolved") else [])
    for key in ("suppress_prefixlength", "suppress_ifgroup"):
        does += [key, str(row[key])] if key in row else []
    return [{**row, "selector": " ".join(words), "action": " ".join(does)}]


VIEW = View(
    collector="rules",
    filters=("table", "dev", "proto", "family"),
    rows=rows,
    cells=cells,
    columns=(
        Column("family"),
        Column("priority", right=True),
        Column("selector"),
        Column("action"),
        Column("protocol", 1),
        Column("unknown_attributes", 2),
    ),
)
