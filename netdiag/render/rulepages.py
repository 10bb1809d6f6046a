"""The rules themselves as text or JSON: the list of ``netdiag rules`` and the page of ``netdiag explain``.

Everything printed here was written by the authors of the rules. Nothing can fail.
"""

from collections.abc import Sequence

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
        "explains": list(rule.explains),
    }


def rules_json(modules: Sequence[RuleModule]) -> str:
    """An array, one object a rule."""
    return pretty([row_of(module) for module in modules])


def rules_text(modules: Sequence[RuleModule], width: int | None) -> str:
    """A table by id, and how many there are."""
    return "".join(columns_text(COLUMNS, map(row_of, modules), width)) + f"{len(modules)} rules\n"


def page_json(module: RuleModule) -> str:
    """One rule with its page."""
    return pretty(row_of(module) | {"page": module.page})
