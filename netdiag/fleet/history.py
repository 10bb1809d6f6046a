"""What was found on each night of a store: kept when a night was loaded, read for trends and for what comes and goes.

Raises StoreRefused where a part is damaged.
"""

from collections import defaultdict

from netdiag.fleet.store.columns import Column
from netdiag.fleet.store.place import Part
from netdiag.fleet.store.read import StoredFleet, damaged, open_parquet
from netdiag.model.fleetdiff import Night

VIEW = "fleet_findings"
COLUMNS = (
    Column("night", "text", "The night that was judged."),
    Column("id", "text", "Sixteen hex digits, the same for the same rule on the same subject."),
    Column("rule", "text", "Id of the rule."),
    Column("severity", "text", "`critical`, `warning` or `info`."),
    Column("confidence", "text", "`certain`, `likely` or `possible`."),
    Column("kind", "text", "What kind of thing it is about."),
    Column("subject", "text", "What it is about, in one line."),
    Column("hosts", "texts", "Hosts that it is about."),
    Column("message", "text", "The fault in one sentence."),
    Column("explained_by", "text", "Id of the finding that is its cause; null: a root cause."),
)
"""Of the view ``fleet_findings``: the report of each night, as it was said when the night was loaded."""


def kept(stored: StoredFleet) -> dict[str, Part]:
    """For each night that was judged as a whole, the part that holds its newest report."""
    return {part.night: part for load in stored.loads for part in load.parts if part.view == VIEW}


def seen(stored: StoredFleet, nights: list[str]) -> list[frozenset[str]]:
    """Ids of what was found on these nights; a night that was not judged is left out."""
    parts = kept(stored)
    found = []
    for night in nights:
        if night in parts:
            with damaged(stored.store, parts[night]):
                table = open_parquet(stored.store, parts[night]).read(columns=["id"])
            found.append(frozenset(table.column("id").to_pylist()))
    return found


def trend(stored: StoredFleet, most: int = 60) -> list[Night]:
    """The last nights in numbers, oldest first."""
    hosts: dict[str, set[str]] = defaultdict(set)
    for load in stored.loads:
        for part in load.parts:
            if part.view == "snapshots":
                with damaged(stored.store, part):
                    names = open_parquet(stored.store, part).read(columns=["host"]).column("host").to_pylist()
                hosts[part.night].update(names)
    nights = []
    for night, part in sorted(kept(stored).items())[-most:]:
        with damaged(stored.store, part):
            rows = open_parquet(stored.store, part).read(columns=["rule", "severity", "explained_by"]).to_pylist()
        roots = [row for row in rows if row["explained_by"] is None]
        rules: dict[str, int] = defaultdict(int)
        for row in roots:
            if row["severity"] != "info":
                rules[row["rule"]] += 1
        nights.append(
            Night(
                night=night,
                hosts=len(hosts[night]),
                critical=sum(row["severity"] == "critical" for row in roots),
                warning=sum(row["severity"] == "warning" for row in roots),
                rules=dict(rules),
            )
        )
    return nights
