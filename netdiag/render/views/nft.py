"""``show nft``: the ruleset as ``nft list ruleset`` spells it, chain by chain, then sets; then iptables-legacy.

A line is a chain (with its hook and policy), a rule, a set with its elements, a flowtable, an object, or a table of
iptables-legacy. ``--family inet`` shows what IPv4 packets meet (tables of ip and inet), ``inet6`` the same for IPv6.
"""

from collections.abc import Iterator

from netdiag.index.nfttext import chain_text, data_loads, element_text, rule_text, set_loads
from netdiag.model.nft import NftChain, NftRule, NftSet, NftTable
from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import without_nothing

MEETS = {"inet": ("ip", "inet"), "inet6": ("ip6", "inet")}
TEXT_ELEMENTS = 8
"""Elements of a set shown in the text; --json has them all."""


def chain_row(table: NftTable, chain: NftChain) -> Row:
    """A chain, without its rules."""
    return without_nothing(
        {
            "family": table.family,
            "table": table.name,
            "object": "chain",
            "name": chain.name,
            "handle": chain.handle,
            "type": chain.type,
            "hook": chain.hook,
            "prio": chain.priority,
            "policy": chain.policy,
            "dev": list(chain.devices),
            "packets": chain.packets,
            "bytes": chain.octets,
            "dormant": table.dormant,
            "rules": len(chain.rules),
            "text": chain_text(table, chain) + (" (dormant)" if table.dormant and chain.base else ""),
        }
    )


def rule_row(table: NftTable, chain: NftChain, rule: NftRule) -> Row:
    """A rule; its counter, if it has one, in numbers too."""
    counter = next((one for one in rule.expressions if one.name == "counter"), None)
    return without_nothing(
        {
            "family": table.family,
            "table": table.name,
            "object": "rule",
            "chain": chain.name,
            "handle": rule.handle,
            "packets": counter.packets if counter else None,
            "bytes": counter.octets if counter else None,
            "comment": rule.comment,
            "compat": rule.compat,
            "expr": [one.name for one in rule.expressions],
            "text": rule_text(table, rule),
        }
    )


def set_row(table: NftTable, one: NftSet) -> Row:
    """A named set or map."""
    loads, data = set_loads(one), data_loads(one)
    return without_nothing(
        {
            "family": table.family,
            "table": table.name,
            "object": "map" if "map" in one.flags or "object" in one.flags else "set",
            "name": one.name,
            "handle": one.handle,
            "flags": list(one.flags),
            "size": one.size,
            "complete": one.complete,
            "count": len(one.elements),
            "elem": [element_text(element, loads, data) for element in one.elements],
        }
    )


def table_rows(table: NftTable) -> Iterator[Row]:
    """Everything in a table; anonymous sets stand in their rules."""
    for chain in table.chains:
        yield chain_row(table, chain)
        for rule in chain.rules:
            yield rule_row(table, chain, rule)
    for one in table.sets:
        if "anonymous" not in one.flags:
            yield set_row(table, one)
    for flowtable in table.flowtables:
        yield {
            "family": table.family,
            "table": table.name,
            "object": "flowtable",
            "name": flowtable.name,
            "handle": flowtable.handle,
            "prio": flowtable.priority,
            "dev": list(flowtable.devices),
            "flags": list(flowtable.flags),
        }
    for thing in table.objects:
        yield without_nothing(
            {
                "family": table.family,
                "table": table.name,
                "object": thing.type,
                "name": thing.name,
                "handle": thing.handle,
                "packets": thing.packets,
                "bytes": thing.octets,
            }
        )


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Tables in the kernel's order, then iptables-legacy."""
    wanted = None if filters.family is None else MEETS[filters.family]
    for table in snapshot.tables.nft.tables:
        if wanted is None or table.family in wanted:
            yield from table_rows(table)
    for table in snapshot.tables.nft.legacy:
        if wanted is None or table.family in wanted:
            yield from ({**row, "backend": "legacy"} for row in table_rows(table))
    read = {(table.family, table.name) for table in snapshot.tables.nft.legacy}
    for one in snapshot.tables.nft.xtables:
        if (wanted is None or one.family in wanted) and (one.family, one.name) not in read:
            yield {"family": one.family, "table": one.name, "object": "xtable", "backend": "legacy"}


def cells(row: Row) -> list[Row]:
    """The text: rules stand under their chain."""
    line = dict(row)
    kind = row["object"]
    line["where"] = f"{row['family']} {row['table']}" + (" (legacy)" if "backend" in row else "")
    line["name"] = row.get("chain") if kind == "rule" else row.get("name")
    if kind in ("set", "map"):
        elements = row.get("elem", [])
        more = [f"... {len(elements)} in all"] if len(elements) > TEXT_ELEMENTS else []
        line["text"] = "{ " + ", ".join(elements[:TEXT_ELEMENTS] + more) + " }"
    elif kind == "flowtable":
        line["text"] = f"devices {', '.join(row['dev'])}"
    elif kind == "xtable":
        line["text"] = "iptables-legacy, not read"
    elif "text" not in line and "packets" in row:
        line["text"] = f"packets {row['packets']} bytes {row.get('bytes', 0)}"
    return [line]


VIEW = View(
    collector="nft",
    filters=("family",),
    rows=rows,
    cells=cells,
    columns=(
        Column("where"),
        Column("name"),
        Column("object", 1),
        Column("handle", 1, right=True),
        Column("text"),
    ),
)
