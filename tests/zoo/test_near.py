"""Every near miss of the catalogue lives in the zoo or in a test, and each host really holds what is said of it.

The hosts that are drawn or told are judged here; of the live ones test_zoo.py asks the same questions (``unseen``)
while it has them.
"""

import ast
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

from netdiag.engine import judge
from netdiag.fleet.judge import across_hosts
from netdiag.index.view import Told
from netdiag.model.finding import Report
from netdiag.model.snapshot import Snapshot, Tables
from netdiag.rules import discover
from netdiag.rules.undecidable import UNDECIDABLE
from tests.rules.test_examples import META, complete_coverage
from tests.rules.test_fleet_examples import view_of
from tests.zoo import drawn, drawn_oddities, drawn_servers, drawn_tunnels, drawn_workers, told
from tests.zoo.checklist import LINES, ByTest, Near, Never, Shown, unseen
from tests.zoo.rooms import ANIMALS

ROOT = Path(__file__).parents[2]
COUNTS = dict(
    line.split(": ") for line in (Path(__file__).parent / "near" / "counts.txt").read_text("ascii").splitlines()
)
"""Near misses that the catalogue has for each fault that a rule decides."""
TELLS: dict[str, Callable[[], Tables]] = {
    tell.__name__: tell
    for room in (told.TOLD, *(m.HOSTS for m in (drawn, drawn_oddities, drawn_servers, drawn_tunnels, drawn_workers)))
    for tell in room
}
UPTIME = {"just_booted": 60.0, "clock_set_since": 5000.0}
"""Seconds since boot, where they count."""


@cache
def _judged(name: str) -> tuple[Tables, Report]:
    tables = TELLS[name]()
    meta, given = replace(META, uptime=UPTIME.get(name, META.uptime)), Told()
    if before := drawn_oddities.BEFORE.get(name):
        given = Told(baseline=Snapshot(meta=meta, tables=before(), coverage=complete_coverage()))
    return tables, judge(Snapshot(meta=meta, tables=tables, coverage=complete_coverage()), told=given)


@pytest.mark.parametrize("name", TELLS)
def test_no_alarm_and_all_there(name: str) -> None:
    tables, report = _judged(name)
    assert [(f.rule, f.message) for f in report.findings if f.severity != "info"] == []
    assert [row for row in report.not_evaluated if "broke" in row.reason] == []
    assert unseen(name, tables, report) == []


def test_every_near_miss_of_the_catalogue_has_a_line() -> None:
    lines = Counter(line.rule for line in LINES)
    assert sorted(set(lines) - set(COUNTS)) == []
    assert {rule: int(count) for rule, count in COUNTS.items() if lines[rule] < int(count)} == {}
    assert not set(COUNTS) & set(UNDECIDABLE)
    assert len({(line.rule, line.words) for line in LINES}) == len(LINES)


def test_every_host_of_a_line_exists() -> None:
    hosts = {animal.__name__ for animal in ANIMALS} | set(TELLS)
    assert sorted({line.host for line in LINES if isinstance(line, Near)} - hosts) == []
    assert len(hosts) == len(ANIMALS) + len(TELLS)


def test_every_example_of_a_line_is_silent() -> None:
    modules, shown = discover(None), [line for line in LINES if isinstance(line, Shown)]
    silent = {
        (rule, row.name)
        for rule in {line.rule for line in shown}
        for row in modules[rule].examples()
        if not row.fires or row.severity == "info"
    }
    assert [line for line in shown if (line.rule, line.example) not in silent] == []


def test_no_rule_speaks_of_a_fleet_of_a_line() -> None:
    """The fleets of the lines, judged by all rules of fleets: they are healthy altogether."""
    modules = discover("fleet")
    for line in LINES:
        if isinstance(line, Shown) and line.rule in modules:
            (example,) = [row for row in modules[line.rule].examples() if row.name == line.example]
            found, _ = across_hosts(view_of(example.hosts, example=example), modules)
            assert [one.finding.message for one in found if one.finding.severity != "info"] == [], line


def test_every_test_of_a_line_exists() -> None:
    for line in LINES:
        if isinstance(line, ByTest):
            path, _, name = line.test.partition("::")
            tree = ast.parse((ROOT / path).read_text("utf-8"))
            assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, line
    assert [line for line in LINES if isinstance(line, Never) and len(line.reason.split()) < 8] == []
