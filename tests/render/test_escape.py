"""What reaches a terminal, a JSON reader or a ticket from a hostile string."""

import json
import sys
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdiag.render.escape import cells, cut, json_text, markdown, markdown_code, visible

ANY_TEXT = st.text(st.characters())


@given(ANY_TEXT)
def test_visible_obeys_nothing(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert visible(shown) == shown
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in shown)


def test_every_single_character() -> None:
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        if visible(character) == character:
            assert unicodedata.category(character)[0] not in "CZ" or character == " "


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("eth0", "eth0"),
        ("grün 中文 é", "grün 中文 é"),
        ("a b", "a b"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\rd\0", "a\\x0ab\\x09c\\x0dd\\x00"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("\u202eabc\u2066", "\\u{202e}abc\\u{2066}"),
        ("pay\u200bpal\ufeff", "pay\\u{200b}pal\\u{feff}"),
        ("a\u00a0b\u3000c", "a\\xa0b\\u{3000}c"),
        ("\ud800", "\\u{d800}"),
        ("\u3164\u2800\ufe0f", "\\u{3164}\\u{2800}\\u{fe0f}"),
        ("\U000e0041", "\\u{e0041}"),
        ("\\x1b", "\\x1b"),
    ],
)
def test_spelling(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_keeps_its_value_and_shows_no_control(text: str) -> None:
    encoded = json_text(msgspec.json.format(msgspec.json.encode({"a": [text]}), indent=1).decode())
    assert json.loads(encoded) == {"a": [text]}
    assert all(character == "\n" or unicodedata.category(character) not in ("Cc", "Zl", "Zp") for character in encoded)
    assert not set(encoded) & set("\u202e\u2066\u200b\u200f\u061c\ufeff\U000e0041")


@given(ANY_TEXT)
def test_markdown_is_one_line_without_markup(text: str) -> None:
    shown = markdown(text)
    assert "\n" not in shown and "<" not in shown.replace("<!-- -->", "") and ">" not in shown.replace("<!-- -->", "")
    unescaped = iter(shown.replace("@<!-- -->", ""))
    for character in unescaped:
        if character == "\\":
            next(unescaped)
        else:
            assert character not in "`*_[]|~"


def test_mentions_and_links_are_split() -> None:
    assert markdown("@all http://x [a](b)") == "@<!-- -->all http:\\//x \\[a\\](b)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# a", "\\# a"),
        ("- a-b", "\\- a-b"),
        ("1. a 2. b", "1\\. a 2. b"),
        ("12) a", "12\\) a"),
        ("    code", "code"),
        ("> a & <b>", "&gt; a &amp; &lt;b&gt;"),
        ("see www.x.y", "see www\\.x.y"),
        ("wg-mtu-exceeds 192.0.2.1", "wg-mtu-exceeds 192.0.2.1"),
    ],
)
def test_markdown_at_the_beginning_of_a_line(text: str, shown: str) -> None:
    assert markdown(text) == shown


def test_fence_is_longer_than_what_it_holds() -> None:
    assert markdown_code(["a ```` b"]).splitlines() == ["`````sh", "a ```` b", "`````"]
    assert markdown_code(["a\n```\nb"]).splitlines() == ["````sh", "a\\x0a```\\x0ab", "````"]


def test_cells_and_cut() -> None:
    assert (cells("eth0"), cells("中文"), cells("e\u0301")) == (4, 4, 1)
    assert cut("eth0", 4) == "eth0"
    assert cut("ethernet", 6) == "eth..."
    assert cut("中文中文", 7) == "中文..."
