"""What an on-call pastes into an incident ticket: the Markdown report under a title, with less of what identifies.

Secrets cannot be here, for netdiag never has them. Public keys are shortened in prose to what tells peers apart; the
commands keep them, or they could not be pasted. Nothing can fail.
"""

import re
from typing import Any

import msgspec

from netdiag.model.finding import Finding, Report
from netdiag.render.escape import markdown
from netdiag.render.markdown import render_markdown

KEY = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}=")


def _short(text: str) -> str:
    return KEY.sub(lambda found: found[0][:8] + "...", text)


def _redacted(finding: Finding) -> Finding:
    told: dict[str, Any] = {
        key: _short(value) if isinstance(value, str) else value for key, value in finding.subject.items()
    }
    evidence = tuple(
        msgspec.structs.replace(row, fact=_short(row.fact), value=_short(row.value), source=_short(row.source))
        for row in finding.evidence
    )
    return msgspec.structs.replace(finding, subject=told, message=_short(finding.message), evidence=evidence)


def chosen(report: Report, identity: str) -> Report | None:
    """The report with that finding and what it explains alone; None where no finding has that id."""
    by_id = {finding.id: finding for finding in report.findings}
    roots = [finding for finding in report.findings if identity and finding.id.startswith(identity)]
    if len(roots) != 1:
        return None
    kept: dict[str, Finding] = {}
    waiting = [roots[0].id]
    while waiting:
        at = waiting.pop(0)
        if at in by_id and at not in kept:
            kept[at] = by_id[at]
            waiting += by_id[at].explains
    return msgspec.structs.replace(report, findings=tuple(kept.values()))


def render_ticket(report: Report, *, incident: str | None = None, bundle: str | None = None) -> str:
    """The whole document. ``incident``: the ticket's own id; ``bundle``: name of the snapshot beside it."""
    report = msgspec.structs.replace(report, findings=tuple(map(_redacted, report.findings)))
    lines = []
    if incident is not None:
        lines += [f"Ticket {markdown(incident)}", ""]
    if bundle is not None:
        lines += [f"The snapshot behind it: {markdown(bundle)} (netdiag check FILE judges it again)", ""]
    return "".join(f"{line}\n" for line in lines) + render_markdown(report)
