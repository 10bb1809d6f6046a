"""One table of a snapshot as text or JSON, in pieces, so that a million routes never stand in memory as objects.

Which rows and columns a table has is said by its file in netdiag/render/views; here they become text. A short table is
laid out by tabulate to the width of the terminal: columns that are empty everywhere are left out, then those of the
highest ``rank`` until it fits. A long table is streamed: its widths come from the first rows. Nothing can fail.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tabulate

from netdiag.model.snapshot import Snapshot
from netdiag.render.escape import cells, visible
from netdiag.render.json import compact

tabulate.MIN_PADDING = 0  # or every column is as wide as its header and two more


STREAM = 2000
"""Rows from which a table is streamed."""
BATCH = 500
"""Rows in one piece of text."""
GAP = "  "

Row = dict[str, Any]
"""One row: what ``--json`` prints, in iproute2's spelling."""


@dataclass(frozen=True)
class Column:
    """A column of the text. ``rank`` 0 is always shown; the highest rank is the first to go on a narrow terminal."""

    name: str
    rank: int = 0
    right: bool = False
    """Align to the right: numbers that a person compares."""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which rows are wanted; None: all. ``dev`` and ``family`` are the kernel's names, the others its numbers."""

    table: int | None = None
    dev: str | None = None
    proto: int | None = None
    family: str | None = None
    netid: str | None = None
    """Of sockets: ``tcp``, ``udp``, ``raw``, ``packet``."""

    def given(self) -> tuple[str, ...]:
        """Names of the filters that are set."""
        return tuple(name for name in ("table", "dev", "proto", "family", "netid") if getattr(self, name) is not None)


def same(row: Row) -> list[Row]:
    """The text shows the row as it is, on one line."""
    return [row]


@dataclass(frozen=True, kw_only=True)
class View:
    """How one table is shown."""

    collector: str
    """Whose coverage tells whether the table was read."""
    columns: tuple[Column, ...]
    rows: Callable[[Snapshot, Filters], Iterator[Row]]
    filters: tuple[str, ...] = ()
    """Names of the ``Filters`` that mean something here."""
    cells: Callable[[Row], list[Row]] = same
    """From a row to what its text columns show: one line, and more where parts of it deserve their own."""


def table_json(rows: Iterator[Row]) -> Iterator[str]:
    """A JSON array in pieces, one row a line."""
    empty = True
    for batch in iter(lambda: list(itertools.islice(rows, BATCH)), []):
        yield ("[\n" if empty else ",\n") + ",\n".join(compact(row) for row in batch)
        empty = False
    yield "[]\n" if empty else "\n]\n"


def table_text(view: View, rows: Iterator[Row], width: int | None) -> Iterator[str]:
    """The table in pieces of whole lines; nothing at all where it has no rows.

    ``width``: columns of the terminal; None: as wide as it gets (a pipe, a file).
    """
    yield from columns_text(view.columns, (line for row in rows for line in view.cells(row)), width)


def columns_text(columns: Sequence[Column], lines: Iterator[Row], width: int | None) -> Iterator[str]:
    """The same for lines whose values already are what the columns show."""
    first = [_texts(columns, line) for line in itertools.islice(lines, STREAM)]
    if not first:
        return
    later = next(lines, None)
    widths = _widths(columns, first)
    kept = _fitting(columns, widths, width, keep_empty=later is not None)
    left_out = [column.name for n, column in enumerate(columns) if widths[n] and n not in kept]
    chosen = [columns[n] for n in kept]
    begin = [[row[n] for n in kept] for row in first]
    if later is None:
        yield _laid_out(chosen, begin)
    else:
        rest = (_texts(chosen, line) for line in itertools.chain([later], lines))
        yield from _streamed(chosen, [widths[n] for n in kept], itertools.chain(begin, rest))
    if left_out:
        yield f"(no room for {', '.join(left_out)}; --json has everything)\n"


def _texts(columns: Sequence[Column], line: Row) -> list[str]:
    return [cell_text(line.get(column.name)) for column in columns]


def cell_text(value: Any) -> str:
    """One value as a person reads it: lists with commas, ``key=value`` for dictionaries, nothing for None."""
    if isinstance(value, str):
        return value if value.isascii() and value.isprintable() else visible(value)
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    if isinstance(value, Mapping):
        return " ".join(f"{visible(str(key))}={cell_text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(cell_text(item) for item in value)
    return str(value)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """Cells that each column takes; 0 where it is empty everywhere."""
    widths = [max(cells(row[n]) for row in rows) for n in range(len(columns))]
    return [max(width, len(column.name)) if width else 0 for width, column in zip(widths, columns, strict=True)]


def _fitting(columns: Sequence[Column], widths: Sequence[int], width: int | None, *, keep_empty: bool) -> list[int]:
    """Positions of the columns to show."""
    chosen = [n for n, column in enumerate(columns) if widths[n] or (keep_empty and column.rank == 0)]
    if keep_empty and width is None:
        return list(range(len(columns)))  # rows that nobody has looked at yet may need any of them
    while width is not None and sum(widths[n] + len(GAP) for n in chosen) - len(GAP) > width:
        last = max(chosen, key=lambda n: (columns[n].rank, n))
        if columns[last].rank == 0:
            break
        chosen.remove(last)
    return chosen


def _laid_out(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    table = tabulate.tabulate(
        rows,
        headers=[column.name for column in columns],
        tablefmt="plain",
        disable_numparse=True,
        preserve_whitespace=True,  # the indentation of a line that belongs to the one above
        colalign=["right" if column.right else "left" for column in columns],
    )
    return "".join(f"{line.rstrip()}\n" for line in table.split("\n"))


def _streamed(columns: Sequence[Column], widths: Sequence[int], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    sizes = [max(width, len(column.name)) for width, column in zip(widths, columns, strict=True)]
    header = [column.name for column in columns]
    for batch in iter(lambda: list(itertools.islice(rows, BATCH)), []):
        lines = [header, *batch] if header else batch
        header = []
        yield "".join(_padded(line, sizes) + "\n" for line in lines)


def _padded(texts: Sequence[str], sizes: Sequence[int]) -> str:
    padded = [
        text.ljust(size) if text.isascii() else text + " " * (size - cells(text))
        for text, size in zip(texts, sizes, strict=True)
    ]
    return GAP.join(padded).rstrip()
