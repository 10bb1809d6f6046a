"""The report in Prometheus' text exposition format, for node_exporter's textfile collector.

Samples have no timestamps, which that collector refuses; when the host was read is a gauge of its own. Label values are
made ``visible`` and then escaped as the format wants (backslash, quote, line break). Nothing can fail.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from netdiag.model.finding import Report, subject_text
from netdiag.render.escape import visible

VERDICTS = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
SEVERITIES = ("critical", "warning", "info")


def _value(text: str) -> str:
    return visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _sample(name: str, value: float, **labels: str) -> str:
    inside = ",".join(f'{key}="{_value(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value:.15g}" if inside else f"{name} {value:.15g}"


def _metric(name: str, told: str, samples: list[str]) -> Iterator[str]:
    if samples:
        yield f"# HELP {name} {told}"
        yield f"# TYPE {name} gauge"
        yield from samples


def seconds_of(taken_at: str) -> float | None:
    """Unix time of a report; None where its text is no time."""
    try:
        return datetime.strptime(taken_at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def render_prometheus(report: Report) -> str:
    """The whole exposition, with one line break at the end."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    host = report.host
    info = {"version": report.netdiag, "host": host.name, "kernel": host.kernel, "netns": host.netns}
    yield from _metric("netdiag_info", "Who made this report, about whom.", [_sample("netdiag_info", 1, **info)])
    verdict = _sample("netdiag_verdict", VERDICTS[report.verdict])
    yield from _metric("netdiag_verdict", "0 ok, 1 warning, 2 critical, 3 no verdict.", [verdict])
    seconds = seconds_of(report.taken_at)
    taken = [] if seconds is None else [_sample("netdiag_taken_at_seconds", seconds)]
    yield from _metric("netdiag_taken_at_seconds", "When the host was read, Unix time.", taken)
    counts: Counter[str] = Counter(f.severity for f in report.findings if f.suppressed is None)
    found = [_sample("netdiag_findings", counts[name], severity=name) for name in SEVERITIES]
    yield from _metric("netdiag_findings", "Findings by severity, suppressed ones left out.", found)
    silenced = [_sample("netdiag_findings_suppressed", sum(f.suppressed is not None for f in report.findings))]
    yield from _metric("netdiag_findings_suppressed", "Findings that somebody has accepted.", silenced)
    rows = {}
    for finding in report.findings:
        labels = {"id": finding.id, "rule": finding.rule, "severity": finding.severity}
        labels |= {"confidence": finding.confidence, "subject": subject_text(finding.subject)}
        labels |= {"netns": finding.netns or "", "explained_by": finding.explained_by or ""}
        labels |= {"suppressed": "1" if finding.suppressed is not None else "0"}
        rows[tuple(labels.items())] = _sample("netdiag_finding_info", 1, **labels)
    yield from _metric("netdiag_finding_info", "One for each finding.", list(rows.values()))
    status = {}
    for row in report.coverage:
        labels = {"collector": row.collector, "status": row.status}
        status[row.collector] = _sample("netdiag_collector_ok", row.status == "ok", **labels)
    yield from _metric("netdiag_collector_ok", "1 where a collector read all there is.", list(status.values()))
    gaps = [_sample("netdiag_rules_not_evaluated", len(report.not_evaluated))]
    yield from _metric("netdiag_rules_not_evaluated", "Rules that gave no answer.", gaps)
