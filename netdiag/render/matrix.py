"""A fleet's matrix as text: region by region how many pairs are up, and the pairs that are not. Nothing can fail."""

from collections.abc import Iterator

import numpy as np

from netdiag.fleet.matrix import IDLE, LETTERS, NO_PEER, STATES, UP, Matrix
from netdiag.render.escape import visible
from netdiag.render.pen import Line, Pen, join

SHOWN = 30
"""Hosts up to which every pair is shown, and sick pairs that are listed."""


def render_matrix(told: Matrix, *, color: bool, width: int, verbose: bool = False) -> str:
    """The whole text."""
    return join(list(_lines(told, Pen(color=color, width=width), verbose)))


def _lines(told: Matrix, pen: Pen, verbose: bool) -> Iterator[Line]:
    pairs = int((told.state != NO_PEER).sum())
    yield pen.line((f"{len(told.names)} hosts, {pairs} ordered pairs", "bold"), f"; most bytes that fit: {told.usual}")
    yield from _regions(told, pen)
    if len(told.names) <= SHOWN or verbose:
        yield pen.line("")
        wide = max((len(name) for name in told.names), default=0)
        for number, name in enumerate(told.names):
            row = "".join(LETTERS[code] for code in told.state[number].tolist())
            yield pen.line(f"  {visible(name):<{wide}}  {row}")
        legend = "  ".join(f"{letter} {name}" for letter, name in zip(LETTERS, STATES, strict=True))
        yield pen.line((f"  {legend}", "dim"))
    sick = list(told.sick())
    yield pen.line("")
    for near, far in sick if verbose else sick[:SHOWN]:
        code, mtu = int(told.state[near, far]), int(told.mtu[near, far])
        short = f", {mtu} bytes fit" if 0 < mtu < told.usual else ""
        word = STATES[code]
        style = "critical" if code > IDLE else "warning"
        yield pen.line(f"  {visible(told.names[near])} > {visible(told.names[far])}  ", (word, style), short)
    if len(sick) > SHOWN and not verbose:
        yield pen.line(f"  and {len(sick) - SHOWN} more (-v)")
    if not sick:
        yield pen.line("every pair is in order")


def _regions(told: Matrix, pen: Pen) -> Iterator[Line]:
    names = sorted(set(told.regions))
    wide = max([len(name) for name in names] + [13])
    of = np.array(told.regions)
    yield pen.line(("  up of known".ljust(wide + 2) + "".join(f"  {visible(name):>{wide}}" for name in names), "dim"))
    for one in names:
        cells = []
        for other in names:
            block = told.state[np.ix_(of == one, of == other)]
            up, known = int((block == UP).sum()), int((block != NO_PEER).sum())
            style = "ok" if not int((block > IDLE).sum()) else "critical"
            cells.append((f"  {f'{up}/{known}':>{wide}}", style))
        yield pen.line(f"  {visible(one):<{wide}}", *cells)
