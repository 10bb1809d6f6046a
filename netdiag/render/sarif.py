"""The report as SARIF 2.1.0 (OASIS), one run of one tool, for what collects results of analysers.

Rules stand under ``tool.driver.rules``, findings are results with a logical location, what was not evaluated is a
notification of the invocation. Texts are plain: ``visible`` first, then JSON. Nothing can fail.
"""

from typing import Any

from netdiag.model.finding import Finding, Report, subject_text
from netdiag.render.escape import visible
from netdiag.render.json import pretty

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"critical": "error", "warning": "warning", "info": "note"}
RANKS = {"certain": 100.0, "likely": 60.0, "possible": 20.0}


def render_sarif(report: Report) -> str:
    """The whole log, with one line break at the end."""
    names = sorted({finding.rule for finding in report.findings})
    positions = {name: position for position, name in enumerate(names)}
    run = {
        "tool": {
            "driver": {
                "name": "netdiag",
                "version": visible(report.netdiag),
                "rules": [{"id": visible(name), "name": visible(name)} for name in names],
            }
        },
        "invocations": [_invocation(report)],
        "results": [_result(finding, positions[finding.rule], report) for finding in report.findings],
        "columnKind": "unicodeCodePoints",
        "properties": {"host": visible(report.host.name), "verdict": report.verdict},
    }
    return pretty({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _invocation(report: Report) -> dict[str, Any]:
    notes = [
        {
            "level": "note",
            "message": {"text": f"not evaluated: {visible(row.reason)}"},
            "associatedRule": {"id": visible(row.rule)},
        }
        for row in report.not_evaluated
    ]
    found: dict[str, Any] = {"executionSuccessful": report.verdict != "unknown", "machine": visible(report.host.name)}
    return found | {"endTimeUtc": visible(report.taken_at), "toolExecutionNotifications": notes}


def _result(finding: Finding, position: int, report: Report) -> dict[str, Any]:
    about = visible(subject_text(finding.subject))
    proof = "\n".join(f"{visible(e.fact)} = {visible(e.value)} [{visible(e.source)}]" for e in finding.evidence)
    text = f"{visible(finding.message)}\n{proof}\nfix: {visible(finding.fix)}"
    found: dict[str, Any] = {
        "ruleId": visible(finding.rule),
        "ruleIndex": position,
        "level": LEVELS[finding.severity],
        "rank": RANKS[finding.confidence],
        "message": {"text": text},
        "locations": [
            {
                "logicalLocations": [
                    {
                        "name": about,
                        "fullyQualifiedName": f"{visible(report.host.name)}/{about}",
                        "kind": visible(str(finding.subject.get("kind", "host"))),
                    }
                ]
            }
        ],
        "partialFingerprints": {"netdiagFinding/v1": visible(finding.id)},
        "properties": {
            "severity": finding.severity,
            "confidence": finding.confidence,
            "confirm": [visible(command) for command in finding.confirm],
            "explains": [visible(identity) for identity in finding.explains],
            "explainedBy": visible(finding.explained_by) if finding.explained_by else None,
            "netns": visible(finding.netns) if finding.netns else None,
        },
    }
    if finding.suppressed is not None:
        found["suppressions"] = [{"kind": "external", "justification": visible(finding.suppressed)}]
    return found
