"""Which tables the policy rules lead to, rule by rule."""

from __future__ import annotations

import pytest

from netdiag.index.reach import can_match, reachable_tables, selects
from netdiag.model.link import Link
from netdiag.model.policyrule import PolicyRule


def rule(priority: int, **fields: object) -> PolicyRule:
    return PolicyRule(**({"family": "inet", "priority": priority, "table": priority} | fields))  # type: ignore[arg-type]


def reached(*rules: PolicyRule, links: tuple[Link, ...] = ()) -> dict[int, int]:
    return reachable_tables(rules, links, "inet")


def test_every_lookup_counts() -> None:
    assert reached(rule(1), rule(2, fwmark=1), rule(3, family="inet6")) == {1: 0, 2: 0}
    assert reached() == {}


def test_suppressed_prefixes() -> None:
    assert reached(rule(1, suppress_prefixlength=0)) == {1: 1}
    assert reached(rule(1, suppress_prefixlength=7), rule(2, table=1, suppress_prefixlength=0)) == {1: 1}
    assert reached(rule(1, suppress_prefixlength=0), rule(2, table=1, fwmark=1)) == {1: 0}


def test_a_refusal_without_selector_ends_the_walk() -> None:
    assert reached(rule(1), rule(2, action="unreachable", table=None), rule(3)) == {1: 0}
    assert reached(rule(1), rule(2, action="prohibit", table=None, fwmark=7), rule(3)) == {1: 0, 3: 0}
    assert reached(rule(1), rule(2, action="nop", table=None), rule(3)) == {1: 0, 3: 0}


def test_goto() -> None:
    skip = {"action": "goto", "table": None, "goto": 9}
    assert reached(rule(1, **skip), rule(5), rule(9)) == {9: 0}
    assert reached(rule(1, **skip, fwmark=1), rule(5), rule(9)) == {5: 0, 9: 0}
    assert reached(rule(1, **skip, goto_unresolved=True), rule(5), rule(9)) == {5: 0, 9: 0}


def test_a_goto_for_some_packets_may_end_in_what_others_are_led_past() -> None:
    skip = {"action": "goto", "table": None, "goto": 9}
    some = rule(1, action="goto", table=None, goto=5, fwmark=1)
    assert reached(some, rule(2, **skip), rule(4), rule(5, fwmark=1), rule(9)) == {5: 0, 9: 0}
    assert reached(some, rule(2, action="prohibit", table=None), rule(4), rule(5), rule(9)) == {5: 0, 9: 0}
    assert reached(some, rule(2, **skip), rule(5), rule(6, action="goto", table=None, goto=8), rule(7)) == {5: 0}
    behind = rule(1, action="goto", table=None, goto=8, fwmark=1)
    assert reached(behind, rule(2, **skip), rule(5), rule(9)) == {9: 0}


def test_rules_that_match_nothing() -> None:
    assert reached(rule(1, iif="eth9", iif_detached=True), rule(2, oif="eth9", oif_detached=True)) == {}
    assert reached(rule(1, invert=True)) == {}
    assert reached(rule(1, invert=True, fwmark=1)) == {1: 0}
    assert can_match(rule(1, iif="eth9", iif_detached=True, invert=True))


def test_the_table_of_a_vrf() -> None:
    vrf = Link(ifindex=7, ifname="red", kind="vrf", info={"table": 10})
    assert reached(rule(1000, l3mdev=True, table=None), links=(vrf, Link(ifindex=8, ifname="eth0"))) == {10: 0}
    assert reached(rule(1000, table=5), links=(vrf,)) == {5: 0}


@pytest.mark.parametrize(
    "fields",
    [
        {"iif": "lo"},
        {"oif": "eth0"},
        {"fwmark": 0},
        {"fwmask": 1},
        {"dscp": 0},
        {"uid_start": 0},
        {"ip_proto": 6},
        {"sport_start": 1},
        {"dport_start": 1},
        {"tun_id": 1},
        {"src": "10.0.0.0", "src_len": 8},
        {"dst": "10.0.0.0", "dst_len": 8},
        {"tos": 8},
        {"unknown": 1},
    ],
)
def test_selectors(fields: dict[str, object]) -> None:
    assert selects(rule(1, **fields))
    assert not selects(rule(1))
