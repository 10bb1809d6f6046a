"""Which findings are opened on the first screen, which get one line, and which are only counted.

The rule: the first finding is always open. Every other finding at warning or above then gets a line, as far as the room
goes; what room is left opens them one after the other, in order, without skipping. Findings of severity info come last,
in the same way. Whatever did not fit is counted by severity in a last line. Pure; nothing can fail.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netdiag.render.pen import Line, Pen

EXPLAINED_LIMIT = 5
"""Lines about what one finding explains."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A root finding in its two forms."""

    severity: str
    """``suppressed`` for a suppressed finding."""
    full: list[Line]
    explained: list[Line]
    """One line for each finding that this one explains."""
    short: Line


def _opened(entry: Entry, pen: Pen, limit: int) -> list[Line]:
    """The full form with at most ``limit`` explained findings, and a blank line before it."""
    lines = [pen.line(""), *entry.full]
    if entry.explained:
        shown, rest = entry.explained[:limit], len(entry.explained) - limit
        total = len(entry.explained)
        lines.append(pen.line(f"  explains {total} finding{'' if total == 1 else 's'}{':' if shown else ' (-v)'}"))
        lines += shown
        if shown and rest > 0:
            lines.append(pen.line(f"    ... {rest} more explained (-v)"))
    return lines


class _Plan:
    """Forms chosen so far, and the rows that are left."""

    def __init__(self, entries: Sequence[Entry], pen: Pen, room: int) -> None:
        self.entries = entries
        self.pen = pen
        self.room = room
        self.forms: dict[int, list[Line]] = {}

    def spend(self, position: int, lines: list[Line]) -> bool:
        """Give an entry this form if it fits, taking back what its former one took."""
        rows = self.pen.rows(lines) - self.pen.rows(self.forms.get(position, []))
        if rows > self.room:
            return False
        self.room -= rows
        self.forms[position] = lines
        return True

    def open(self, position: int) -> bool:
        """Open an entry, with as many explained findings as fit."""
        entry = self.entries[position]
        return any(
            self.spend(position, _opened(entry, self.pen, limit))
            for limit in range(min(EXPLAINED_LIMIT, len(entry.explained)), -1, -1)
        )

    def list(self, positions: Iterable[int]) -> bool:
        """A line for each, as far as the room goes; whether it was enough for all."""
        return all(n in self.forms or self.spend(n, [self.entries[n].short]) for n in positions)

    def open_in_order(self, positions: Iterable[int]) -> bool:
        """Open one after the other until one does not fit; whether all are open."""
        return all(self._is_open(n) or self.open(n) for n in positions)

    def _is_open(self, position: int) -> bool:
        return len(self.forms.get(position, [])) > 1


def arrange(entries: Sequence[Entry], pen: Pen, room: int) -> list[Line]:
    """The lines of all entries in at most ``room`` rows (more only where a single finding needs more)."""
    if not entries:
        return []
    whole = [line for entry in entries for line in _opened(entry, pen, len(entry.explained))] + [pen.line("")]
    if pen.rows(whole) <= room and all(len(entry.explained) <= EXPLAINED_LIMIT for entry in entries):
        return whole
    plan = _Plan(entries, pen, room - 3)  # a blank line before the short ones, the count, a blank line before the foot
    if not plan.open(0):
        plan.forms[0] = _opened(entries[0], pen, 0)
        plan.room = 0
    minor = [n for n, entry in enumerate(entries) if entry.severity in ("info", "suppressed")]
    serious = [n for n in range(len(entries)) if n not in minor]
    if plan.list(serious):
        opened = plan.open_in_order(serious)
        if plan.list(minor) and opened:
            plan.open_in_order(minor)
    return _drawn(plan)


def _drawn(plan: _Plan) -> list[Line]:
    lines: list[Line] = []
    after_open = False
    for position in sorted(plan.forms):
        form = plan.forms[position]
        is_open = len(form) > 1
        if after_open and not is_open:
            lines.append(plan.pen.line(""))
        lines += form
        after_open = is_open
    hidden = Counter(entry.severity for n, entry in enumerate(plan.entries) if n not in plan.forms)
    if hidden:
        told = ", ".join(
            f"{hidden[name]} {name}" for name in ("critical", "warning", "info", "suppressed") if hidden[name]
        )
        brief = f"... {sum(hidden.values())} more"
        full = f"{brief}: {told} (-v shows everything)"
        lines.append(plan.pen.line(full if len(full) <= plan.pen.width else f"{brief} (-v)"))
    elif any(len(form) == 1 for form in plan.forms.values()):
        lines.append(plan.pen.line("-v opens every finding, with its evidence"))
    return [*lines, plan.pen.line("")]
