"""``suppress.toml``: findings that somebody has accepted, with a name, a ticket and a last day."""

import datetime
from typing import Any

from netdiag.model.intent import Suppression, Suppressions
from netdiag.told.strict import Table, load, text


def read(path: str) -> Suppressions:
    """The file. Raises netdiag.told.ToldRefused."""
    top = load(path)
    found = []
    for row in top.tables("suppress") or ():
        found.append(_suppression(row))
        row.done()
    top.done()
    return Suppressions(path=path, entries=tuple(found))


def _suppression(row: Table) -> Suppression:
    return Suppression(
        rule=row.take("rule", text, required=True),
        match=row.take("match", text, required=True),
        owner=row.take("owner", text, required=True),
        ticket=row.take("ticket", text, required=True),
        expires=row.take("expires", _day, required=True),
    )


def _day(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        raise ValueError("must be a day: 2026-12-31")
    if isinstance(value, datetime.date):
        return value.isoformat()
    try:
        return datetime.date.fromisoformat(text(value)).isoformat()
    except ValueError:
        raise ValueError("must be a day: 2026-12-31") from None
