"""The report as one HTML file that needs nothing else: no script, no picture, no font from anywhere.

A content security policy inside it forbids everything but its own style, so that even a text that slipped past the
escaping could load and run nothing. Nothing can fail.
"""

import base64
import hashlib
import html
from collections.abc import Iterator

from netdiag.model.finding import Finding, Report, subject_text
from netdiag.render.coverage import coverage_sentence, missing_required
from netdiag.render.escape import visible

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 0; }
article { border-left: .4rem solid #888; margin: 1rem 0; padding: .3rem 1rem; }
article.below { margin-left: 2rem; }
.critical { border-color: #c00; } .warning { border-color: #c80; } .info { border-color: #08c; }
.suppressed { opacity: .6; }
pre { background: #8882; overflow-x: auto; padding: .5rem; } table { border-collapse: collapse; }
td, th { border-bottom: 1px solid #8888; padding: .1rem .8rem .1rem 0; text-align: left; vertical-align: top; }
"""
HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{HASH}'; base-uri 'none'; form-action 'none'"


def _text(text: str) -> str:
    return html.escape(visible(text), quote=True)


def render_html(report: Report) -> str:
    """The whole document, with one line break at the end."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    name = _text(report.host.name)
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY)}">'
    yield '<meta name="viewport" content="width=device-width">\n<meta name="referrer" content="no-referrer">'
    yield f"<title>{name}: {report.verdict}</title>\n<style>{STYLE}</style>\n</head>\n<body>"
    yield f"<h1>{name}: {report.verdict}</h1>"
    boot = _text(report.host.boot_id or "unknown")
    yield f"<p>Taken {_text(report.taken_at)}, kernel {_text(report.host.kernel)}, boot {boot}, "
    yield f"netdiag {_text(report.netdiag)}.</p>"
    if missing := missing_required(report.coverage):
        yield f"<p><strong>No verdict</strong>: not read: {_text(', '.join(missing))}.</p>"
    if not report.findings:
        yield "<p>Nothing wrong found.</p>"
    for finding in report.findings:
        yield from _finding(finding)
    yield f"<h1>What was read</h1>\n<p>{_text(coverage_sentence(report.coverage))}.</p>"
    if report.not_evaluated:
        rows = "".join(f"<tr><td>{_text(r.rule)}</td><td>{_text(r.reason)}</td></tr>" for r in report.not_evaluated)
        yield f"<table><tr><th>not evaluated</th><th>why</th></tr>{rows}</table>"
    yield "</body>\n</html>"


def _finding(finding: Finding) -> Iterator[str]:
    classes = f"{finding.severity}{' below' if finding.explained_by else ''}"
    classes += " suppressed" if finding.suppressed is not None else ""
    doubt = "" if finding.confidence == "certain" else f" ({finding.confidence})"
    yield f'<article class="{classes}">'
    yield f"<h2>{finding.severity}{doubt}: {_text(finding.rule)}: {_text(subject_text(finding.subject))}</h2>"
    yield f"<p>{_text(finding.message)}</p>"
    if finding.netns:
        yield f"<p>In network namespace {_text(finding.netns)}.</p>"
    if finding.suppressed is not None:
        yield f"<p>Suppressed: {_text(finding.suppressed)}</p>"
    confirm = "\n".join(map(_text, finding.confirm))
    fix = "\n".join(map(_text, finding.fix.split("\n")))
    yield f"<p>Confirm:</p>\n<pre>{confirm}</pre>\n<p>Fix:</p>\n<pre>{fix}</pre>"
    rows = "".join(
        f"<tr><td>{_text(e.fact)}</td><td>{_text(e.value)}</td><td>{_text(e.source)}</td></tr>"
        for e in finding.evidence
    )
    yield "<details><summary>Evidence</summary>"
    yield f"<table><tr><th>fact</th><th>value</th><th>source</th></tr>{rows}</table>"
    yield f"<p>id {_text(finding.id)}</p></details>\n</article>"
