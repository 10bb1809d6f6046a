"""Lines for a terminal: their text, its colours, and how many rows they take.

A ``Line`` keeps the bare text beside the coloured one, so that widths and budgets never count escape sequences. Colours
are the sixteen of ECMA-48 (SGR), which every terminal has, and never the only carrier of a meaning. Nothing can fail.
"""

import textwrap
from dataclasses import dataclass

from netdiag.render.escape import cells

SGR = {"critical": "1;31", "warning": "1;33", "info": "1;36", "ok": "1;32", "bold": "1", "dim": "2"}


@dataclass(frozen=True)
class Line:
    """One logical line; ``bare`` has no escape sequences, ``shown`` is what is printed."""

    bare: str
    shown: str

    def rows(self, width: int) -> int:
        """Rows of a terminal of that many columns: a longer line is wrapped by the terminal."""
        return max(1, -(-cells(self.bare) // width))


class Pen:
    """Puts words together into lines, coloured or not. Every text given to it has been made ``visible`` before."""

    def __init__(self, *, color: bool, width: int) -> None:
        self.color = color
        self.width = max(40, width)

    def line(self, *parts: str | tuple[str, str]) -> Line:
        """Parts side by side; ``(text, style)`` is coloured by a key of ``SGR``."""
        bare = "".join(part if isinstance(part, str) else part[0] for part in parts)
        return Line(bare, "".join(part if isinstance(part, str) else self._styled(*part) for part in parts))

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{SGR[style]}m{text}\x1b[0m" if self.color and style in SGR and text else text

    def prose(self, text: str, indent: str, follow: str | None = None) -> list[Line]:
        """Text broken at spaces to the width; never for commands, which must stay on one line to be pasted."""
        follow = indent if follow is None else follow
        lines = textwrap.wrap(
            text,
            self.width,
            initial_indent=indent,
            subsequent_indent=follow,
            break_long_words=False,
            break_on_hyphens=False,
        )
        return [Line(line, line) for line in lines]

    def rows(self, lines: list[Line]) -> int:
        """Rows of all the lines together."""
        return sum(line.rows(self.width) for line in lines)


def join(lines: list[Line]) -> str:
    """The printed text, with a line break after every line."""
    return "".join(f"{line.shown}\n" for line in lines)
