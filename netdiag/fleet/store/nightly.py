"""Judge the nights that a load has touched, each as a whole fleet, and keep what was found for later nights.

It is done in a child with a deadline (netdiag.fleet.apart): a rule between hosts that hangs costs the night's report.
Raises StoreRefused where the store cannot be written.
"""

from collections.abc import Callable, Iterator
from functools import partial

import msgspec

import netdiag
from netdiag.fleet.apart import Child, Lost
from netdiag.fleet.history import COLUMNS, VIEW
from netdiag.fleet.judge import Here, judge_fleet
from netdiag.fleet.judged import fingerprint
from netdiag.fleet.load import fleet_in
from netdiag.fleet.store.columns import array
from netdiag.fleet.store.place import Load, Part, Place, Remark
from netdiag.fleet.store.write import parquet
from netdiag.model.finding import subject_text
from netdiag.model.fleetreport import Notice

SECONDS = 900.0
"""For one night; 10,000 hosts take one minute."""
MEMORY = 8 << 30
"""Bytes for that, beside what is there already."""


def keep(store: Place, nights: list[str], name: str, loaded_at: str) -> list[Notice]:
    """Write the report of each of these nights; of which none could be had."""
    parts, notices = [], []
    for night in nights:
        child = Child(partial(_report, store, night), MEMORY)
        try:
            rows = int.from_bytes(child.answer(SECONDS), "big")
            octets = child.answer(SECONDS)
        except Lost as lost:
            detail = f"what was found in night {night} is not kept: {lost}"
            notices.append(Notice(kind="not-judged", host="(between hosts)", detail=detail))
            continue
        finally:
            child.end()
        words = (VIEW, f"{night}-{name}.parquet")
        store.put(octets, *words)
        parts.append(Part(view=VIEW, night=night, region="", path="/".join(words), rows=rows))
    load = Load(
        id=f"{name}-judged",
        loaded_at=loaded_at,
        netdiag=netdiag.__version__,
        judged_by=fingerprint(),
        parts=tuple(parts),
        notices=tuple(Remark(kind=row.kind, host=row.host, detail=row.detail) for row in notices),
    )
    store.put(msgspec.json.encode(load), "loads", f"{load.id}.json")
    return notices


def _report(store: Place, night: str, began: Callable[[str], None]) -> Iterator[bytes]:
    """The findings of one night: how many, and as a part."""
    import pyarrow as pa

    findings = judge_fleet(fleet_in(store, night), Here(began)).findings
    cells = {
        field: [getattr(finding, field) for finding in findings]
        for field in ("id", "rule", "severity", "confidence", "message", "explained_by")
    }
    cells["night"] = [night] * len(findings)
    cells["kind"] = [str(finding.subject["kind"]) for finding in findings]
    cells["subject"] = [subject_text(finding.subject) for finding in findings]
    cells["hosts"] = [finding.subject.get("hosts") or [] for finding in findings]
    yield len(findings).to_bytes(8, "big")
    yield bytes(parquet(pa.table({column.name: array(column.kind, cells[column.name]) for column in COLUMNS}), None))
