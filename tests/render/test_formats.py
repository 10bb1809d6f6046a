"""The report for programs and for tickets."""

import json
import re

import msgspec
import pytest

from netdiag.model.finding import Report
from netdiag.render.json import render_json
from netdiag.render.markdown import render_markdown
from tests.render.reports import HOSTILE, broken, clean, hostile


@pytest.mark.parametrize("report", [broken(), clean(), hostile()])
def test_json_says_all_and_says_it_the_same_way(report: Report) -> None:
    text = render_json(report)
    assert text.endswith("}\n") and not text.endswith("\n\n")
    assert text == render_json(report)
    assert msgspec.json.decode(text, type=Report) == report


def test_json_keys_stand_in_the_order_of_the_contract() -> None:
    document = json.loads(render_json(broken()))
    assert list(document) == [
        "schema",
        "netdiag",
        "host",
        "taken_at",
        "verdict",
        "findings",
        "coverage",
        "not_evaluated",
    ]
    assert list(document["findings"][0]) == [
        "id",
        "rule",
        "severity",
        "confidence",
        "subject",
        "message",
        "evidence",
        "confirm",
        "fix",
        "explains",
        "explained_by",
        "suppressed",
        "netns",
    ]
    assert list(document["coverage"][0]) == ["collector", "status", "detail", "rows", "duration_ms"]
    assert (document["schema"], document["findings"][0]["explained_by"]) == ("netdiag.report/1", None)


def test_json_on_a_terminal_is_harmless() -> None:
    text = render_json(hostile())
    assert all(character == "\n" or character.isprintable() for character in text)
    assert json.loads(text)["host"]["name"] == HOSTILE


def test_markdown_of_a_broken_host() -> None:
    text = render_markdown(broken())
    assert text.startswith("# edge1: critical\n")
    assert "| critical | wg-mtu-exceeds-underlay | wireguard-peer wg0" in text
    assert text.count("<details>") == text.count("</details>") == len(broken().findings)
    assert "```sh\nip link set dev wg0 mtu 1440\n```" in text
    assert "| bgp-bad-as | bird: absent (no control socket) |" in text
    assert text.endswith("|\n")


def test_markdown_of_a_hostile_host_has_no_markup_of_theirs() -> None:
    text = render_markdown(hostile())
    fenced = False
    for line in text.splitlines():
        assert line.isprintable()
        fence = line.startswith("```")
        fenced ^= fence
        if not fenced and not fence:
            live = re.sub(r"\\.", "", line)  # what a backslash stands before is text
            assert "<script" not in live and "](" not in live and "`rm" not in live
    assert not fenced


def test_markdown_of_a_clean_host() -> None:
    assert "Nothing wrong found." in render_markdown(clean())
