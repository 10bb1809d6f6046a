"""A file over which a rule hangs, dies or eats the memory costs that rule on that host: the load goes on, and tells."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from netdiag.fleet import apart
from netdiag.fleet.apart import MOST_WITHOUT, WORN, Apart
from netdiag.fleet.judge import judge_fleet
from netdiag.fleet.judged import Judged, judged
from netdiag.fleet.load import fleet_of
from netdiag.fleet.query import ask
from netdiag.fleet.store import nightly, write
from netdiag.fleet.store.write import load_into
from netdiag.index.view import HostView
from netdiag.model.finding import Draft
from netdiag.rules import discover
from netdiag.rules.shape import RuleModule
from tests.fleet.test_store import NOW, put, snapshot

pytestmark = pytest.mark.timed

Check = Callable[[HostView], Iterator[Draft]]
LIMIT = 1.5


def hang(view: HostView) -> Iterator[Draft]:
    while True:
        time.sleep(10)
    yield


def spin(view: HostView) -> Iterator[Draft]:
    """Hangs where no signal handler of Python would be run."""
    re.match(r"(a+)+$", "a" * 60 + "b")
    yield from ()


def die(view: HostView) -> Iterator[Draft]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield from ()


def leave(view: HostView) -> Iterator[Draft]:
    os._exit(7)
    yield


def eat(view: HostView) -> Iterator[Draft]:
    bytearray(64 << 30)
    yield from ()


def on(name: str, check: Check) -> Check:
    """The same on one host; nothing elsewhere."""

    def narrowed(view: HostView) -> Iterator[Draft]:
        return check(view) if view.meta.name == name else iter(())

    return narrowed


def with_rule(checks: dict[str, Check]) -> dict[str, RuleModule]:
    """Every tenth rule, and these among them."""
    known = discover()
    few = dict(list(known.items())[::10])
    model = known["route-default-missing"]
    middle = {
        name: replace(model, check=check, rule=replace(model.rule, id=name, reads=())) for name, check in checks.items()
    }
    half = len(few) // 2
    return dict(list(few.items())[:half]) | middle | dict(list(few.items())[half:])


def judge(checks: dict[str, Check], *names: str) -> list[Judged]:
    return list(Apart(with_rule(checks), LIMIT).judge([snapshot(name) for name in names]))


def alone(name: str) -> Judged:
    return judged(snapshot(name), with_rule({}))


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        (hang, "no answer within 1.5 s"),
        (spin, "no answer within 1.5 s"),
        (die, "its process was killed (SIGKILL)"),
        (leave, "its process broke (exit status 7)"),
    ],
)
def test_a_bad_rule_costs_itself_on_its_host(check: Check, reason: str) -> None:
    first, second, third = judge({"bad": on("fra-b", check)}, "fra-a", "fra-b", "fra-c")
    for name, said in (("fra-a", first), ("fra-c", third)):
        assert said == alone(name)
    assert second.not_judged == f"rule bad: {reason}" and second.at_all
    assert second.drafts == alone("fra-b").drafts
    assert [(gap.rule, gap.reason) for gap in second.silent if gap.rule == "bad"] == [("bad", f"not judged: {reason}")]
    assert {gap.rule for gap in second.silent} == {"bad"} | {gap.rule for gap in alone("fra-b").silent}


def test_memory_is_bounded() -> None:
    (said,) = judge({"bad": eat}, "fra-a")
    assert [gap.reason for gap in said.silent if gap.rule == "bad"] == ["the rule broke: MemoryError: "]


def test_a_rule_that_fails_again_is_left_out() -> None:
    names = [f"fra-{number}" for number in range(WORN + 3)]
    started = time.monotonic()
    said = judge({"bad": hang}, *names)
    assert time.monotonic() - started < LIMIT * (WORN + 1)
    assert [one.not_judged is not None for one in said] == [True] * WORN + [False] * 3
    reasons = [gap.reason for one in said[WORN:] for gap in one.silent if gap.rule == "bad"]
    assert reasons == [f"not judged: left out, after it gave no answer on {WORN} hosts"] * 3


def test_a_host_is_given_up_when_too_many_rules_fail() -> None:
    bad = {f"bad{number}": on("fra-b", die) for number in range(MOST_WITHOUT + 1)}
    first, second, third = judge(bad, "fra-a", "fra-b", "fra-c")
    assert first.at_all and third.at_all and not second.at_all
    assert second.not_judged == f"its process was killed (SIGKILL), last in rule bad{MOST_WITHOUT}"
    assert {gap.rule for gap in second.silent} == set(with_rule(bad))


def test_what_dies_before_any_rule_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "judged", lambda snapshot, modules, began: next(die(None)))  # type: ignore[arg-type]
    (said,) = judge({}, "fra-a")
    assert said.not_judged == "its process was killed (SIGKILL)" and not said.at_all


def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checks: dict[str, Check]) -> str:
    """A store of two hosts, judged with these rules as well."""
    for name in ("fra-a", "fra-b"):
        put(tmp_path / "in", f"{name}.netdiag", snapshot(name))
    monkeypatch.setattr(write, "discover", lambda: with_rule(checks))
    where = str(tmp_path / "store")
    loaded = load_into([str(tmp_path / "in")], where, now=NOW, seconds=LIMIT)
    assert loaded.snapshots == 2 and not loaded.refused
    assert {row.host for row in loaded.notices if row.kind == "not-judged"} == ({"fra-b"} if checks else set())
    return where


def test_the_store_and_the_report_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = store(tmp_path, monkeypatch, {"bad": on("fra-b", hang)})
    rows = list(ask(where, "SELECT host, not_judged FROM hosts ORDER BY host").rows)
    assert [tuple(row) for row in rows] == [("fra-a", None), ("fra-b", "rule bad: no answer within 1.5 s")]
    report = judge_fleet(fleet_of(where))
    assert [(row.kind, row.host) for row in report.notices] == [("not-judged", "fra-b")]
    told = [row.reason for row in report.not_evaluated if row.rule == "bad"]
    assert told == ["not judged: no answer within 1.5 s (on fra-b)"]


def test_a_fleet_about_which_nothing_was_said_is_not_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "in", "fra-a.netdiag", snapshot("fra-a"))
    bad = {f"bad{number}": die for number in range(MOST_WITHOUT + 1)}
    monkeypatch.setattr(write, "discover", lambda: with_rule(bad))
    where = str(tmp_path / "store")
    load_into([str(tmp_path / "in")], where, now=NOW, seconds=LIMIT)
    assert judge_fleet(fleet_of(where)).verdict == "unknown"


def test_a_rule_between_hosts_that_hangs_costs_the_report_of_the_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in", "fra-a.netdiag", snapshot("fra-a"))
    known = discover("fleet")["wg-mesh-duplicate-ip"]
    bad = {"bad": replace(known, check=hang, rule=replace(known.rule, id="bad"))}
    monkeypatch.setattr("netdiag.fleet.judge.discover", lambda scope="host": bad if scope == "fleet" else {})
    monkeypatch.setattr(nightly, "SECONDS", LIMIT)
    where = str(tmp_path / "store")
    loaded = load_into([str(tmp_path / "in")], where, now=NOW)
    (notice,) = loaded.notices
    assert notice.kind == "not-judged"
    assert notice.detail == "what was found in night 2026-11-25 is not kept: no answer within 1.5 s, last in rule bad"
    assert fleet_of(where).notices == (notice,)
    assert not list(ask(where, "SELECT * FROM fleet_findings").rows)
