"""The report as lines of JSON in the Elastic Common Schema: one document a finding, then one about the whole.

Field names are ECS 8; what ECS has no name for stands below ``netdiag``. Each line is one document, whatever its texts
hold. Nothing can fail.
"""

from collections import Counter
from typing import Any

from netdiag.model.finding import Finding, Report, subject_text
from netdiag.render.escape import visible
from netdiag.render.json import compact

VERSION = "8.11.0"
SEVERITY = {"critical": 3, "warning": 2, "info": 1}


def render_ecs(report: Report) -> str:
    """All documents, each ended by a line break."""
    documents = [*(_finding(finding, report) for finding in report.findings), _summary(report)]
    return "".join(compact(document) + "\n" for document in documents)


def _common(report: Report) -> dict[str, Any]:
    host = report.host
    boot = {"boot": {"id": visible(host.boot_id)}} if host.boot_id else {}
    return {
        "@timestamp": visible(report.taken_at),
        "ecs": {"version": VERSION},
        "host": {
            "name": visible(host.name),
            "hostname": visible(host.name),
            "os": {"kernel": visible(host.kernel), "type": "linux"},
            **boot,
        },
        "observer": {"product": "netdiag", "type": "netdiag", "version": visible(report.netdiag)},
    }


def _finding(finding: Finding, report: Report) -> dict[str, Any]:
    return _common(report) | {
        "message": visible(finding.message),
        "event": {
            "kind": "alert" if finding.severity != "info" and finding.suppressed is None else "event",
            "category": ["network"],
            "type": ["info"],
            "module": "netdiag",
            "dataset": "netdiag.finding",
            "severity": SEVERITY[finding.severity],
            "id": visible(finding.id),
        },
        "log": {"level": finding.severity},
        "rule": {"id": visible(finding.rule), "name": visible(finding.rule), "ruleset": "netdiag"},
        "netdiag": {
            "finding": {
                "confidence": finding.confidence,
                "subject": visible(subject_text(finding.subject)),
                "kind": visible(str(finding.subject.get("kind", ""))),
                "evidence": [f"{visible(e.fact)} = {visible(e.value)} [{visible(e.source)}]" for e in finding.evidence],
                "confirm": [visible(command) for command in finding.confirm],
                "fix": visible(finding.fix),
                "explains": [visible(identity) for identity in finding.explains],
                "explained_by": visible(finding.explained_by) if finding.explained_by else None,
                "suppressed": visible(finding.suppressed) if finding.suppressed is not None else None,
                "netns": visible(finding.netns) if finding.netns else None,
            }
        },
    }


def _summary(report: Report) -> dict[str, Any]:
    counts = Counter("suppressed" if f.suppressed is not None else f.severity for f in report.findings)
    return _common(report) | {
        "message": f"netdiag: {report.verdict}",
        "event": {
            "kind": "state",
            "category": ["network"],
            "type": ["info"],
            "module": "netdiag",
            "dataset": "netdiag.report",
            "outcome": "unknown" if report.verdict == "unknown" else "success",
        },
        "netdiag": {
            "verdict": report.verdict,
            "findings": {name: counts[name] for name in (*SEVERITY, "suppressed")},
            "not_evaluated": [f"{visible(row.rule)}: {visible(row.reason)}" for row in report.not_evaluated],
            "coverage": {visible(row.collector): row.status for row in report.coverage},
        },
    }
