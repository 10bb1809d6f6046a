"""Every critical is earned: a drill saw its loss, or shown.toml says why there is one. Each warning was seen by a
drill, or shown.toml says why not. And the page says just that.

A rule that is newer than the page is not yet in it: `make severity`, or, where no drill has to be run again, `python
-m tests.drills.severity`. Only so many may wait.
"""

import json
import re
from pathlib import Path
from typing import Any

from netdiag.rules import discover
from tests.drills.severity import (
    LOSSES,
    PAGE,
    TOLD,
    kept,
    loss,
    merged,
    of_severity,
    page,
    parsed,
    read,
    saw,
    shown,
    steady,
    told,
    words,
)

IN_PAGE = set(re.findall(r"^\| `([^`]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
WAITING = 30
ROW: dict[str, Any] = {
    "rule": "a",
    "severity": "critical",
    "file": "test_a.py",
    "rank": 0,
    "evidence": [["mtu of eth0", "1500"], ["mtu of eth1", "1400"], ["more", "1"]],
    "asked": 4,
    "carries": False,
    "lost": [],
}


def rows(text: str) -> set[str]:
    """The rows of a page that are about rules in it."""
    return {line for line in text.splitlines() if (rule := re.match(r"\| `([^`]+)`", line)) and rule[1] in IN_PAGE}


def lines(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    """What drills left."""
    return parsed(json.dumps(ROW | {"drill": "one"} | change) for change in changes)


def test_each_critical_of_the_page_loses_traffic_and_each_warning_was_seen() -> None:
    for severity, known in (("critical", read(LOSSES)), ("warning", read(TOLD))):
        there = [rule for rule in of_severity(severity) if rule in IN_PAGE]
        assert not [rule for rule in there if rule not in known and not shown(severity).get(rule)]


def test_the_page_is_what_the_drills_saw() -> None:
    assert rows(PAGE.read_text(encoding="utf-8")) == rows(page())
    assert set(discover(None)) >= IN_PAGE
    judged = {name for name, module in discover(None).items() if module.rule.severity != "info"}
    assert len(judged - IN_PAGE) <= WAITING, "make severity is due"


def test_nothing_is_said_of_rules_that_do_not_exist_or_need_no_word() -> None:
    for severity, known in (("critical", read(LOSSES)), ("warning", read(TOLD))):
        assert set(shown(severity)) <= set(of_severity(severity)) - set(known)
        assert set(known) <= set(of_severity(severity))


def test_the_drills_of_the_page_exist() -> None:
    here = Path(__file__).parent
    files = {entry["file"] for entry in read(TOLD).values()}
    assert not [name for name in files if not (here / name).exists() and not (here.parent / "fleet" / name).exists()]


def test_of_several_drills_the_one_that_lost_most_is_told() -> None:
    large, small = ["x", "192.0.2.1", 1372], ["x", "192.0.2.1", 56]
    entry = kept(
        lines(
            {},
            {"drill": "two", "lost": [large, ["x", "192.0.2.2", 1372]]},
            {"drill": "warning", "lost": [small] * 9, "severity": "warning"},
            {"drill": "another rule's", "lost": [small] * 9, "rule": "c"},
        ),
        ("a", "b"),
    )["a"]
    assert entry["drill"] == "two" and words(entry) == "full packets from x to 192.0.2.1 and 1 more"
    less = kept(lines({"lost": [large], "drill": "three"}, {"rule": "b", "carries": True}), ("a", "b"))
    both = merged({"a": entry}, less)
    assert both["a"]["drill"] == "two" and words(both["b"]) == "the traffic that the drill sends"
    warned = kept(lines({"lost": [small], "severity": "warning"}), ("a",))["a"]
    assert loss(warned) == "pings from x to 192.0.2.1 (told as warning there)"


def test_a_warning_is_shown_by_the_drill_that_saw_most_of_it_and_stays_while_only_numbers_change() -> None:
    warn = {"severity": "warning"}
    entry = told(lines(warn | {"rank": 2}, warn | {"drill": "two"}, {"severity": "info", "carries": True}), ("a",))
    assert entry["a"]["drill"] == "two" and saw(entry["a"]) == "mtu of eth0: 1500; mtu of eth1: 1400"
    again = told(lines(warn | {"drill": "two", "evidence": [["mtu of eth0", "1501"], ["mtu of eth1", "1400"]]}), ("a",))
    assert steady(entry, again) == entry
    other = told(lines(warn | {"drill": "two", "evidence": [["mtu of eth0", "not set"]]}), ("a",))
    assert steady(entry, other) == other
    third = told(lines(warn | {"drill": "three", "evidence": [["mtu of eth0", "not set"]]}), ("a",))
    assert steady(entry, third) == entry
    losing = told(lines(warn | {"drill": "three", "lost": [["x", "192.0.2.1", 56]]}), ("a",))
    assert steady(entry, losing) == losing
    assert saw(losing["a"]).endswith(". Lost: pings from x to 192.0.2.1")
