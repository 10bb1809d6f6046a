"""Make foreign text harmless where it is shown: the only place that escapes.

An interface may be named with a terminal's escape sequences, an alias may turn the writing direction around, a BGP
message may hold a line break that looks like a second finding. ``visible`` is for terminals and anything read line by
line, ``json_text`` for JSON that may be shown on a terminal, ``markdown`` and ``markdown_code`` for tickets. Nothing
can fail, and what was harmless comes back as it was.
"""

import re
import unicodedata

BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Characters that Unicode counts as letters or marks, so that ``str.isprintable`` passes them, and show nothing."""

NOT_PLAIN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What a terminal or an editor obeys instead of showing: C0, DEL, C1, bidi controls, zero width, separators, tags."""


def _spelled(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{{{number:x}}}"


def visible(text: str) -> str:
    """The text on one line, with whatever does not show itself as ``\\xNN`` or ``\\u{...}``.

    That is every control character (line breaks and tabs too), bidi and zero-width characters, any space but the plain
    one, private and unassigned code points, and lone surrogates.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = "".join(character if character.isprintable() else _spelled(character) for character in text)
    return BLANK.sub(lambda found: _spelled(found[0]), shown)


def cells(text: str) -> int:
    """How many columns of a terminal the (visible) text takes: East Asian wide characters two, combining marks none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def cut(text: str, width: int) -> str:
    """The text, or as much of its beginning as fits into ``width`` columns with ``...`` behind it."""
    if cells(text) <= width:
        return text
    kept = ""
    for character in text:
        if cells(kept + character) > width - 3:
            break
        kept += character
    return kept.rstrip() + "..."


def json_text(encoded: str) -> str:
    """JSON in which every character that a terminal obeys is a ``\\uXXXX`` escape; it decodes to the same values.

    ``encoded`` must be JSON: its own line breaks stand outside strings and stay.
    """
    return NOT_PLAIN.sub(_json_escape, encoded)


def _json_escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in "\n\r\t":
        return character  # inside a string JSON has them escaped already; this one is layout
    return "".join(f"\\u{unit:04x}" for unit in _utf16(ord(character)))


def _utf16(number: int) -> tuple[int, ...]:
    if number < 0x10000:
        return (number,)
    return 0xD800 + ((number - 0x10000) >> 10), 0xDC00 + ((number - 0x10000) & 0x3FF)


MARKDOWN = re.compile(r"[\\`*_\[\]|~$]|(?<=:)//|(?<=www)\.|^[#+=-]|(?<=^[0-9])[.)]|(?<=^[0-9]{2})[.)]")
"""What makes markup, links and tables, and at the beginning of a line headings and lists."""


def markdown(text: str) -> str:
    """Text for a Markdown document or table cell (CommonMark, GitHub): no markup, link, mention or HTML comes of it."""
    text = visible(text).strip()
    text = MARKDOWN.sub(lambda found: f"\\{found[0]}", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # GitHub looks for @mentions in the finished text, where a backslash is gone; an empty comment splits that text.
    return text.replace("@", "@<!-- -->")


def markdown_code(lines: list[str]) -> str:
    """A fenced block of lines, whatever runs of backticks they hold."""
    shown = [visible(line) for line in lines]
    longest = max((len(run) for line in shown for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}sh", *shown, fence])
