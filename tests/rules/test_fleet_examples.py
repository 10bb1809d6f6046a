"""Every example of every rule of a fleet; and how causes between hosts stand above what the hosts report."""

from functools import partial

import pytest

from netdiag.fleet.judge import across_hosts, judge_fleet
from netdiag.fleet.load import Fleet
from netdiag.index.fleet import FleetHost, FleetView, on
from netdiag.model.finding import Subject, subject
from netdiag.model.snapshot import Meta, Snapshot, Tables
from netdiag.rules import discover
from netdiag.rules.build_fleet import builder, finished, mesh, peered
from netdiag.rules.build_regions import regions
from netdiag.rules.shape import HEADINGS, FleetExample, RuleModule
from tests.rules.test_examples import assert_each, complete_coverage

MODULES = discover("fleet")


def snapshot(name: str, tables: Tables, without: str | None, labels: dict[str, str]) -> Snapshot:
    taken_at = "2026-01-01T00:00:00Z"
    meta = Meta(netdiag="test", name=name, kernel="6.8.0", netns="1", taken_at=taken_at, uptime=1e5, labels=labels)
    return Snapshot(meta=meta, tables=tables, coverage=complete_coverage(without))


def host(name: str, tables: Tables) -> FleetHost:
    return FleetHost(name=name, snapshot=snapshot(name, tables, None, {}))


def view_of(hosts: dict[str, Tables], without: str | None = None, example: FleetExample | None = None) -> FleetView:
    earlier = example.earlier if example is not None else {}
    older = example.older if example is not None else {}
    labels = example.labels if example is not None else {}
    found = []
    for name, tables in sorted(hosts.items()):
        before = snapshot(name, earlier[name], None, {}) if name in earlier else None
        now = snapshot(name, tables, without, labels.get(name, {}))
        looks = tuple(partial(getattr, one, "bird") for one in older.get(name, ()))
        found.append(FleetHost(name=name, snapshot=now, previous=before, looks=looks))
    return FleetView(hosts=tuple(found), symptoms=symptoms_of(example) if example is not None else {})


def symptoms_of(example: FleetExample) -> dict[str, dict[str, tuple[Subject, ...]]]:
    """What rules said of the hosts themselves, by rule and host."""
    return {
        rule: {name: (on(name, subject("host", name=name)),) for name in names}
        for rule, names in example.symptoms.items()
    }


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
def test_examples(module: RuleModule) -> None:
    """One test a rule: fleets that are held as parameters make every fork of a test worker dearer."""
    assert_each(module, assert_holds)


def assert_holds(module: RuleModule, example: FleetExample) -> None:
    """Assert that the rule says of an example what the example says of itself."""
    found, silent = across_hosts(view_of(example.hosts, example=example), {module.id: module})
    assert bool(silent) == example.unjudged, silent
    assert len(found) == example.fires, [draft.finding.message for draft in found]
    if example.subject is not None:
        assert example.subject.items() <= found[0].finding.subject.items()
    if example.severity is not None:
        assert found[0].finding.severity == example.severity
    for draft in found:
        assert draft.finding.subject["hosts"]


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
def test_page_and_examples_are_whole(module: RuleModule) -> None:
    lines = [line for line in module.page.splitlines() if line and not line.startswith(" ")]
    assert tuple(lines) == HEADINGS
    examples = list(module.examples())
    assert any(example.fires for example in examples) and not all(example.fires for example in examples)


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
def test_what_was_not_read_is_not_clean(module: RuleModule) -> None:
    example = next(iter(module.examples()))
    hosts = view_of(example.hosts, without=module.rule.reads[0]).hosts
    report = judge_fleet(Fleet(hosts, ()))
    assert any(row.rule == module.id and "not read" in row.reason for row in report.not_evaluated)


def test_one_cause_stands_above_every_host_that_feels_it() -> None:
    cut = regions("fra-a fra-b ams-c ams-d sin-e sin-f", lambda a, b: (a[:3] == "sin") != (b[:3] == "sin"))
    report = judge_fleet(Fleet(view_of(cut).hosts, ()))
    alarms = [f for f in report.findings if f.severity != "info"]
    assert alarms[0].rule == "fleet-region-cut" and report.verdict == "critical"
    assert {f.explained_by for f in alarms[1:]} == {alarms[0].id}


def test_a_fault_of_one_host_explains_nothing_on_another() -> None:
    hosts = mesh("abc")
    hosts["fra-b"] = finished("b", peered(builder("b"), "ac", age=900.0, persistent_keepalive=25))
    report = judge_fleet(Fleet(view_of(hosts).hosts, ()))
    for finding in report.findings:
        if finding.explained_by is not None:
            cause = next(f for f in report.findings if f.id == finding.explained_by)
            assert set(finding.subject["hosts"]) <= set(cause.subject["hosts"])  # type: ignore[arg-type]


def test_a_mesh_in_order_is_ok() -> None:
    report = judge_fleet(Fleet(view_of(mesh("abcdef")).hosts, ()))
    assert report.verdict == "ok" and not [f for f in report.findings if f.severity != "info"]
