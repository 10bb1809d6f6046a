"""The report as a Sensu Go event (core/v2): an entity, and a check whose status is the exit status of ``check``.

The output is what a person sees in the web interface: one line a finding, made ``visible``. Nothing can fail.
"""

import re
from typing import Any

from netdiag.model.finding import Finding, Report, subject_text
from netdiag.render.coverage import coverage_sentence
from netdiag.render.escape import visible
from netdiag.render.json import pretty
from netdiag.render.prometheus import VERDICTS, seconds_of

NOT_NAME = re.compile(r"[^\w.\-]+", re.ASCII)
"""Names in Sensu are of these characters only."""


def _name(text: str) -> str:
    return NOT_NAME.sub("_", visible(text))[:128] or "unknown"


def _line(finding: Finding) -> str:
    mark = "SUPPRESSED" if finding.suppressed is not None else finding.severity.upper()
    below = "  under " + visible(finding.explained_by) if finding.explained_by else ""
    about = visible(subject_text(finding.subject))
    return f"{mark} {visible(finding.rule)} {about}: {visible(finding.message)}{below}"


def render_sensu(report: Report) -> str:
    """The whole event, with one line break at the end."""
    seconds = int(seconds_of(report.taken_at) or 0)
    output = [f"{report.verdict}: {visible(report.host.name)}", *map(_line, report.findings)]
    output += [f"coverage: {coverage_sentence(report.coverage)}", f"not evaluated: {len(report.not_evaluated)} rules"]
    check: dict[str, Any] = {
        "metadata": {
            "name": "netdiag",
            "namespace": "default",
            "labels": {"netdiag_verdict": report.verdict},
            "annotations": {"netdiag_version": visible(report.netdiag)},
        },
        "status": VERDICTS[report.verdict],
        "state": "passing" if report.verdict == "ok" else "failing",
        "output": "\n".join(output) + "\n",
        "issued": seconds,
        "executed": seconds,
        "interval": 60,
        "handlers": [],
    }
    entity = {"entity_class": "proxy", "metadata": {"name": _name(report.host.name), "namespace": "default"}}
    metadata = {"namespace": "default"}
    event = {"type": "Event", "api_version": "core/v2", "metadata": metadata}
    spec = {"timestamp": seconds, "entity": entity, "check": check}
    return pretty(event | {"spec": spec})
