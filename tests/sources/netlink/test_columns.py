"""The column decoder against a plain one that walks every message by itself, and against damaged bytes."""

from __future__ import annotations

import socket
from struct import pack
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdiag.model.neighbour import NTF_PROXY
from netdiag.sources.netlink import columns as columns_module
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.attributes import walk
from netdiag.sources.netlink.messages import HeaderReadingSink, walk_messages
from netdiag.sources.netlink.neighbours import NeighbourColumns, concatenate
from netdiag.sources.netlink.requests import attribute, attribute_u32
from netdiag.sources.netlink.routes import USER_HZ, RouteColumns
from tests.sources.netlink.kernel import message

SEQ, PORT = 0x01020304, 0x0A0B0C0D


def rtmsg(family: int = nl.AF_INET, dst_len: int = 24, **fields: int) -> bytes:
    order = ("src_len", "tos", "table", "protocol", "scope", "type")
    return pack("=8BI", family, dst_len, *[fields.get(name, 0) for name in order], fields.get("flags", 0))


def route(body: bytes, flags: int = nl.NLM_F_MULTI, kind: int = nl.RTM_NEWROUTE) -> bytes:
    return message(kind, flags, body, SEQ, PORT)


def decode(octets: bytes, family: str = "inet", feeds: int = 1) -> tuple[Any, RouteColumns]:
    """Decode, in several feeds of whole messages."""
    sink = RouteColumns(family)
    cuts = [0, *[part.start - 16 for part in walk_messages(octets)][1:], len(octets)]
    chosen = [cuts[len(cuts) * number // feeds] for number in range(feeds)]
    for start, end in zip(chosen, [*chosen[1:], len(octets)], strict=True):
        if end > start:
            sink.feed(memoryview(octets)[start:end])
    return sink.finish(), sink


def test_a_sink_of_columns_reads_the_headers_itself() -> None:
    assert isinstance(RouteColumns("inet"), HeaderReadingSink)
    assert isinstance(NeighbourColumns(), HeaderReadingSink)


def plain_route(body: bytes) -> dict[str, int]:
    """What the columns must say of one sound IPv4 route."""
    row = {"dst": 0, "gateway": 0, "prefsrc": 0, "priority": 0, "oif": 0, "nh_id": 0, "table": body[4]}
    row |= {"dst_len": body[1], "tos": body[3], "protocol": body[5], "scope": body[6], "type": body[7]}
    row["flags"] = int.from_bytes(body[8:12], "little")
    names = {1: "dst", 5: "gateway", 7: "prefsrc", 6: "priority", 4: "oif", 30: "nh_id", 15: "table"}
    for kind, start, end in walk(body, 12):
        if kind in names and end - start == 4:
            order = "big" if kind in (1, 5, 7) else "little"
            row[names[kind]] = int.from_bytes(body[start:end], order, signed=kind == 4)  # type: ignore[arg-type]
    return row


u32s = st.integers(0, 2**32 - 1)
plain_attributes = st.one_of(
    st.tuples(st.sampled_from([1, 5, 7, 6, 4, 30, 15]), st.binary(min_size=4, max_size=4)),
    st.tuples(st.sampled_from([1, 5, 4, 200]), st.binary(max_size=9)),
    st.tuples(st.just(8), st.builds(lambda mtu: attribute_u32(2, mtu), u32s)),
)
bodies = st.builds(
    lambda head, parts: bytes([nl.AF_INET, *head]) + b"".join(attribute(kind, payload) for kind, payload in parts),
    st.binary(min_size=11, max_size=11),
    st.lists(plain_attributes, max_size=5),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(bodies, min_size=1, max_size=40), st.integers(1, 5))
def test_columns_say_what_a_plain_walk_says(all_bodies: list[bytes], feeds: int) -> None:
    table, sink = decode(b"".join(route(body) for body in all_bodies), feeds=feeds)
    assert len(table) == len(all_bodies)
    expected = [plain_route(body) for body in all_bodies]
    for name in expected[0]:
        assert getattr(table, name).tolist() == [row[name] for row in expected], name
    unusual = [any(kind in (8, 200) for kind, _, _ in walk(body, 12)) for body in all_bodies]
    assert [index >= 0 for index in table.extra.tolist()] == unusual
    assert sum(sink.unknown.values()) == sum(kind == 200 for body in all_bodies for kind, _, _ in walk(body, 12))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_counted_and_never_raised(data: st.DataObject) -> None:
    octets = bytearray(b"".join(route(body) for body in data.draw(st.lists(bodies, min_size=1, max_size=10))))
    for _ in range(data.draw(st.integers(0, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(octets[: data.draw(st.integers(1, len(octets)))])
    for sink in (RouteColumns("inet"), RouteColumns("inet6"), NeighbourColumns()):
        sink.feed(memoryview(cut))
        table = sink.finish()
        assert len(list(table.rows())) == len(table)


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=400))
def test_noise_is_no_table_and_no_crash(noise: bytes) -> None:
    for sink in (RouteColumns("inet"), NeighbourColumns()):
        sink.feed(memoryview(noise))
        sink.finish()


def test_a_payload_that_looks_like_a_header_is_only_a_payload() -> None:
    trap = attribute(99, pack("=II", SEQ, PORT) * 3)
    octets = b"".join(route(rtmsg() + attribute_u32(4, oif) + trap) for oif in range(1, 4))
    table, sink = decode(octets)
    assert table.oif.tolist() == [1, 2, 3]
    assert (sink.malformed, sink.unknown) == (0, {99: 3})


def test_a_damaged_length_costs_what_stands_behind_it() -> None:
    good = route(rtmsg() + attribute_u32(4, 7))
    broken = bytearray(good)
    broken[0:4] = pack("=I", 5)
    table, sink = decode(good + bytes(broken) + good)
    assert table.oif.tolist() == [7]
    assert sink.malformed == 1


def test_messages_of_other_types_and_families_are_skipped() -> None:
    octets = (
        route(rtmsg() + attribute_u32(4, 1))
        + route(rtmsg(nl.AF_INET6))
        + route(rtmsg(), kind=nl.RTM_NEWADDR)
        + route(rtmsg() + attribute_u32(4, 2))
        + route(b"short")
    )
    table, sink = decode(octets)
    assert (table.oif.tolist(), sink.skipped, sink.malformed) == ([1, 2], 2, 1)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_an_interrupt_on_any_message_is_seen(position: int) -> None:
    flags = [nl.NLM_F_MULTI | (nl.NLM_F_DUMP_INTR if number == position else 0) for number in range(3)]
    _, sink = decode(b"".join(route(rtmsg(), bits) for bits in flags))
    assert sink.interrupted()
    sink.reset()
    assert not sink.interrupted()


def test_reset_forgets_rows_and_counts() -> None:
    sink = RouteColumns("inet")
    sink.feed(memoryview(route(rtmsg() + attribute(99, b"x") + attribute(8, attribute_u32(2, 1400)))))
    sink.flush()
    sink.reset()
    sink.feed(memoryview(route(rtmsg() + attribute_u32(4, 5))))
    table = sink.finish()
    assert (table.oif.tolist(), table.extras, sink.unknown) == ([5], (), {})


def test_more_rows_than_fit_the_stage_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "STAGE", 1 << 10)
    monkeypatch.setattr(columns_module, "GROW", 16)
    octets = b"".join(route(rtmsg() + attribute_u32(4, oif) + bytes(0)) for oif in range(1, 501))
    table, _ = decode(octets, feeds=100)
    assert table.oif.tolist() == list(range(1, 501))


def test_a_feed_larger_than_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "STAGE", 64)
    assert decode(b"".join(route(rtmsg()) for _ in range(50)))[0].dst_len.tolist() == [24] * 50


def test_routes_alike_share_an_extra_however_many_differ() -> None:
    octets = b"".join(route(rtmsg() + attribute(8, attribute_u32(2, 1000 + number % 50))) for number in range(500))
    table, _ = decode(octets)
    assert len(table.extras) == 50
    assert [table.extras[index].metrics["mtu"] for index in table.extra] == [
        1000 + number % 50 for number in range(500)
    ]


def test_expiry_of_ipv6_routes() -> None:
    def expiring(ticks: int) -> bytes:
        return route(
            rtmsg(nl.AF_INET6, 64) + attribute(nl.RTA_CACHEINFO, pack("=IIiIIIII", 0, 0, ticks, 0, 0, 0, 0, 0))
        )

    table, _ = decode(b"".join(expiring(ticks) for ticks in (0, 90 * USER_HZ, -5, 1)), "inet6")
    assert table.expires.tolist() == [-1, 90, 0, 0]


def test_damaged_extras_are_counted() -> None:
    hop = pack("=HBBi", 200, 0, 0, 1)
    octets = route(rtmsg() + attribute(nl.RTA_MULTIPATH, hop)) + route(rtmsg() + attribute(nl.RTA_VIA, b"\x0a\0abc"))
    table, sink = decode(octets)
    assert (len(table), sink.malformed) == (2, 2)
    assert [row.extra.multipath for row in table.rows() if row.extra] == []


def test_an_ipv6_preference_makes_an_extra_only_where_it_is_not_medium() -> None:
    octets = b"".join(route(rtmsg(nl.AF_INET6) + attribute(nl.RTA_PREF, bytes([pref]))) for pref in (0, 1, 3))
    table, _ = decode(octets, "inet6")
    assert [row.extra and row.extra.pref for row in table.rows()] == [None, 1, 3]


def ndmsg(family: int, ifindex: int, state: int = 2, flags: int = 0) -> bytes:
    return pack("=BxHiHBB", family, 0, ifindex, state, flags, 1)


def test_neighbours_of_both_families_and_strange_hardware() -> None:
    ages = pack("=IIII", 3 * USER_HZ, 2 * USER_HZ, USER_HZ // 2, 1)
    v4, v6 = socket.inet_aton("192.0.2.1"), socket.inet_pton(socket.AF_INET6, "fe80::1")
    rows = [
        ndmsg(2, 3) + attribute(1, v4) + attribute(2, b"\x02\0\0\0\0\x01") + attribute(3, ages) + attribute_u32(4, 5),
        ndmsg(10, 4, 0x80, 0x80) + attribute(1, v6) + attribute(2, bytes(range(20))) + attribute(12, b"\x0c"),
        ndmsg(2, 5, 0x20) + attribute(1, v4),
        ndmsg(7, 5) + attribute(1, v4),  # a bridge's forwarding entry
        ndmsg(2, 6) + attribute(1, b"abc") + attribute(3, b"abcd") + attribute(77, b""),
    ]
    sink = NeighbourColumns()
    sink.feed(memoryview(b"".join(message(nl.RTM_NEWNEIGH, 2, row, SEQ, PORT) for row in rows)))
    table = sink.finish()
    first, second, third, _ = table.rows()
    assert (first.dst, first.lladdr, first.state, first.probes) == ("192.0.2.1", "02:00:00:00:00:01", "reachable", 5)
    assert (first.confirmed, first.used, first.updated) == (3.0, 2.0, 0.5)
    assert (second.dst, second.state, second.router, second.protocol) == ("fe80::1", "permanent", True, 12)
    assert second.lladdr == bytes(range(20)).hex(":")  # InfiniBand
    assert (third.state, third.lladdr, third.confirmed) == ("failed", None, None)
    assert (sink.skipped, sink.malformed, sink.unknown) == (1, 2, {77: 1})


def test_proxy_entries_come_in_a_dump_of_their_own_and_are_joined() -> None:
    tables = []
    for flags in (0, NTF_PROXY):
        sink = NeighbourColumns()
        body = ndmsg(2, 3, 0, flags) + attribute(1, socket.inet_aton("192.0.2.1"))
        sink.feed(memoryview(message(nl.RTM_NEWNEIGH, 2, body, SEQ, PORT)))
        tables.append(sink.finish())
    both = concatenate(*tables)
    assert [row.proxy for row in both.rows()] == [False, True]


def test_columns_are_trimmed() -> None:
    table, _ = decode(route(rtmsg()))
    assert all(len(getattr(table, name)) == 1 for name in table.COLUMNS)
    assert table.dst.dtype == np.uint32


def test_an_attribute_walk_over_damage_ends() -> None:
    fine = attribute(1, b"abcde") + attribute(2 | nl.NLA_F_NESTED, b"")
    assert [(kind, end - start) for kind, start, end in walk(fine)] == [(1, 5), (2, 0)]
    assert [kind for kind, _, _ in walk(fine + b"\x03\0\x05\0")] == [1, 2]
