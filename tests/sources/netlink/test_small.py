"""Rules, nexthops, neighbour tables and namespace ids on crafted bytes: newer selectors, odd sizes, damage."""

from __future__ import annotations

import socket
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdiag.model.policyrule import PolicyRule
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.requests import attribute, attribute_u32
from netdiag.sources.netlink.small import NeighTableSink, NetnsIdSink, NexthopSink, RuleSink
from tests.sources.netlink.kernel import message

SINKS = (RuleSink, NexthopSink, NeighTableSink, NetnsIdSink)


def rule(*attributes: bytes, action: int = 1, flags: int = 0, table: int = 254, family: int = 2) -> bytes:
    body = pack("=BBBBBxxBI", family, 0, 0, 0, table, action, flags) + b"".join(attributes)
    return message(nl.RTM_NEWRULE, nl.NLM_F_MULTI, body)


def decode(*attributes: bytes, **header: int) -> tuple[PolicyRule, RuleSink]:
    sink = RuleSink()
    sink.feed(memoryview(rule(*attributes, **header)))
    (only,) = sink.rules
    return only, sink


def test_a_bare_rule_matches_everything() -> None:
    only, _ = decode()
    assert only == PolicyRule(family="inet", priority=0, table=254)


def test_minus_one_and_zero_mean_not_set() -> None:
    only, _ = decode(
        attribute_u32(nl.FRA_SUPPRESS_PREFIXLEN, 0xFFFFFFFF),
        attribute_u32(nl.FRA_SUPPRESS_IFGROUP, 0xFFFFFFFF),
        attribute_u32(nl.FRA_TABLE, 0),
        attribute(nl.FRA_L3MDEV, b"\x01"),
    )
    assert (only.suppress_prefixlength, only.suppress_ifgroup, only.table, only.l3mdev) == (None, None, None, True)
    assert decode(attribute_u32(nl.FRA_SUPPRESS_PREFIXLEN, 0))[0].suppress_prefixlength == 0


def test_a_mark_of_zero_selects_only_with_a_mask() -> None:
    assert decode(attribute_u32(nl.FRA_FWMASK, 0xFF))[0].fwmark == 0
    assert decode(attribute_u32(nl.FRA_FWMARK, 0), attribute_u32(nl.FRA_FWMASK, 0))[0].fwmark is None


def test_selectors_of_newer_kernels() -> None:
    only, sink = decode(
        attribute(nl.FRA_DSCP, b"\x2e"),
        attribute(nl.FRA_DSCP_MASK, b"\x3f"),
        attribute(nl.FRA_SPORT_RANGE, pack("=HH", 53, 53)),
        attribute(nl.FRA_SPORT_MASK, pack("=H", 0xFFFF)),
    )
    assert (only.dscp, only.sport_start, only.sport_end, only.unknown) == (0x2E, 53, 53, 0)
    assert sink.unknown == {}
    masked, sink = decode(attribute(nl.FRA_DSCP, b"\x20"), attribute(nl.FRA_DSCP_MASK, b"\x38"))
    assert masked.unknown == 1, "a mask that is not full narrows the rule in a way the model cannot say"
    assert sink.unknown == {nl.FRA_DSCP_MASK: 1}


def test_an_unknown_or_damaged_selector_marks_the_rule() -> None:
    only, sink = decode(attribute(99, b"x"), attribute(nl.FRA_IP_PROTO, b""), attribute(nl.FRA_UID_RANGE, b"abc"))
    assert (only.unknown, sink.unknown, sink.malformed) == (3, {99: 1}, 2)


def test_a_rule_that_is_cut_short_is_marked() -> None:
    only, sink = decode(attribute_u32(nl.FRA_PRIORITY, 7) + pack("=HH", 99, nl.FRA_SRC))
    assert (only.priority, only.unknown, sink.malformed) == (7, 1, 1)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (nl.FIB_RULE_INVERT, "invert"),
        (nl.FIB_RULE_UNRESOLVED, "goto_unresolved"),
        (nl.FIB_RULE_IIF_DETACHED, "iif_detached"),
        (nl.FIB_RULE_OIF_DETACHED, "oif_detached"),
    ],
)
def test_flags_of_rules(flags: int, name: str) -> None:
    assert getattr(decode(flags=flags)[0], name) is True
    assert getattr(decode()[0], name) is False


def test_actions_of_rules() -> None:
    assert [decode(action=number)[0].action for number in (1, 2, 3, 6, 7, 8, 9)] == [
        *("lookup", "goto", "nop", "blackhole", "unreachable", "prohibit", "act9")
    ]


def test_rules_of_other_families_are_not_ours() -> None:
    sink = RuleSink()
    sink.feed(memoryview(rule(family=128) + rule() + message(nl.RTM_NEWRULE, 2, b"tiny")))
    assert (len(sink.rules), sink.malformed) == (1, 1)


def nexthop(*attributes: bytes, family: int = 0) -> bytes:
    return message(nl.RTM_NEWNEXTHOP, 2, pack("=BBBxI", family, 0, 12, 4) + b"".join(attributes))


def test_weights_of_sixteen_bits() -> None:
    group = pack("=IBBH", 1, 0, 0, 0) + pack("=IBBH", 2, 0xFF, 0xFF, 0)
    sink = NexthopSink()
    sink.feed(memoryview(nexthop(attribute_u32(nl.NHA_ID, 9), attribute(nl.NHA_GROUP, group))))
    (only,) = sink.nexthops
    assert [(member.id, member.weight) for member in only.group] == [(1, 1), (2, 65536)]
    assert (only.protocol, only.flags, only.resilient) == (12, 4, False)


def test_damaged_nexthops() -> None:
    sink = NexthopSink()
    sink.feed(
        memoryview(
            nexthop(attribute_u32(nl.NHA_ID, 1), attribute(nl.NHA_GROUP, b"seven77"))
            + nexthop(attribute_u32(nl.NHA_OIF, 1))
            + nexthop(attribute_u32(nl.NHA_ID, 2), attribute(99, b""), attribute(nl.NHA_ENCAP_TYPE, pack("=H", 77)))
        )
    )
    assert [hop.id for hop in sink.nexthops] == [1, 2]
    assert sink.nexthops[1].encap == "77"
    assert (sink.malformed, sink.unknown) == (2, {99: 1})


def test_a_neighbour_table_of_a_newer_kernel_may_be_longer() -> None:
    config = pack("=HHIIIIIII", 4, 400, 42, 1, 2, 3, 4, 5, 6) + b"more"
    stats = pack("=11Q", *range(100, 111)) + bytes(16)
    parms = attribute_u32(nl.NDTPA_IFINDEX, 3) + attribute(nl.NDTPA_RETRANS_TIME, pack("=Q", 1000)) + attribute(77, b"")
    body = pack("=BxH", 10, 0) + attribute(nl.NDTA_NAME, b"ndisc_cache\0") + attribute_u32(nl.NDTA_THRESH3, 1024)
    body += attribute(nl.NDTA_CONFIG, config) + attribute(nl.NDTA_STATS, stats) + attribute(nl.NDTA_PARMS, parms)
    sink = NeighTableSink()
    sink.feed(memoryview(message(nl.RTM_NEWNEIGHTBL, 2, body)))
    (table,) = sink.tables
    assert (table.name, table.family, table.thresh3, table.thresh1) == ("ndisc_cache", "inet6", 1024, None)
    assert (table.entries, table.allocs, table.forced_gc_runs, table.table_fulls) == (42, 100, 109, 110)
    assert [(row.ifindex, row.values) for row in sink.parms] == [(3, {"retrans_time_ms": 1000})]
    short = pack("=BxH", 2, 0) + attribute(nl.NDTA_CONFIG, b"x") + attribute(nl.NDTA_THRESH1, b"")
    sink.feed(memoryview(message(nl.RTM_NEWNEIGHTBL, 2, short)))
    assert (len(sink.tables), sink.malformed) == (2, 2)


def test_namespace_ids_without_a_number() -> None:
    sink = NetnsIdSink()
    for payload in (pack("=i", 4), pack("=i", -1), b""):
        sink.feed(memoryview(message(nl.RTM_NEWNSID, 2, bytes(4) + attribute(1, payload))))
    assert (sink.ids, sink.malformed) == ([4], 1)


@pytest.mark.parametrize("sink_type", SINKS)
def test_reset_forgets(sink_type: type[RuleSink]) -> None:
    sink = sink_type()
    sink.unknown[1] = sink.malformed = 1
    sink.reset()
    assert (sink.unknown, sink.malformed) == ({}, 0)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_never_raises(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=40)), max_size=8))
    nest = b"".join(attribute(kind, payload) for kind, payload in parts)
    octets = bytearray()
    for kind in (nl.RTM_NEWRULE, nl.RTM_NEWNEXTHOP, nl.RTM_NEWNEIGHTBL, nl.RTM_NEWNSID):
        octets += message(kind, 2, bytes([data.draw(st.sampled_from([0, 2, 10]))]) + bytes(11) + nest)
    for _ in range(data.draw(st.integers(0, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    for sink_type in SINKS:
        sink_type().feed(memoryview(octets)[: data.draw(st.integers(0, len(octets)))])


def test_addresses_of_rules() -> None:
    only, _ = decode(attribute(nl.FRA_SRC, socket.inet_pton(socket.AF_INET6, "2001:db8::")), family=10)
    assert (only.family, only.src) == ("inet6", "2001:db8::")
