"""The report for a person, at three in the morning, on a terminal of 80 columns and 24 lines.

Without ``verbose`` everything fits on that first screen: the verdict, the worst finding in full, a line for each of the
others, and what was not read. Findings are then opened in order as long as there is room (see ``screen``). With
``verbose`` every finding is shown in full with its evidence, and so is the coverage.

A finding in full is: severity, rule and subject; the fact in one sentence; ``confirm:`` and ``fix:`` with commands on
one line each, never broken, so that they can be pasted; ``netdiag explain RULE``; and below it, one line each, what
it explains. Every foreign string passes ``escape.visible``. Nothing can fail.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from netdiag.model.finding import Finding, Report, subject_text
from netdiag.render.coverage import coverage_sentence, missing_required, not_evaluated_sentence, rows_sentence
from netdiag.render.escape import cut, visible
from netdiag.render.pen import Line, Pen, join
from netdiag.render.screen import Entry, arrange

SCREEN = 24
"""Lines of the first screen."""
CONFIRM_LIMIT = 2
FOOT_LIMIT = 2
"""Rows that each of the two lines about coverage may take on the first screen."""
FIX_LIMIT = 4
SEVERITIES = ("critical", "warning", "info")
VERDICTS = {"ok": "OK", "warning": "WARNING", "critical": "CRITICAL", "unknown": "NO VERDICT"}


def render_text(report: Report, *, color: bool = False, verbose: bool = False, width: int = 80) -> str:
    """The whole text, each line ended by a line break. ``width`` is the terminal's, in columns."""
    pen = Pen(color=color, width=width)
    tree = Tree(report)
    if verbose:
        return join(list(_everything(report, tree, pen)))
    head = _head(report, pen)
    foot = _foot(report, pen)
    entries = [_entry(finding, tree, pen) for finding in tree.roots]
    return join([*head, *arrange(entries, pen, SCREEN - pen.rows(head) - pen.rows(foot)), *foot])


class Tree:
    """The findings as roots and what they explain; suppressed ones come last, for they are counted, never hidden."""

    def __init__(self, report: Report) -> None:
        self.by_id = {finding.id: finding for finding in report.findings}
        roots = [finding for finding in report.findings if finding.explained_by not in self.by_id]
        self.roots = sorted(roots, key=lambda finding: finding.suppressed is not None)

    def below(self, finding: Finding, depth: int = 1) -> Iterator[tuple[int, Finding]]:
        """What a finding explains, directly and over others, with its depth; a damaged report may not loop."""
        for identity in finding.explains:
            child = self.by_id.get(identity)
            if child is not None and child.explained_by == finding.id and depth < 20:
                yield depth, child
                yield from self.below(child, depth + 1)


def counts(findings: Iterable[Finding]) -> str:
    """``2 critical, 1 warning, 1 suppressed``."""
    counts = Counter("suppressed" if finding.suppressed else finding.severity for finding in findings)
    return ", ".join(f"{counts[name]} {name}" for name in (*SEVERITIES, "suppressed") if counts[name])


def _head(report: Report, pen: Pen) -> list[Line]:
    style = {"unknown": "critical"}.get(report.verdict, report.verdict)
    missing = missing_required(report.coverage)
    summary = counts(report.findings)
    if missing:
        summary = f"not read: {', '.join(missing)}" + (f"; {summary}" if summary else "")
    summary = summary or "nothing wrong found"
    parts = (cut(visible(report.host.name), 64), f"  {VERDICTS[report.verdict]}", f"  {summary}")
    room = pen.width - sum(len(part) for part in parts)
    when = f"  {visible(report.taken_at)}  kernel {visible(report.host.kernel)}"
    when = when if len(when) <= room else f"  {visible(report.taken_at)}"
    when = when if len(when) <= room else ""
    if room < 0:
        first = pen.line((parts[0], "bold"), (parts[1], style))
        return [first, *pen.prose(summary, "  ")]
    return [pen.line((parts[0], "bold"), (parts[1], style), parts[2], (when, "dim"))]


def _foot(report: Report, pen: Pen) -> list[Line]:
    lines = _limited(pen.prose(coverage_sentence(report.coverage), "coverage: ", "  "), pen, "netdiag show coverage")
    if not report.findings and (rows := rows_sentence(report.coverage)):
        lines = pen.prose(rows, "read: ", "  ") + lines  # "nothing wrong" is worth as much as what was looked at
    if told := not_evaluated_sentence(report.not_evaluated):
        lines += _limited(pen.prose(told, "not evaluated: ", "  "), pen, "-v")
    return lines


def _limited(lines: list[Line], pen: Pen, where: str) -> list[Line]:
    """At most ``FOOT_LIMIT`` rows; the last one then says where the rest is."""
    if pen.rows(lines) <= FOOT_LIMIT:
        return lines
    more = f" ({where})"
    kept = [
        cut(line.bare, pen.width - (len(more) if last else 0)) for line, last in zip(lines, (False, True), strict=False)
    ]
    last = kept[-1] if kept[-1].endswith("...") else cut(kept[-1], pen.width - len(more) - 3) + "..."
    return [pen.line(line) for line in (*kept[:-1], last + more)]


def _title(finding: Finding, pen: Pen, indent: str = "") -> Line:
    doubt = "" if finding.confidence == "certain" else f" ({finding.confidence})"
    place = f"  netns {visible(finding.netns)}" if finding.netns else ""
    silenced = f"  suppressed: {visible(finding.suppressed)}" if finding.suppressed else ""
    return pen.line(
        indent,
        (finding.severity.upper(), "dim" if finding.suppressed else finding.severity),
        f"{doubt} ",
        (visible(finding.rule), "bold"),
        f"  {visible(subject_text(finding.subject))}{place}{silenced}",
    )


def short_finding(finding: Finding, pen: Pen, indent: str = "", explained: int = 0) -> Line:
    """A finding on one row."""
    more = f" (+{explained} explained)" if explained else ""
    mark = "suppressed" if finding.suppressed else finding.severity
    lead = f"{indent}{mark:<8} "
    rule = visible(finding.rule)
    room = pen.width - len(lead) - len(rule) - len(more) - 2
    message = cut(visible(finding.message), room) if room >= 10 else ""
    style = "dim" if finding.suppressed else finding.severity
    return pen.line((lead, style), rule, f"  {message}{more}")


def _confirm(finding: Finding, pen: Pen, indent: str, limit: int | None) -> Iterator[Line]:
    for position, command in enumerate(finding.confirm[:limit]):
        label = "confirm: " if position == 0 else " " * len("confirm: ")
        yield pen.line(f"{indent}{label}", visible(command))


def _fix(finding: Finding, pen: Pen, indent: str) -> Iterator[Line]:
    for position, step in enumerate(finding.fix.split("\n")):
        yield pen.line(f"{indent}{'fix:     ' if position == 0 else ' ' * 9}", visible(step))


def _entry(finding: Finding, tree: Tree, pen: Pen) -> Entry:
    below = list(tree.below(finding))
    full = [_title(finding, pen), *pen.prose(visible(finding.message), "  ")]
    full += _confirm(finding, pen, "  ", CONFIRM_LIMIT)
    fix = list(_fix(finding, pen, "  "))
    too_long = pen.rows(fix) > FIX_LIMIT
    full += [pen.line(f"  fix:     {len(fix)} lines, see -v")] if too_long else fix
    full.append(pen.line("  ", (f"netdiag explain {visible(finding.rule)}", "dim")))
    return Entry(
        severity="suppressed" if finding.suppressed else finding.severity,
        full=full,
        explained=[short_finding(child, pen, "  " * (depth + 1)) for depth, child in below],
        short=short_finding(finding, pen, explained=len(below)),
    )


def _everything(report: Report, tree: Tree, pen: Pen) -> Iterator[Line]:
    yield from _head(report, pen)
    host = report.host
    boot = f", boot {visible(host.boot_id)}" if host.boot_id else ""
    yield pen.line((f"kernel {visible(host.kernel)}, netns {visible(host.netns)}{boot}", "dim"))
    for root in tree.roots:
        yield pen.line("")
        yield from full_finding(root, pen, "")
        for depth, child in tree.below(root):
            yield pen.line("  " * depth, (f"explains {visible(child.rule)}:", "dim"))
            yield from full_finding(child, pen, "  " * depth)
    yield pen.line("")
    yield from pen.prose(coverage_sentence(report.coverage), "coverage: ", "  ")
    for row in report.coverage:
        took = f"{row.rows} rows, {row.duration_ms:.1f} ms"
        yield pen.line(f"  {visible(row.collector):<14} {row.status:<12} {took:<24} {visible(row.detail)}".rstrip())
    if report.not_evaluated:
        yield pen.line(f"not evaluated: {len(report.not_evaluated)}")
    for gap in report.not_evaluated:
        place = f" (netns {visible(gap.netns)})" if gap.netns else ""
        yield from pen.prose(f"{visible(gap.rule)}{place}: {visible(gap.reason)}", "  ", "    ")


def full_finding(finding: Finding, pen: Pen, indent: str) -> Iterator[Line]:
    """A finding with its evidence, all commands and its id."""
    yield _title(finding, pen, indent)
    yield from pen.prose(visible(finding.message), f"{indent}  ")
    for evidence in finding.evidence:
        fact, value, source = (visible(text) for text in (evidence.fact, evidence.value, evidence.source))
        yield pen.line(f"{indent}  evidence: {fact} = {value}  ", (f"[{source}]", "dim"))
    yield from _confirm(finding, pen, f"{indent}  ", None)
    yield from _fix(finding, pen, f"{indent}  ")
    yield pen.line(
        f"{indent}  ", (f"netdiag explain {visible(finding.rule)}", "dim"), (f"  id {visible(finding.id)}", "dim")
    )
