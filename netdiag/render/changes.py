"""What differs between two snapshots, and findings as they come and go, as text or JSON. Nothing can fail."""

from collections.abc import Iterator, Mapping
from typing import Any

from netdiag.compare import Change, Diff, FindingChanges
from netdiag.model.finding import Finding, subject_text
from netdiag.render.escape import visible
from netdiag.render.json import compact, pretty


def diff_json(diff: Diff) -> str:
    """``netdiag.diff/1``."""
    return pretty(diff)


def diff_text(diff: Diff) -> str:
    """A person's version: ``-`` gone, ``+`` new, ``~`` different."""
    return "".join(f"{line}\n" for line in _lines(diff))


def _words(row: Mapping[str, Any]) -> str:
    return visible(" ".join(f"{key} {_word(value)}" for key, value in row.items()))


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} {_word(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return ",".join(map(_word, value))
    return "-" if value is None else str(value)


def _change(change: Change) -> str:
    told = "; ".join(
        f"{visible(name)}: {visible(_word(value))} -> {visible(_word(change.new[name]))}"
        for name, value in change.old.items()
    )
    return f"  ~ {_words(change.key)}: {told}"


def _lines(diff: Diff) -> Iterator[str]:
    for mark, side in (("-", diff.old), ("+", diff.new)):
        yield f"{mark} {visible(side.name)}  {visible(side.taken_at)}  {side.verdict}"
    for name, changes in diff.tables.items():
        yield visible(name)
        yield from (f"  - {_words(row)}" for row in changes.removed)
        yield from (f"  + {_words(row)}" for row in changes.added)
        yield from map(_change, changes.changed)
    if diff.findings != FindingChanges():
        yield "findings"
        yield from (f"  - {finding_line(row)}" for row in diff.findings.cleared)
        yield from (f"  + {finding_line(row)}" for row in diff.findings.appeared)
        yield from map(_change, diff.findings.changed)
    if diff.same:
        yield "nothing differs"


def finding_line(finding: Finding) -> str:
    """A finding on one line."""
    mark = "suppressed" if finding.suppressed is not None else finding.severity
    return f"{mark} {visible(finding.rule)} {visible(subject_text(finding.subject))}: {visible(finding.message)}"


def events_text(taken_at: str, changes: FindingChanges) -> str:
    """What ``watch`` prints for one look."""
    lines = [f"+ {finding_line(row)}" for row in changes.appeared]
    lines += [f"- {finding_line(row)}" for row in changes.cleared]
    lines += [_change(change).strip() for change in changes.changed]
    return "".join(f"{visible(taken_at)} {line}\n" for line in lines)


def events_json(taken_at: str, changes: FindingChanges) -> str:
    """The same as lines of JSON."""
    events: list[dict[str, Any]] = []
    events += [{"event": "appeared", "at": taken_at, "finding": row} for row in changes.appeared]
    events += [{"event": "cleared", "at": taken_at, "finding": row} for row in changes.cleared]
    events += [{"event": "changed", "at": taken_at, "change": row} for row in changes.changed]
    return "".join(f"{compact(event)}\n" for event in events)
