"""The rules themselves as text or JSON: the list of ``netdiag rules`` and the page of ``netdiag explain``.

What stands here was written by the authors of the rules, but for what a host adds. Nothing can fail.
"""

from collections.abc import Iterator, Mapping, Sequence

from netdiag.model.finding import Report, subject_text
from netdiag.render.escape import visible
from netdiag.render.json import pretty
from netdiag.render.tables import Column, Row, columns_text
from netdiag.rules.shape import RuleModule

COLUMNS = (Column("id"), Column("severity"), Column("domain", 1), Column("title", 1))


def row_of(module: RuleModule) -> Row:
    """One rule."""
    rule = module.rule
    return {
        "id": rule.id,
        "severity": rule.severity,
        "domain": module.domain,
        "scope": rule.scope,
        "title": rule.title,
        "reads": list(rule.reads),
        "consults": list(rule.consults),
        "explains": list(rule.explains),
    }


def rules_json(modules: Sequence[RuleModule], undecidable: Mapping[str, str] | None = None) -> str:
    """An array, one object a rule; then one for each fault that cannot be decided, with the reason."""
    rows: list[Row] = [row_of(module) for module in modules]
    rows += [{"id": name, "decidable": False, "because": why} for name, why in (undecidable or {}).items()]
    return pretty(rows)


def rules_text(modules: Sequence[RuleModule], width: int | None, undecidable: Mapping[str, str] | None = None) -> str:
    """A table by id, and how many there are; then what cannot be decided."""
    text = "".join(columns_text(COLUMNS, map(row_of, modules), width)) + f"{len(modules)} rules\n"
    for name, why in (undecidable or {}).items():
        text += f"{name}: not decidable, because: {why}\n"
    return text


def page_json(module: RuleModule, report: Report | None = None) -> str:
    """One rule with its page, and with what it found on a host."""
    told: Row = {} if report is None else {"report": report}
    return pretty(row_of(module) | {"page": module.page} | told)


def page_on_host(module: RuleModule, report: Report) -> str:
    """The page, and below it what the rule says about one host."""
    return module.page + "".join(f"{line}\n" for line in ["", *_on_host(report)])


def _on_host(report: Report) -> Iterator[str]:
    name = visible(report.host.name)
    yield f"On {name} ({visible(report.taken_at)})"
    for finding in report.findings:
        yield f"  {finding.severity} ({finding.confidence}): {visible(subject_text(finding.subject))}"
        yield f"    {visible(finding.message)}"
        yield from (
            f"    evidence: {visible(e.fact)} = {visible(e.value)} [{visible(e.source)}]" for e in finding.evidence
        )
        yield from (f"    confirm: {visible(command)}" for command in finding.confirm)
        yield from (f"    fix: {visible(step)}" for step in finding.fix.split("\n"))
    yield from (f"  not evaluated: {visible(row.reason)}" for row in report.not_evaluated)
    if not report.findings and not report.not_evaluated:
        yield "  nothing found: what it reads was read, and is as it should be"
