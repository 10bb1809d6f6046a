"""Every example of every rule, run through the engine as a host would be: the rules' own proof."""

from collections.abc import Callable
from dataclasses import replace as replaced
from typing import Any

import pytest
from msgspec.structs import replace

from netdiag.engine import judge
from netdiag.index.view import COLLECTOR_OF, TOLD, Told
from netdiag.model.coverage import Coverage
from netdiag.model.snapshot import Meta, Snapshot, Tables
from netdiag.rules import discover
from netdiag.rules.shape import HEADINGS, Example, RuleModule
from netdiag.rules.undecidable import UNDECIDABLE

META = Meta(
    netdiag="test", name="example", kernel="6.8.0", netns="1", taken_at="2026-01-01T00:00:00Z", uptime=100_000.0
)
MODULES = discover()
SEVERITIES = ("info", "warning", "critical")
FILLED_AS_WELL = {"routes": {"routes6"}, "namespaces": {"netns_ids"}, "sockets": {"socket_owners"}}
"""Tables that a rule has with another one, by collector."""


def complete_coverage(
    without: str | None = None, late: tuple[str, ...] = (), absent: tuple[str, ...] = ()
) -> tuple[Coverage, ...]:
    """Every collector ok, but the one named, those that were late, and those whose thing is not there."""
    names = sorted(set(COLLECTOR_OF.values()))
    return tuple(
        Coverage(collector=name, status="timeout", duration_ms=30_000.0)
        if name in late
        else Coverage(collector=name, status="absent" if name == without or name in absent else "ok")
        for name in names
    )


def not_read(tables: Tables, collector: str) -> Tables:
    """The tables of a host of which one collector brought nothing."""
    names = {table for table, by in COLLECTOR_OF.items() if by == collector} | FILLED_AS_WELL.get(collector, set())
    empty = Tables()
    return replaced(tables, **{name: getattr(empty, name) for name in names if hasattr(tables, name)})


def given(example: Example, without: str | None = None) -> Told:
    """What a person gave beside the host of an example, but one of them."""
    if example.baseline is None or without == "baseline":
        return Told(suppressions=example.suppressions)
    meta = replace(META, boot_id="before") if example.rebooted else META
    older = Snapshot(meta=meta, tables=example.baseline, coverage=complete_coverage(late=example.late_then))
    return Told(baseline=older, suppressions=example.suppressions)


def host_of(example: Example) -> Snapshot:
    """The host of an example, with everything read but what was late."""
    meta = replace(META, labels=example.labels, uptime=example.uptime)
    return Snapshot(meta=meta, tables=example.tables, coverage=complete_coverage(None, example.late, example.absent))


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
def test_examples(module: RuleModule) -> None:
    """One test a rule: thousands of examples that are held as parameters make every fork of a test worker dearer."""
    assert_each(module, assert_holds)


def assert_each(module: RuleModule, holds: Callable[[RuleModule, Any], None]) -> None:
    """Assert that every example of a rule holds; those that do not are told together."""
    wrong = []
    for example in module.examples():
        try:
            holds(module, example)
        except AssertionError as error:
            wrong.append(f"{example.name} ({example.why}): {error}")
    assert not wrong, "\n".join(wrong)


def assert_holds(module: RuleModule, example: Example) -> None:
    """Assert that the rule says of an example what the example says of itself."""
    report = judge(host_of(example), modules={module.id: module}, told=given(example))
    assert bool(report.not_evaluated) == example.unjudged, report.not_evaluated
    assert not [row for row in report.not_evaluated if "the rule broke" in row.reason], report.not_evaluated
    assert len(report.findings) == example.fires, [finding.message for finding in report.findings]
    worst = SEVERITIES.index(module.rule.severity)  # of a card: the worst that the rule reports
    assert all(SEVERITIES.index(finding.severity) <= worst for finding in report.findings)
    if example.fires and example.subject is not None:
        assert example.subject.items() <= report.findings[0].subject.items()
    if example.severity is not None:
        assert report.findings[0].severity == example.severity
    if example.confidence is not None:
        assert report.findings[0].confidence == example.confidence
    if example.says:
        first = report.findings[0]
        told = [first.message, first.fix, *(f"{row.fact} {row.value} {row.source}" for row in first.evidence)]
        assert not [words for words in example.says if not any(words in text for text in told)], told


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
def test_a_gap_in_what_a_rule_reads_is_not_clean(module: RuleModule) -> None:
    example = next(iter(module.examples()))
    for table in module.rule.reads:
        coverage = complete_coverage(without=COLLECTOR_OF[table])
        snapshot = Snapshot(meta=META, tables=example.tables, coverage=coverage)
        report = judge(snapshot, modules={module.id: module}, told=given(example))
        assert not report.findings
        assert [row.rule for row in report.not_evaluated] == [module.id]
        assert COLLECTOR_OF[table] in report.not_evaluated[0].reason


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
def test_a_rule_runs_without_what_it_only_consults(module: RuleModule) -> None:
    for example in module.examples():
        for table in module.rule.consults:
            collector = COLLECTOR_OF[table]
            coverage = complete_coverage(None, (*example.late, collector), example.absent)
            snapshot = Snapshot(meta=META, tables=not_read(example.tables, collector), coverage=coverage)
            report = judge(snapshot, modules={module.id: module}, told=given(example, without=table))
            assert not [row for row in report.not_evaluated if "the rule broke" in row.reason], report.not_evaluated
            if example.fires and collector not in TOLD and not report.findings:
                assert report.not_evaluated, f"{example.name}: without {table}, what it tells is passed over as clean"


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
def test_the_page_has_its_six_headings_in_order(module: RuleModule) -> None:
    lines = [line for line in module.page.splitlines() if line and not line.startswith(" ")]
    assert tuple(lines) == HEADINGS


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
def test_examples_show_the_fault_and_its_near_misses(module: RuleModule) -> None:
    examples = list(module.examples())
    assert any(example.fires for example in examples)
    assert any(not example.fires for example in examples)
    assert all(example.why for example in examples)
    names = [example.name for example in examples]
    assert len(names) == len(set(names))


def test_what_is_said_to_be_undecidable_has_no_rule() -> None:
    assert not set(UNDECIDABLE) & set(discover(None))
