"""Interfaces and addresses on crafted bytes: what few kernels send, what is damaged, and what is hostile."""

from __future__ import annotations

import socket
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdiag.model.link import Link
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.addresses import AddressSink
from netdiag.sources.netlink.linkkinds import KINDS, SLAVE_KINDS, decode_kind, multicast
from netdiag.sources.netlink.links import LinkSink
from netdiag.sources.netlink.requests import attribute, attribute_u32
from tests.sources.netlink.kernel import message


def newlink(*attributes: bytes, index: int = 5, arphrd: int = 1, flags: int = 0x10043) -> bytes:
    body = pack("=BxHiII", 0, arphrd, index, flags, 0) + b"".join(attributes)
    return message(nl.RTM_NEWLINK, nl.NLM_F_MULTI, body)


def decode(*messages: bytes) -> tuple[list[Link], LinkSink]:
    sink = LinkSink()
    sink.feed(memoryview(b"".join(messages)))
    return sink.links, sink


def name(text: bytes) -> bytes:
    return attribute(nl.IFLA_IFNAME, text + b"\0")


def kind(text: str, data: bytes = b"", *, slave: str = "", slave_data: bytes = b"") -> bytes:
    nest = attribute(nl.IFLA_INFO_KIND, text.encode() + b"\0") + attribute(nl.IFLA_INFO_DATA, data)
    if slave:
        nest += attribute(nl.IFLA_INFO_SLAVE_KIND, slave.encode() + b"\0")
        nest += attribute(nl.IFLA_INFO_SLAVE_DATA, slave_data)
    return attribute(nl.IFLA_LINKINFO, nest)


def test_hostile_names_are_decoded_once_and_kept() -> None:
    (link,), _ = decode(newlink(name(b"a\x1b]52;c\x07\xff"), attribute(nl.IFLA_IFALIAS, b"$(id)\n\xf0\x28")))
    assert link.ifname == "a\x1b]52;c\x07\\xff"
    assert link.alias == "$(id)\n\\xf0("


def test_zero_is_none_where_the_kernel_means_nothing() -> None:
    zeroes = (nl.IFLA_MIN_MTU, nl.IFLA_MAX_MTU, nl.IFLA_MASTER, nl.IFLA_LINK)
    (link,), _ = decode(newlink(name(b"eth0"), *[attribute_u32(number, 0) for number in zeroes]))
    assert (link.min_mtu, link.max_mtu, link.master, link.link, link.group) == (None, None, None, None, 0)


def test_a_namespace_without_a_number_is_none() -> None:
    links, _ = decode(
        newlink(name(b"a"), attribute(nl.IFLA_LINK_NETNSID, pack("=i", -1))),
        newlink(name(b"b"), attribute(nl.IFLA_LINK_NETNSID, pack("=i", 0))),
    )
    assert [link.link_netnsid for link in links] == [None, 0]


@pytest.mark.parametrize(
    ("arphrd", "raw", "text"),
    [
        (1, b"\x02\0\0\0\0\x01", "02:00:00:00:00:01"),
        (778, socket.inet_aton("192.0.2.1"), "192.0.2.1"),
        (776, b"\0\0\0\0", "0.0.0.0"),
        (769, socket.inet_pton(socket.AF_INET6, "2001:db8::1"), "2001:db8::1"),
        (65534, b"", None),
        (32, bytes(range(20)), bytes(range(20)).hex(":")),
    ],
)
def test_hardware_addresses_of_every_sort(arphrd: int, raw: bytes, text: str | None) -> None:
    (link,), _ = decode(newlink(attribute(nl.IFLA_ADDRESS, raw), arphrd=arphrd))
    assert link.address == text


@pytest.mark.parametrize(("number", "mode"), [(1, "native"), (2, "generic"), (3, "offload"), (4, "multi")])
def test_xdp(number: int, mode: str) -> None:
    nest = attribute(nl.IFLA_XDP_ATTACHED, bytes([number])) + attribute_u32(nl.IFLA_XDP_PROG_ID, 7)
    nest += attribute_u32(nl.IFLA_XDP_SKB_PROG_ID, 8)
    (link,), _ = decode(newlink(attribute(nl.IFLA_XDP, nest)))
    assert link.xdp is not None
    assert (link.xdp.mode, link.xdp.prog_id, link.xdp.generic_prog_id, link.xdp.native_prog_id) == (mode, 7, 8, None)


def test_no_xdp_is_none() -> None:
    (link,), _ = decode(newlink(attribute(nl.IFLA_XDP, attribute(nl.IFLA_XDP_ATTACHED, b"\0"))))
    assert link.xdp is None


def test_stats_of_an_older_kernel_are_shorter_and_of_a_newer_one_longer() -> None:
    links, _ = decode(
        *[newlink(attribute(nl.IFLA_STATS64, pack(f"={count}Q", *range(1, count + 1)))) for count in (23, 24, 25, 30)]
    )
    assert [link.stats.rx_nohandler for link in links] == [0, 24, 24, 24]
    assert [link.stats.tx_compressed for link in links] == [23] * 4
    assert [link.stats.rx_otherhost_dropped for link in links] == [0, 0, 25, 25]


def test_same_layout_other_values() -> None:
    """The second message is read by the layout of the first; the third differs in one header only."""
    links, _ = decode(
        newlink(name(b"eth0"), attribute_u32(nl.IFLA_MTU, 1500), index=1),
        newlink(name(b"eth1"), attribute_u32(nl.IFLA_MTU, 9000), index=2),
        newlink(name(b"eth2"), attribute_u32(nl.IFLA_TXQLEN, 42), index=3),
    )
    assert [(link.ifindex, link.ifname, link.mtu, link.txqlen) for link in links] == [
        (1, "eth0", 1500, None),
        (2, "eth1", 9000, None),
        (3, "eth2", 1500, 42),
    ]


def test_unknown_attributes_are_counted() -> None:
    strange = newlink(name(b"a"), attribute(999, b"x"), kind("bridge", attribute(200, b"x"), slave="bridge"))
    port = newlink(name(b"b"), kind("veth", slave="bridge", slave_data=attribute(201, b"x")))
    _, sink = decode(strange, strange, port)
    assert sink.unknown["IFLA 999"] == 2
    assert sink.unknown["bridge 200"] >= 1
    assert sink.unknown["bridge port 201"] >= 1
    assert sink.malformed == 0


def test_damage_is_counted() -> None:
    short = newlink(name(b"a"), attribute(nl.IFLA_MTU, b"\x01"), attribute(nl.IFLA_CARRIER, b""))
    tail = newlink(name(b"b"), pack("=HH", 99, nl.IFLA_MTU))
    inner = newlink(name(b"c"), kind("vxlan", attribute(1, b"\x01")))
    links, sink = decode(short, tail, inner, message(nl.RTM_NEWLINK, 2, b"tiny"))
    assert [link.ifname for link in links] == ["a", "b", "c"]
    assert sink.malformed == 2 + 1 + 1 + 1


def test_reset_forgets() -> None:
    sink = LinkSink()
    sink.feed(memoryview(newlink(name(b"a"), attribute(999, b""))))
    sink.reset()
    assert (sink.links, sink.unknown) == ([], {})


BOND = (
    attribute(1, b"\x04")
    + attribute_u32(3, 100)
    + attribute(8, attribute(0, socket.inet_aton("192.0.2.1")) + attribute(1, socket.inet_aton("192.0.2.2")))
    + attribute(14, b"\x01")
    + attribute(21, b"\x01")
    + attribute(23, attribute(1, pack("=H", 3)) + attribute(2, pack("=H", 2)) + attribute(5, b"\x02\0\0\0\0\x09"))
)
VLAN = attribute(2, pack("=II", 1, 3)) + attribute(5, pack("!H", 0x9100))
GENEVE = attribute_u32(1, 9) + attribute(5, pack("!H", 6081)) + attribute(7, socket.inet_pton(socket.AF_INET6, "::2"))
NETKIT = attribute_u32(5, 1) + attribute_u32(3, 2) + attribute(2, b"\x01")
SIT = (
    attribute_u32(1, 2)
    + attribute(2, socket.inet_aton("192.0.2.1"))
    + attribute(8, pack("=H", 1))
    + attribute(9, b"\x29")
)
IP6 = attribute(3, socket.inet_pton(socket.AF_INET6, "2001:db8::2")) + attribute_u32(8, 0x30) + attribute(6, b"\x04")
GRE = (
    attribute(4, pack("!I", 5))
    + attribute(6, socket.inet_aton("192.0.2.1"))
    + attribute(10, b"\x01")
    + attribute(18, b"")
)


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        (
            "bond",
            BOND,
            {
                "mode": "802.3ad",
                "miimon": 100,
                "arp_ip_target": ["192.0.2.1", "192.0.2.2"],
                "xmit_hash_policy": "layer3+4",
                "ad_lacp_rate": "fast",
                "ad_info": {"aggregator": 3, "num_ports": 2, "partner_mac": "02:00:00:00:00:09"},
            },
        ),
        ("bond", attribute(1, b"\x63"), {"mode": "99"}),
        ("vlan", attribute(1, pack("=H", 7)) + attribute(5, pack("!H", 0x88A8)), {"id": 7, "protocol": "802.1ad"}),
        ("vlan", VLAN, {"flags": 1, "protocol": "0x9100"}),
        ("vrf", attribute_u32(1, 4000000000), {"table": 4000000000}),
        ("sit", SIT, {"link": 2, "local": "192.0.2.1", "flags": 1, "proto": 41}),
        ("ip6tnl", IP6, {"remote": "2001:db8::2", "flags": 0x30, "encap_limit": 4}),
        ("gre", GRE, {"ikey": 5, "local": "192.0.2.1", "pmtudisc": True, "external": True}),
        (
            "geneve",
            GENEVE,
            {"id": 9, "port": 6081, "remote": "::2"},
        ),
        ("netkit", NETKIT, {"mode": "l3", "policy": "blackhole", "primary": True}),
        ("vxlan", attribute(2, socket.inet_aton("239.0.0.1")), {"group": "239.0.0.1"}),
        ("vxlan", attribute(10, pack("!HH", 1, 9)), {"port_range": {"low": 1, "high": 9}}),
        ("xfrm", attribute_u32(2, 77), {"if_id": 77}),
        ("wireguard", b"", {}),
        ("something-new", attribute(1, b"x"), {}),
    ],
)
def test_what_kinds_say(text: str, data: bytes, expected: dict[str, Any]) -> None:
    (link,), sink = decode(newlink(kind(text, data)))
    assert (link.kind, link.info) == (text, expected)
    assert (sink.unknown, sink.malformed) == ({}, 0)


def test_what_a_bond_leg_says() -> None:
    legs = attribute(1, b"\x01") + attribute(2, b"\x02") + attribute_u32(3, 9) + attribute(9, pack("=i", -5))
    (link,), _ = decode(newlink(kind("veth", slave="bond", slave_data=legs)))
    assert link.slave_info == {"state": "BACKUP", "mii_status": "DOWN", "link_failure_count": 9, "prio": -5}


def test_multicast_addresses_as_text() -> None:
    yes = ["224.0.0.1", "239.255.255.255", "ff02::1"]
    no = ["", "223.255.255.255", "240.0.0.1", "ff::1", "2001:db8::1", "::"]
    assert [multicast(text) for text in yes + no] == [True] * len(yes) + [False] * len(no)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=30)), max_size=8))
def test_no_kind_trips_over_any_payload(text: str, parts: list[tuple[int, bytes]]) -> None:
    data = b"".join(attribute(number, payload) for number, payload in parts)
    decode_kind(text, data)
    decode_kind(sorted(SLAVE_KINDS)[len(text) % len(SLAVE_KINDS)], data, slave=True)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_links_and_addresses_never_raise(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.tuples(st.integers(0, 70), st.binary(max_size=40)), max_size=10))
    nest = b"".join(attribute(number, payload) for number, payload in parts)
    octets = bytearray(newlink(name(b"x"), kind("bridge", nest), attribute(nl.IFLA_AF_SPEC, nest), nest) * 2)
    octets += message(nl.RTM_NEWADDR, 2, pack("=BBBBi", data.draw(st.sampled_from([2, 10, 7])), 24, 0, 0, 1) + nest)
    for _ in range(data.draw(st.integers(0, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    for sink in (LinkSink(), AddressSink()):
        sink.feed(memoryview(octets)[: data.draw(st.integers(0, len(octets)))])


def newaddr(*attributes: bytes, family: int = nl.AF_INET, flags: int = 0x80) -> bytes:
    return message(nl.RTM_NEWADDR, 2, pack("=BBBBi", family, 24, flags, 0, 5) + b"".join(attributes))


def test_addresses_on_crafted_bytes() -> None:
    one, two = socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.2")
    sink = AddressSink()
    sink.feed(
        memoryview(
            newaddr(attribute(nl.IFA_ADDRESS, two), attribute(nl.IFA_LOCAL, one), attribute_u32(nl.IFA_FLAGS, 0x8080))
            + newaddr(attribute(nl.IFA_ADDRESS, one), attribute(nl.IFA_CACHEINFO, pack("=IIII", 0, 0xFFFFFFFF, 1, 2)))
            + newaddr(attribute(nl.IFA_ADDRESS, b"abc"), attribute(77, b""))
            + newaddr(attribute(nl.IFA_ADDRESS, one), attribute(nl.IFA_CACHEINFO, b"short"))
            + newaddr(attribute(nl.IFA_ADDRESS, one), family=7)
            + newaddr(attribute(nl.IFA_ADDRESS, one), pack("=HH", 99, 1))
            + message(nl.RTM_NEWADDR, 2, b"tiny")
        )
    )
    first, second, third, _ = sink.addresses
    assert (first.local, first.peer, first.flags) == ("192.0.2.1", "192.0.2.2", 0x8080)
    assert (second.local, second.peer, second.preferred_lft, second.valid_lft) == ("192.0.2.1", None, 0, None)
    assert second.flags == 0x80, "the byte of the header, where an old kernel sends no IFA_FLAGS"
    assert second.created == 0.01, "hundredths of a second"
    assert (third.valid_lft, third.created) == (None, None)
    assert sink.malformed == 2 + 1 + 1 + 1, "a bad address, hence none; bad cacheinfo; a cut message; a short header"
    assert sink.unknown == {77: 1}
    sink.reset()
    assert (sink.addresses, sink.unknown, sink.malformed) == ([], {}, 0)
