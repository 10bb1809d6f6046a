"""What was read and what was not, in words: the part of a report that keeps silence honest.

Used by the text and the Markdown of a report. All strings that come back are visible (see ``escape``); nothing can
fail.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from netdiag.model.coverage import REQUIRED, Coverage, NotEvaluated
from netdiag.render.escape import visible

GAPS = ("denied", "timeout", "failed", "partial", "inconsistent", "absent")
"""Statuses other than ok, the ones that a person can do something about first."""
ANSWERED = ("ok", "partial", "inconsistent")
"""Statuses that still give a verdict."""


def coverage_sentence(coverage: Iterable[Coverage]) -> str:
    """``14 collectors ok; denied: wireguard (needs CAP_NET_ADMIN); absent: bird``."""
    groups: dict[str, list[Coverage]] = defaultdict(list)
    for row in coverage:
        groups[row.status].append(row)
    read = len(groups.pop("ok", []))
    parts = [f"{read} collector{'' if read == 1 else 's'} ok"]
    for status in GAPS:
        if rows := groups.get(status):
            parts.append(f"{status}: " + ", ".join(_with_reasons(rows)))
    return "; ".join(parts)


def rows_sentence(coverage: Iterable[Coverage]) -> str:
    """``links 12, addresses 30``: how much each collector that answered has read; empty where none did."""
    return ", ".join(f"{visible(row.collector)} {row.rows}" for row in coverage if row.status in ANSWERED and row.rows)


def _with_reasons(rows: Iterable[Coverage]) -> Iterator[str]:
    """``bird, bird_routes (no control socket)``: a reason that several share is said once."""
    names: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        names[visible(row.detail)].append(visible(row.collector))
    for detail, collectors in names.items():
        yield ", ".join(collectors) + (f" ({detail})" if detail else "")


def not_evaluated_sentence(rows: Iterable[NotEvaluated]) -> str:
    """``3 rules: bird absent (2), counters one sample only (1)``; empty where every rule gave an answer.

    A rule that could not be evaluated in several namespaces counts once."""
    rules = {(visible(row.reason), row.rule) for row in rows}
    if not rules:
        return ""
    told = ", ".join(f"{reason} [{count}]" for reason, count in Counter(reason for reason, _ in rules).most_common())
    total = len({rule for _, rule in rules})
    return f"{total} rule{'' if total == 1 else 's'}: {told}"


def missing_required(coverage: Iterable[Coverage]) -> list[str]:
    """The required collectors that did not answer, each with why: the reason for "no verdict"."""
    found = {row.collector: row for row in coverage}
    gaps: list[str] = []
    for name in REQUIRED:
        row = found.get(name)
        if row is None:
            gaps.append(f"{name} (not collected)")
        elif row.status not in ANSWERED:
            gaps.append(f"{name} ({row.status}{': ' if row.detail else ''}{visible(row.detail)})")
    return gaps
