"""What changed in a fleet, for a person. Every foreign string passes ``escape.visible``. Nothing can fail."""

from collections.abc import Iterator

from netdiag.model.fleetdiff import ORDER, FleetChange, FleetDiff
from netdiag.render.changes import finding_line
from netdiag.render.escape import visible
from netdiag.render.pen import Line, Pen, join

MARKS = {"new": "+", "worse": "!", "flapping": "~", "unknown": "?", "better": "<", "gone": "-"}
SHOWN = 15
"""Changes of one kind without ``verbose``."""


def diff_text(diff: FleetDiff, *, color: bool = False, verbose: bool = False) -> str:
    """A person's version: ``+`` new, ``!`` worse, ``~`` flapping, ``?`` not known, ``<`` better, ``-`` gone."""
    return join(list(_lines(diff, Pen(color=color, width=80), verbose)))


def _lines(diff: FleetDiff, pen: Pen, verbose: bool) -> Iterator[Line]:
    for word, side in (("from", diff.old), ("to", diff.new)):
        yield pen.line(f"{word:<5} {visible(side.taken_at)}  {side.hosts} hosts  ", (side.verdict, side.verdict))
    for word, hosts in (("new hosts", diff.hosts_new), ("hosts gone", diff.hosts_gone)):
        if hosts:
            more = "" if verbose or len(hosts) <= SHOWN else f" and {len(hosts) - SHOWN} more (-v)"
            shown = hosts if verbose else hosts[:SHOWN]
            yield pen.line(f"{word}: {', '.join(map(visible, shown))}{more}")
    for kind in ORDER:
        rows = [change for change in diff.changes if change.kind == kind]
        if rows:
            yield pen.line("")
            yield pen.line((f"{kind} ({len(rows)})", "bold"))
        for change in rows if verbose else rows[:SHOWN]:
            yield _change(change, pen)
        if len(rows) > SHOWN and not verbose:
            yield pen.line(f"  and {len(rows) - SHOWN} more (-v)")
    yield pen.line("")
    yield pen.line(f"{diff.same} as before" if diff.changes or diff.same else "nothing found on either")


def _change(change: FleetChange, pen: Pen) -> Line:
    was = f" (was {change.before})" if change.kind in ("worse", "better") else ""
    nights = f"  [{''.join('x' if there else '.' for there in change.nights)}]" if change.kind == "flapping" else ""
    below = "  " if change.finding.explained_by else ""
    text = f"  {MARKS[change.kind]} {below}{finding_line(change.finding)}{was}{nights}"
    return pen.line((text, change.finding.severity if change.kind in ("new", "worse", "flapping") else ""))
