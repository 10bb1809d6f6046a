"""A fleet's report for a person: verdict, root causes in full with what they explain, who was not reached, what was
not judged. Every foreign string passes ``escape.visible``. Nothing can fail."""

from collections.abc import Iterator
from typing import Any

from netdiag.model.finding import Finding
from netdiag.model.fleetreport import Canary, FleetReport
from netdiag.render.coverage import not_evaluated_sentence
from netdiag.render.escape import visible
from netdiag.render.pen import Line, Pen, join
from netdiag.render.text import VERDICTS, counts, full_finding, short_finding

SHOWN = 12
"""Root findings in full, and lines below each, without ``verbose``."""


def render_fleet(report: FleetReport, *, color: bool = False, verbose: bool = False, width: int = 80) -> str:
    """The whole text."""
    return join(list(_lines(report, Pen(color=color, width=width), verbose)))


def loaded_text(loaded: Any, store: str) -> str:
    """What a load did (netdiag.fleet.store.write.Loaded), in a few lines."""
    lines = [f"{visible(store)}: {loaded.snapshots} snapshots of {loaded.hosts} hosts loaded"]
    lines += [f"refused: {visible(row.name)} ({visible(row.reason)})" for row in loaded.refused]
    lines += [f"{row.kind}: {visible(row.host)}: {visible(row.detail)}" for row in loaded.notices]
    return "".join(f"{line}\n" for line in lines)


def _lines(report: FleetReport, pen: Pen, verbose: bool) -> Iterator[Line]:
    style = {"unknown": "critical"}.get(report.verdict, report.verdict)
    hosts = f"{len(report.hosts)} host{'' if len(report.hosts) == 1 else 's'}"
    summary = counts(report.findings) or "nothing wrong found"
    yield pen.line(
        (hosts, "bold"), (f"  {VERDICTS[report.verdict]}", style), f"  {summary}  {visible(report.taken_at)}"
    )
    if report.canary is not None:
        yield from _canary(report.canary, pen)
    by_id = {finding.id: finding for finding in report.findings}
    roots = [finding for finding in report.findings if finding.explained_by is None]
    for root in roots if verbose else roots[:SHOWN]:
        yield pen.line("")
        yield from full_finding(root, pen, "")
        below = list(_below(root, by_id))
        for depth, child in below if verbose else below[:SHOWN]:
            yield short_finding(child, pen, "  " * (depth + 1))
        if len(below) > SHOWN and not verbose:
            yield pen.line(f"    and {len(below) - SHOWN} more that it explains (-v)")
    if len(roots) > SHOWN and not verbose:
        yield pen.line("")
        yield pen.line(f"and {len(roots) - SHOWN} more causes (-v)")
    yield pen.line("")
    for row in report.unreached:
        yield pen.line(f"not in the report: {visible(row.name)} ({visible(row.reason)})")
    for notice in report.notices:
        yield pen.line(f"{notice.kind}: {visible(notice.host)}: {visible(notice.detail)}")
    if told := not_evaluated_sentence(report.not_evaluated):
        lines = pen.prose(told, "not evaluated: ", "  ")
        yield from lines if verbose else lines[:3]


def _canary(told: Canary, pen: Pen) -> Iterator[Line]:
    style = {"PROCEED": "ok", "HOLD": "critical", "UNKNOWN": "warning"}[told.verdict]
    yield pen.line("")
    yield pen.line((told.verdict, style), f"  by {visible(told.by)}: {visible(told.reason)}")
    for row in told.values:
        new = "  <- new" if row.value == told.canary else ""
        yield pen.line(f"  {visible(row.value)}: {row.hosts} hosts, {row.sick} sick{new}")
    if told.unread:
        yield pen.line(f"  not known: {told.unread} hosts")


def _below(finding: Finding, by_id: dict[str, Finding], depth: int = 1) -> Iterator[tuple[int, Finding]]:
    for identity in finding.explains:
        child = by_id.get(identity)
        if child is not None and depth < 20:
            yield depth, child
            yield from _below(child, by_id, depth + 1)
