"""Filters and queueing disciplines decoded from messages made by hand; damaged ones are counted, none raises."""

from struct import pack

from hypothesis import given
from hypothesis import strategies as st

from netdiag.sources.netlink.messages import pack_message
from netdiag.sources.netlink.requests import attribute
from netdiag.sources.netlink.tcfilters import BLOCK, EGRESS, INGRESS, FilterSink, Place, QdiscSink, filters


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, pack("=I", value))


def qdisc(kind: bytes, handle: int, more: bytes = b"") -> bytes:
    return pack_message(36, 0, 1, pack("=BxHiIII", 0, 0, 3, handle, 0, 0) + attribute(1, kind + b"\0") + more)


def bpf_filter(options: bytes, kind: bytes = b"bpf", priority: int = 10) -> bytes:
    head = pack("=BxHiIII", 0, 0, 3, 7, INGRESS, priority << 16 | 0x0300)
    return pack_message(44, 0, 1, head + attribute(1, kind + b"\0") + attribute(2, options) + u32(11, 4))


def fed(sink: FilterSink | QdiscSink, octets: bytes) -> None:
    sink.feed(memoryview(octets))


def test_clsact_has_two_sides_and_ingress_one() -> None:
    sink = QdiscSink()
    fed(sink, qdisc(b"clsact", 0xFFFF0000) + qdisc(b"ingress", 0xFFFF0000))
    assert sink.places == [Place(3, INGRESS), Place(3, EGRESS), Place(3, INGRESS)]


def test_a_shared_block_is_asked_by_its_number() -> None:
    sink = QdiscSink()
    fed(sink, qdisc(b"clsact", 0xFFFF0000, u32(13, 5) + u32(14, 6)))
    assert sink.places == [Place(3, INGRESS, 5), Place(3, EGRESS, 6)]
    assert filters(sink.places[0]).body == pack("=BxHIIII", 0, 0, BLOCK, 0, 5, 0)


def test_classful_disciplines_with_a_handle_may_have_filters_and_others_not() -> None:
    sink = QdiscSink()
    fed(sink, qdisc(b"htb", 0x10000) + qdisc(b"fq_codel", 0) + qdisc(b"noqueue", 0x20000))
    assert sink.places == [Place(3, 0x10000)]


def test_a_filter_is_decoded_whole() -> None:
    sink = FilterSink(Place(3, INGRESS))
    fed(sink, bpf_filter(attribute(7, b"x\xff\0") + u32(8, 1) + attribute(10, bytes(range(8))) + u32(11, 99)))
    (row,) = sink.attachments
    assert (row.prog_id, row.name, row.tag) == (99, "x\\xff", "0001020304050607")
    assert (row.priority, row.protocol, row.handle, row.chain) == (10, 3, 7, 4)
    assert (row.direct_action, row.action, row.direction) == (True, False, "ingress")


def test_without_the_flag_the_program_is_no_direct_action() -> None:
    sink = FilterSink(Place(3, EGRESS))
    fed(sink, bpf_filter(u32(11, 99)))
    assert (sink.attachments[0].direct_action, sink.attachments[0].direction) == (False, "egress")


def test_an_action_that_is_a_program_is_found_behind_another_classifier() -> None:
    action = attribute(1, b"bpf\0") + attribute(2, attribute(6, b"act\0") + u32(9, 42))
    other = attribute(1, b"gact\0") + attribute(2, b"")
    sink = FilterSink(Place(3, INGRESS))
    fed(sink, bpf_filter(attribute(2, attribute(1, other) + attribute(2, action)), b"matchall"))
    (row,) = sink.attachments
    assert (row.prog_id, row.name, row.action, row.direct_action) == (42, "act", True, None)


def test_classic_bpf_and_other_classifiers_are_no_programs() -> None:
    sink = FilterSink(Place(3, INGRESS))
    fed(sink, bpf_filter(u32(4, 1)) + bpf_filter(u32(11, 1), b"u32"))
    assert sink.attachments == []


def test_filters_keep_their_order() -> None:
    sink = FilterSink(Place(3, INGRESS))
    fed(sink, b"".join(bpf_filter(u32(11, number), priority=number) for number in (1, 2, 3)))
    assert [(row.prog_id, row.position) for row in sink.attachments] == [(1, 0), (2, 1), (3, 2)]


@given(st.binary(max_size=64), st.sampled_from([36, 44]))
def test_no_bytes_raise(body: bytes, kind: int) -> None:
    for sink in (QdiscSink(), FilterSink(Place(3, INGRESS))):
        fed(sink, pack_message(kind, 0, 1, body))


@given(st.binary(max_size=64))
def test_no_options_raise(options: bytes) -> None:
    sink = FilterSink(Place(3, INGRESS))
    fed(sink, bpf_filter(options) + bpf_filter(options, b"matchall"))
