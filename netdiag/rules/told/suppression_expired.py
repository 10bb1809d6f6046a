"""What it checks
  An entry of the file given with --suppress has passed its last day.

Why it matters
  An expired suppression stops suppressing: what it covered counts again, in the report and in the exit status. Somebody
  promised to have it mended by then; either it is mended and the entry is only clutter, or nobody has looked.

Confirm
  netdiag check --rule RULE
  grep -n expires FILE

Fix
  Take the entry out of the file if the fault is gone; else mend the fault, or ask the owner for a new day.

Not flagged
  The last day itself still counts. The day that is compared is that of the snapshot (UTC), so an old snapshot gives the
  same report today. Entries that cover nothing.

References
  netdiag check --help (--suppress)
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.intent import Suppression, Suppressions
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="suppression-expired",
    title="a suppression has passed its last day",
    severity="warning",
    reads=(),
    consults=("suppressions",),
)


def check(view: HostView) -> Iterator[Draft]:
    told = view.suppressions
    today = view.meta.taken_at[:10]
    if told is None:
        return
    for entry in told.entries:
        if entry.expires < today:
            yield RULE.found(
                subject=subject("host", rule=entry.rule, match=entry.match),
                message=f"the suppression of {entry.rule} on {entry.match} ended on {entry.expires} "
                f"({entry.owner}, {entry.ticket})",
                evidence=[("expires", entry.expires, told.path), ("the snapshot's day", today, "taken_at")],
                confirm=[f"grep -n expires {quoted(told.path)}"],
                fix=f"take the entry out of {told.path}, or ask {entry.owner} about {entry.ticket}",
            )


def _case(name: str, why: str, expires: str, **expected: Any) -> Example:
    entry = Suppression(rule="carrier-flap", match="link eth0", owner="ann", ticket="NET-1", expires=expires)
    told = Suppressions(path="suppress.toml", entries=(entry,))
    return Example(name=name, why=why, tables=HostBuilder().build(), suppressions=told, **expected)


def examples() -> Iterator[Example]:
    about = subject("host", rule="carrier-flap", match="link eth0")
    yield _case("yesterday", "its last day is over", "2025-12-31", fires=1, severity="warning", subject=about)
    yield _case("today", "the last day counts", "2026-01-01")
    yield _case("tomorrow", "as it should be", "2026-01-02")
    yield Example(name="no file", why="nothing was told", tables=HostBuilder().build())
