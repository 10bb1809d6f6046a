"""Every critical is earned: a drill saw its loss, or shown.toml says why there is one; and the page says just that.

A rule that is newer than the page is not yet in it: `make severity`, or, where no drill has to be run again, `python
-m tests.drills.severity`. Only so many may wait.
"""

import json
import re

from netdiag.rules import discover
from tests.drills.severity import LOSSES, PAGE, kept, merged, page, shown, words

CRITICAL = [name for name, module in discover(None).items() if module.rule.severity == "critical"]
TOLD = set(re.findall(r"^\| `([^`]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
WAITING = 30


def rows(text: str) -> set[str]:
    """The rows of a page that are about rules in it."""
    return {line for line in text.splitlines() if (rule := re.match(r"\| `([^`]+)`", line)) and rule[1] in TOLD}


def test_each_critical_of_the_page_loses_traffic() -> None:
    lost = json.loads(LOSSES.read_text(encoding="utf-8"))
    assert not [rule for rule in CRITICAL if rule in TOLD and rule not in lost and not shown().get(rule)]


def test_the_page_is_what_the_drills_saw() -> None:
    assert rows(PAGE.read_text(encoding="utf-8")) == rows(page())
    assert set(discover(None)) >= TOLD
    judged = {name for name, module in discover(None).items() if module.rule.severity != "info"}
    assert len(judged - TOLD) <= WAITING, "make severity is due"


def test_nothing_is_said_of_rules_that_do_not_exist_or_need_no_word() -> None:
    lost = json.loads(LOSSES.read_text(encoding="utf-8"))
    assert set(shown()) <= set(CRITICAL) - set(lost)
    assert set(lost) <= set(CRITICAL)


def test_of_several_drills_the_one_that_lost_most_is_told() -> None:
    row = {"rule": "a", "severity": "critical", "asked": 4, "carries": False}
    lines = [
        json.dumps(row | {"drill": "one", "lost": []}),
        json.dumps(row | {"drill": "two", "lost": [["x", "192.0.2.1", 1372], ["x", "192.0.2.2", 1372]]}),
        json.dumps(row | {"drill": "warning", "lost": [["x", "1", 56]] * 9, "severity": "warning"}),
    ]
    entry = kept(lines)["a"]
    assert entry["drill"] == "two" and words(entry) == "full packets from x to 192.0.2.1 and 1 more"
    less = kept([*lines[1::-1], json.dumps(row | {"rule": "b", "drill": "one", "lost": [], "carries": True})])
    less["a"] = less["a"] | {"count": 1, "drill": "three"}
    both = merged({"a": entry}, less)
    assert both["a"]["drill"] == "two" and words(both["b"]) == "the traffic that the drill sends"
