"""What two samples may not be mistaken for: a reset, a wrap, an interface made anew, a clock that stood still.

The rules' own examples are the material: whatever fires because counters moved must be silent when they went back.
"""

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdiag.engine import judge
from netdiag.index.view import Deltas
from netdiag.model.counters import Counters, CounterSample
from netdiag.model.finding import Report
from netdiag.model.snapshot import Snapshot
from netdiag.rules import discover
from netdiag.rules.shape import Example, RuleModule
from tests.rules.test_examples import META, complete_coverage
from tests.rules.test_examples import given as told

MODULES = {name: module for name, module in discover().items() if "deltas" in module.rule.reads}
ELSEWHERE = 1000


def cases(module: RuleModule) -> Iterator[tuple[Example, CounterSample, CounterSample]]:
    """The examples of a rule that fire on two samples; as parameters they would make each fork of a worker dearer."""
    for example in module.examples():
        counters = example.tables.counters
        if example.fires and counters.second is not None:
            yield example, counters.first, counters.second


def report(module: RuleModule, example: Example, first: CounterSample, second: CounterSample) -> Report:
    tables = replace(example.tables, counters=Counters(first=first, second=second))
    snapshot = Snapshot(meta=META, tables=tables, coverage=complete_coverage(late=example.late))
    return judge(snapshot, modules={module.id: module}, told=told(example))


every = pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())


@every
def test_what_went_back_is_no_delta(module: RuleModule) -> None:
    for example, before, after in cases(module):
        if report(module, example, before, msgspec.structs.replace(before, at=after.at)).findings:
            continue  # it goes by another table's two samples
        first = msgspec.structs.replace(after, at=before.at)
        second = msgspec.structs.replace(before, at=after.at)
        found = report(module, example, first, second).findings
        assert not [one.message for one in found if one.severity != "info"], example.name


@every
def test_an_interface_made_anew_is_another_one(module: RuleModule) -> None:
    """The same names with other indexes, and the same indexes with other names."""
    for example, before, after in cases(module):
        if not any(after.links) or before.snmp != after.snmp or before.softnet != after.softnet:
            continue
        if report(module, example, before, msgspec.structs.replace(before, at=after.at)).findings:
            continue  # it goes by another table's two samples
        anew = tuple(msgspec.structs.replace(row, ifindex=row.ifindex + ELSEWHERE) for row in after.links)
        found = report(module, example, before, msgspec.structs.replace(after, links=anew)).findings
        assert not [one.message for one in found if one.severity != "info"], example.name


@every
@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_a_clock_that_stood_still_breaks_nothing(module: RuleModule, seconds: float) -> None:
    for example, before, after in cases(module):
        gaps = report(module, example, before, msgspec.structs.replace(after, at=before.at + seconds)).not_evaluated
        assert not [row.reason for row in gaps if "the rule broke" in row.reason], example.name


values = st.dictionaries(st.sampled_from(["Ip.A", "Tcp.B", "Udp.C"]), st.integers(0, 2**64 - 1))


@given(values, values)
def test_a_counter_that_is_missing_or_went_back_has_no_delta(before: dict[str, int], after: dict[str, int]) -> None:
    deltas = Deltas(CounterSample(at=1.0, snmp=before), CounterSample(at=2.0, snmp=after))
    for name in ("Ip.A", "Tcp.B", "Udp.C"):
        moved = deltas.snmp(name)
        if name not in before or name not in after or after[name] < before[name]:
            assert moved is None
        else:
            assert moved == after[name] - before[name] >= 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 2**20))
def test_a_wrap_at_32_bits_is_a_reset(before: int, more: int) -> None:
    after = (before + more) % 2**32
    moved = Deltas(CounterSample(at=1.0, snmp={"Ip.A": before}), CounterSample(at=2.0, snmp={"Ip.A": after})).snmp(
        "Ip.A"
    )
    assert moved == (more if after >= before else None)
