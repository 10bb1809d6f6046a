"""The report as Markdown (CommonMark with GitHub's tables and ``<details>``), for a ticket or a merge request.

A table of the findings, then each finding with its evidence collapsed, then what was not read. Commands stand in fenced
blocks, everything foreign passes ``escape.markdown``. Nothing can fail.
"""

from collections.abc import Iterator

from netdiag.model.finding import Finding, Report, subject_text
from netdiag.render.coverage import coverage_sentence, missing_required
from netdiag.render.escape import markdown, markdown_code


def render_markdown(report: Report) -> str:
    """The whole document, with one line break at the end."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {markdown(report.host.name)}: {report.verdict}"
    yield ""
    kernel, boot = markdown(report.host.kernel), markdown(report.host.boot_id or "unknown")
    yield f"Taken {markdown(report.taken_at)}, kernel {kernel}, boot {boot}, netdiag {markdown(report.netdiag)}."
    yield ""
    if missing := missing_required(report.coverage):
        yield f"**No verdict**: not read: {markdown(', '.join(missing))}."
        yield ""
    yield from _table(report) if report.findings else ["Nothing wrong found.", ""]
    for finding in report.findings:
        yield from _finding(finding)
    yield "## What was read"
    yield ""
    yield markdown(coverage_sentence(report.coverage)) + "."
    yield ""
    if report.not_evaluated:
        yield "| not evaluated | why |"
        yield "|---|---|"
        for row in report.not_evaluated:
            yield f"| {markdown(row.rule)} | {markdown(row.reason)} |"


def _table(report: Report) -> Iterator[str]:
    yield "| severity | rule | subject | fact |"
    yield "|---|---|---|---|"
    for finding in report.findings:
        about = markdown(subject_text(finding.subject))
        below = "&#8627; " if finding.explained_by else ""
        severity = "suppressed" if finding.suppressed else finding.severity
        yield f"| {severity} | {below}{markdown(finding.rule)} | {about} | {markdown(finding.message)} |"
    yield ""


def _finding(finding: Finding) -> Iterator[str]:
    yield f"## {finding.severity}: {markdown(finding.rule)}"
    yield ""
    yield f"{markdown(finding.message)} ({finding.confidence})"
    yield ""
    if finding.suppressed:
        yield f"Suppressed: {markdown(finding.suppressed)}"
        yield ""
    yield "Confirm:"
    yield ""
    yield markdown_code(list(finding.confirm))
    yield ""
    yield "Fix:"
    yield ""
    yield markdown_code(finding.fix.split("\n"))
    yield ""
    yield "<details><summary>Evidence</summary>"
    yield ""
    yield "| fact | value | source |"
    yield "|---|---|---|"
    for row in finding.evidence:
        yield f"| {markdown(row.fact)} | {markdown(row.value)} | {markdown(row.source)} |"
    yield ""
    yield f"`id {markdown(finding.id)}`" if finding.id.isalnum() else ""
    yield ""
    yield "</details>"
    yield ""
