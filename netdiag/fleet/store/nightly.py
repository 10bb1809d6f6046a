"""Judge the nights that a load has touched, each as a whole fleet, and keep what was found for later nights.

Raises StoreRefused where the store cannot be written.
"""

import msgspec

import netdiag
from netdiag.fleet.history import COLUMNS, VIEW
from netdiag.fleet.judge import judge_fleet
from netdiag.fleet.judged import fingerprint
from netdiag.fleet.load import fleet_in
from netdiag.fleet.store.columns import array
from netdiag.fleet.store.place import Load, Part, Place
from netdiag.fleet.store.write import parquet
from netdiag.model.finding import subject_text


def keep(store: Place, nights: list[str], name: str, loaded_at: str) -> None:
    """Write the report of each of these nights."""
    import pyarrow as pa

    parts = []
    for night in nights:
        findings = judge_fleet(fleet_in(store, night)).findings
        cells = {
            field: [getattr(finding, field) for finding in findings]
            for field in ("id", "rule", "severity", "confidence", "message", "explained_by")
        }
        cells["night"] = [night] * len(findings)
        cells["kind"] = [str(finding.subject["kind"]) for finding in findings]
        cells["subject"] = [subject_text(finding.subject) for finding in findings]
        cells["hosts"] = [finding.subject.get("hosts") or [] for finding in findings]
        table = pa.table({column.name: array(column.kind, cells[column.name]) for column in COLUMNS})
        words = (VIEW, f"{night}-{name}.parquet")
        store.put(parquet(table, None), *words)
        parts.append(Part(view=VIEW, night=night, region="", path="/".join(words), rows=table.num_rows))
    load = Load(
        id=f"{name}-judged",
        loaded_at=loaded_at,
        netdiag=netdiag.__version__,
        judged_by=fingerprint(),
        parts=tuple(parts),
    )
    store.put(msgspec.json.encode(load), "loads", f"{load.id}.json")
