"""The same is said of a host whatever the order of its rows, the numbers and names of its interfaces, and whatever
healthy thing stands beside: on a sample of the hosts of all examples (a far greater one with NETDIAG_LONG), and with
all rules on the recordings.
"""

import functools
import os
import random
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from netdiag.collect import Options, collect
from netdiag.engine import judge
from netdiag.model.finding import Finding, Report, family_of
from netdiag.model.snapshot import Snapshot, Tables
from netdiag.rules import discover
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, RuleModule
from netdiag.sources.replay import ReplaySource
from tests.properties.changes import (
    joined,
    new_names,
    new_numbers,
    renamed,
    renumbered,
    reordered,
    said,
    unrelated,
    with_sessions,
)
from tests.properties.evidence import everything, unfounded
from tests.properties.shapes import OTHERWISE, SHAPES
from tests.recordings.test_recordings import FOLDER, NAMES
from tests.rules.test_examples import META, MODULES, host_of
from tests.rules.test_examples import given as told

Case = tuple[RuleModule, Example]


@functools.cache
def cases() -> list[Case]:
    """Every example of every rule. Built when first asked for: every worker of a test run holds this module, and what
    it holds makes each of its forks dearer."""
    return [(module, example) for module in MODULES.values() for example in module.examples()]


def one_of(but: Collection[str] = ()) -> st.SearchStrategy[Case]:
    """Any example but those of some rules."""
    return st.deferred(lambda: st.sampled_from([case for case in cases() if case[0].id not in but]))


OFTEN = settings(
    max_examples=5000 if "NETDIAG_LONG" in os.environ else 250,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
RELATED = {
    "neigh-gc-thresh-overflow": "it counts the neighbours of all interfaces: one more can be one too many",
    "rule-main-missing": "without table main a network that only stands there cannot be reached",
    "rule-expected-missing": "likewise: whether packets still have a way depends on what is in table main",
    "rule-shadowed": "what takes all packets takes those to a further guest as well",
    "ip-forward-off": "a further guest is a further reason to forward",
    "forwarding-per-iface-off": "likewise",
    "nf-forward-drop-policy": "likewise",
    "mss-clamp-missing": "a network with longer packets behind a small tunnel is a reason to clamp",
    "route-localnet-missing": "it asks of every interface whether translated packets may come by it",
    "addr-deprecated-source": "it asks whether the host has a better source",
    "bgp-kernel-export-none": "a collector on one network is no router, with a second network it may be one",
    "addr-wrong-prefixlen": "a /32 that has no route is told where the host has no other way at all",
    "wg-masquerade-inside-tunnel": "a further network is one whose sources are rewritten",
    "cni-ipam-leak": "a further container may be the one that has the address",
    "nf-masquerade-scope": "a further guest is one whose packets may be rewritten",
    "wg-listen-port-firewalled": "a further network is a further door for peers",
    "nf-accept-does-not-win": "what is dropped on every interface is let in on a further one",
    "proxy-arp-leak": "with proxy ARP on an uplink every further network is answered for there",
}
"""Rules for which another network is not unrelated."""

BY_ORDER = {
    "src-addr-selection-wrong": "where the outgoing interface has no address the kernel takes the first of the others",
}
"""Rules for which the order says something."""

BY_NUMBER = {
    "bpf-expected-missing-on-iface": "the youngest of its kind is the one with the highest number",
    "wg-listen-port-firewalled": "a filter may ask for the number, in octets that are not renumbered here",
    "bpf-devmap-stale-ifindex": "in a map without a name, numbers below 32 may be anything",
}
"""Rules for which the numbers of interfaces say something."""

BY_NAME = {"nf-accept-does-not-win": "a filter may ask for the name, in octets of sets that are not renamed here"}
"""Rules for which names do."""

Said = list[tuple[Any, ...]]
every_recording = pytest.mark.parametrize("name", NAMES)


def report_of(module: RuleModule, example: Example) -> Report:
    return judge(host_of(example), modules={module.id: module}, told=told(example))


def meant(findings: tuple[Finding, ...], names: dict[str, str] | None = None) -> Said:
    """What is found on what, with interfaces renamed. (The words may name another one of equals.)"""
    names = names or {}
    rows = [
        (f.rule, f.severity, f.confidence, *sorted((k, said(str(v), names)) for k, v in f.subject.items()))
        for f in findings
    ]
    return sorted(rows)


def weighed(report: Report) -> Said:
    """What is found and how bad it is. Which of two equals stands for both (two ends of one cable) may differ; a night
    with NETDIAG_LONG looks at that as well."""
    if "NETDIAG_LONG" in os.environ:
        return meant(report.findings)
    return weights(report)


def weights(report: Report) -> Said:
    """How bad it is, whatever it is about."""
    return sorted((f.rule, f.severity, f.confidence) for f in report.findings)


def alarms(report: Report) -> Said:
    return meant(tuple(f for f in report.findings if f.severity != "info"))


@OFTEN
@drawn(one_of(BY_ORDER), st.integers(0, 2**32))
def test_the_order_of_rows_says_nothing(case: tuple[RuleModule, Example], seed: int) -> None:
    module, example = case
    other = replace(example, tables=reordered(example.tables, random.Random(seed)))
    assert weighed(report_of(module, other)) == weighed(report_of(module, example))


@OFTEN
@drawn(one_of(BY_NUMBER), st.integers(0, 2**32))
def test_the_numbers_of_interfaces_say_nothing(case: tuple[RuleModule, Example], seed: int) -> None:
    module, example = case
    older = example.baseline
    new = new_numbers(random.Random(seed), example.tables, *([older] if older else []))
    other = replace(example, tables=renumbered(example.tables, new), baseline=renumbered(older, new) if older else None)
    assert weighed(report_of(module, other)) == weighed(report_of(module, example))


@OFTEN
@drawn(one_of(BY_NAME))
def test_the_names_of_interfaces_say_nothing(case: tuple[RuleModule, Example]) -> None:
    module, example = case
    names = new_names(example.tables)
    older = renamed(example.baseline, names) if example.baseline else None
    other = replace(example, tables=renamed(example.tables, names), baseline=older)
    assert meant(report_of(module, other).findings) == meant(report_of(module, example).findings, names)


@OFTEN
@drawn(one_of(RELATED))
def test_a_healthy_thing_beside_it_changes_no_alarm(case: tuple[RuleModule, Example]) -> None:
    module, example = case
    before = alarms(report_of(module, example))
    for what, more in unrelated(example.tables).items():
        after = alarms(report_of(module, replace(example, tables=joined(example.tables, more))))
        assert after == before, what


@OFTEN
@drawn(one_of(OTHERWISE), st.sampled_from(sorted(SHAPES)))
def test_other_words_of_the_kernel_say_the_same(case: tuple[RuleModule, Example], shape: str) -> None:
    module, example = case
    tables = SHAPES[shape](example.tables)
    older = example.baseline and (SHAPES[shape](example.baseline) or example.baseline)
    if tables is not None:
        other = replace(example, tables=tables, baseline=older)
        # (a rule below a jump stands in another chain, and that is named)
        assert weights(report_of(module, other)) == weights(report_of(module, example)), shape


FIRING: st.SearchStrategy[Case] = st.deferred(lambda: st.sampled_from([case for case in cases() if case[1].fires]))
BOTH_FAMILIES = {
    "route-linkdown-nexthop-used": "the interface has no carrier, whatever the route",
    "nf-own-traffic-dropped": "it names one of the conversations that a rule stops, and counts the others",
    "wg-endpoint-via-own-tunnel": "a tunnel carries both",
    "wg-route-without-allowedips": "it names one of the neighbours",
}
"""Rules whose findings name addresses of one family and are about both."""


@OFTEN
@drawn(FIRING)
def test_a_fault_of_one_family_hides_no_session_of_the_other(case: tuple[RuleModule, Example]) -> None:
    module, example = case
    own = {row.ifindex for row in example.tables.addresses}
    ways = [link for link in example.tables.links if link.up and not link.loopback and not link.master]
    ways = [link for link in ways if link.ifindex in own]
    if not ways or example.tables.bird.daemons:
        return
    near = replace(example, tables=with_sessions(example.tables, ways[0].ifindex))
    modules = {name: MODULES[name] for name in (module.id, "bgp-not-established")}
    report = judge(host_of(near), modules=modules, told=told(near))
    by_id = {finding.id: finding for finding in report.findings}
    for name, family in (("zz4", "inet"), ("zz6", "inet6")):
        for finding in report.findings:
            cause = by_id.get(finding.explained_by or "")
            if finding.subject.get("name") == name and cause is not None and cause.rule not in BOTH_FAMILIES:
                assert family_of([cause.subject]) in (None, family), (name, cause.message)


DERIVED = {
    "ip-forward-off": "the subnet of a guest is worked out from both ends of a point-to-point tap",
    "suppression-expired": "the day is told by a person, not read",
    "time-step-detected": "the difference of two clocks' differences",
    "wg-peer-count-bloat": "a count of peers",
    "route-blackhole-unexpected the route that it hides": "a card that went between two dumps is called by its number",
    "wg-listen-port-random that the old one was set": "the kernel's own range where the setting was not read",
    "nf-accept-does-not-win rule 2 of ip filter INPUT (iptables-legacy)": "an extension's ports, in its own bytes",
    "route-default-missing connection": "the IPv4 address of a socket for both families",
}
"""Rules with evidence that is in no table (all of it, or one fact), and how they come by it."""


def wild(report: Report, *tables: Tables | None) -> list[tuple[str, str, str]]:
    """Evidence that holds a number or an address which none of the tables does. When a baseline was taken stands in its
    file, and in no table."""
    found, numbers = everything(*tables)
    return [
        (finding.rule, row.fact, row.value)
        for finding in report.findings
        for row in finding.evidence
        if not {finding.rule, f"{finding.rule} {row.fact}"} & DERIVED.keys()
        and unfounded(row.value.replace(f"of {META.taken_at}", ""), found, numbers)
    ]


@OFTEN
@drawn(FIRING)
def test_evidence_is_in_the_snapshot(case: tuple[RuleModule, Example]) -> None:
    module, example = case
    assert not wild(report_of(module, example), example.tables, example.baseline)


@every_recording
def test_evidence_is_in_the_recording(name: str) -> None:
    snapshot = recording(name)
    report = with_tables(snapshot, snapshot.tables)
    assert not wild(report, snapshot.tables)


@functools.cache
def recording(name: str) -> Snapshot:
    return collect(ReplaySource(FOLDER / name / "recording"), Options())


def with_tables(snapshot: Snapshot, tables: Tables) -> Report:
    return judge(replace(snapshot, tables=tables), modules=discover())


@every_recording
def test_a_recording_can_be_turned_about(name: str) -> None:
    """All rules at once: causes and what they explain included."""
    snapshot = recording(name)
    before, dice = with_tables(snapshot, snapshot.tables), random.Random(7)
    names = new_names(snapshot.tables)
    turns: dict[str, Callable[[], Tables]] = {
        "order": lambda: reordered(snapshot.tables, dice),
        "numbers": lambda: renumbered(snapshot.tables, new_numbers(dice, snapshot.tables)),
    }
    for what, turned in turns.items():
        after = with_tables(snapshot, turned())
        assert tree(after) == tree(before), what
    after = with_tables(snapshot, renamed(snapshot.tables, names))
    assert meant(after.findings) == meant(before.findings, names)
    for what, more in unrelated(snapshot.tables).items():
        assert alarms(with_tables(snapshot, joined(snapshot.tables, more))) == alarms(before), what


def tree(report: Report) -> Said:
    """Who stands under whom."""
    return sorted((f.id, f.explained_by or "", f.severity) for f in report.findings)


def test_the_changes_change_something() -> None:
    host = HostBuilder().link("eth0").link("eth1", mtu=9000).address("eth0", "192.0.2.1/24").build()
    names, dice = new_names(host), random.Random(3)
    assert [link.ifname for link in renamed(host, names).links] == ["lo", "eth70", "eth71"]
    assert {renumbered(host, new_numbers(dice, host)).links[1].ifindex for _ in range(9)} == {2, 3}
    assert {reordered(host, dice).links[0].ifname for _ in range(19)} == {"lo", "eth0", "eth1"}
    more = unrelated(host)["a bridge with a guest"]
    assert len(joined(host, more).links) == 5 and len(joined(host, more).routes) > len(host.routes)
