"""``show``: every table in text and JSON, whatever stands in it, however long it is."""

import itertools
import json
import tracemalloc
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdiag.model.codec import BULK, SMALL
from netdiag.model.counters import Counters, CounterSample, SoftnetCpu
from netdiag.model.link import IFF_LOWER_UP, IFF_UP, Link, LinkCounters, Stats64
from netdiag.model.nexthop import Nexthop, NexthopMember
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import Routes, routes_from_rows
from netdiag.model.snapshot import Snapshot, Tables
from netdiag.model.sysctl import Sysctls
from netdiag.render.tables import STREAM, Column, Filters, View, table_json, table_text
from netdiag.render.views import names, view
from netdiag.render.views._words import protocol_number, table_number
from tests.snapshotfile.hosts import META, TOGETHER, bulk, of_type, route, small_snapshot


def text(name: str, snapshot: Snapshot, width: int | None = 80, **filters: Any) -> str:
    shown = view(name)
    return "".join(table_text(shown, shown.rows(snapshot, Filters(**filters)), width))


def rows(name: str, snapshot: Snapshot, **filters: Any) -> Any:
    shown = view(name)
    return json.loads("".join(table_json(shown.rows(snapshot, Filters(**filters)))))


def with_tables(**tables: Any) -> Snapshot:
    return replace(small_snapshot(), tables=replace(small_snapshot().tables, **tables))


@pytest.mark.parametrize("table", sorted({*SMALL, *BULK} - TOGETHER))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), st.sampled_from([None, 20, 80]))
def test_whatever_a_table_holds_can_be_shown(table: str, given: st.DataObject, width: int | None) -> None:
    """One table at a time, the others plain: an example stays small enough to be minimised."""
    snapshot = with_tables(**{table: given.draw(bulk(table) if table in BULK else of_type(SMALL[table]))})
    for name in names():
        assert all(line.isprintable() for line in text(name, snapshot, width).split("\n"))
        assert isinstance(rows(name, snapshot), list)


def test_every_view_knows_its_filters() -> None:
    for name in names():
        shown = view(name)
        assert set(shown.filters) <= {"table", "dev", "proto", "family", "netid"}
        assert len({column.name for column in shown.columns}) == len(shown.columns)
        assert shown.columns[0].rank == 0


def test_unknown_view() -> None:
    with pytest.raises(KeyError):
        view("flows")
    with pytest.raises(KeyError):
        view("_words")


def test_routes() -> None:
    assert text("routes", small_snapshot()) == (
        "dst                 gateway      dev   table  protocol  scope  metrics\n"
        "192.0.2.0/24                     eth0  main   boot      link\n"
        "default                                main   boot\n"
        "  nexthop weight 1  192.0.2.1    eth0\n"
        "  nexthop weight 3  192.0.2.9    eth1\n"
        "default             2001:db8::1  eth1  main   boot             mtu=1400 lock=4\n"
    )
    assert rows("routes", small_snapshot(), family="inet", dev="eth1") == [
        {
            "family": "inet",
            "type": "unicast",
            "dst": "default",
            "table": "main",
            "protocol": "boot",
            "scope": "global",
            "nexthops": [
                {"gateway": "192.0.2.1", "dev": "eth0", "weight": 1},
                {"gateway": "192.0.2.9", "dev": "eth1", "weight": 3},
            ],
        }
    ]


def test_route_filters() -> None:
    table = routes_from_rows(
        "inet",
        [
            route("10.0.0.0/8", oif=2, table=100, protocol=12),
            route("10.1.0.0/16", oif=3, protocol=12, prefsrc="192.0.2.2", flags=0x11),
            route("192.0.2.7/32", type="blackhole"),
        ],
    )
    snapshot = with_tables(routes=table)
    assert [row["dst"] for row in rows("routes", snapshot, table=100)] == ["10.0.0.0/8"]
    assert [row["dst"] for row in rows("routes", snapshot, proto=12)] == ["10.0.0.0/8", "10.1.0.0/16"]
    assert [row["dst"] for row in rows("routes", snapshot, dev="eth0")] == ["10.0.0.0/8"]
    assert [row["dst"] for row in rows("routes", snapshot, family="inet6")] == ["default"]
    assert rows("routes", snapshot, dev="eth9") == []
    assert rows("routes", snapshot, dev="eth1")[0]["flags"] == ["dead", "linkdown"]
    assert rows("routes", snapshot)[2] == {
        "family": "inet",
        "type": "blackhole",
        "dst": "192.0.2.7",
        "table": "main",
        "protocol": "boot",
        "scope": "global",
    }


def test_rules_read_like_iproute2() -> None:
    rules = (
        PolicyRule(family="inet6", priority=0, table=255, protocol=2),
        PolicyRule(
            family="inet", priority=100, src="10.0.0.0", src_len=8, fwmark=1, fwmask=255, table=100, invert=True
        ),
        PolicyRule(
            family="inet", priority=90, iif="wg0", iif_detached=True, action="goto", goto=200, goto_unresolved=True
        ),
        PolicyRule(family="inet", priority=95, l3mdev=True, uid_start=0, uid_end=99, dport_start=53, dport_end=53),
        PolicyRule(family="inet", priority=99, table=254, suppress_prefixlength=0),
    )
    assert text("rules", with_tables(rules=rules), None) == (
        "family  priority  selector                             action                               protocol\n"
        "inet          90  from all iif wg0 [detached]          goto 200 [unresolved]                unspec\n"
        "inet          95  from all uidrange 0-99 dport 53      lookup [l3mdev-table]                unspec\n"
        "inet          99  from all                             lookup main suppress_prefixlength 0  unspec\n"
        "inet         100  not from 10.0.0.0/8 fwmark 0x1/0xff  lookup 100                           unspec\n"
        "inet6          0  from all                             lookup local                         kernel\n"
    )
    found = {row["priority"]: row for row in rows("rules", with_tables(rules=rules))}
    assert found[100] == {
        "family": "inet",
        "priority": 100,
        "not": True,
        "from": "10.0.0.0/8",
        "fwmark": "0x1/0xff",
        "action": "lookup",
        "table": "100",
        "protocol": "unspec",
    }
    assert [row["priority"] for row in rows("rules", with_tables(rules=rules), table=100)] == [100]
    assert [row["priority"] for row in rows("rules", with_tables(rules=rules), dev="wg0")] == [90]


def test_links() -> None:
    links = (
        Link(ifindex=1, ifname="br0", kind="bridge", flags=IFF_UP | IFF_LOWER_UP, operstate="up"),
        Link(ifindex=2, ifname="v0", kind="veth", master=1, link=7, link_netnsid=0, mtu=9000, operstate="down"),
        Link(ifindex=3, ifname="eth0.5", kind="vlan", link=1, info={"id": 5}),
    )
    assert text("links", with_tables(links=links)) == (
        "ifname      operstate   mtu  kind    master  netns  flags\n"
        "br0         UP         1500  bridge                 UP,LOWER_UP\n"
        "v0@if7      DOWN       9000  veth    br0         0\n"
        "eth0.5@br0  UNKNOWN    1500  vlan\n"
    )
    row = rows("links", with_tables(links=links), dev="v0")[0]
    assert (row["master"], row["link_index"], row["link_netnsid"]) == ("br0", 7, 0)
    assert rows("links", with_tables(links=links))[2]["linkinfo"] == {"info_kind": "vlan", "info_data": {"id": 5}}


def test_hostile_names_do_not_reach_the_terminal() -> None:
    links = (Link(ifindex=1, ifname="\x1b]0;x\x07\u202e", alias="a\nlo  UP  65536"),)
    shown = text("links", with_tables(links=links))
    assert "\\x1b]0;x\\x07\\u{202e}" in shown and shown.count("\n") == 2
    assert rows("links", with_tables(links=links))[0]["alias"] == "a\nlo  UP  65536"


def test_nexthops_and_neighbours() -> None:
    nexthops = (
        Nexthop(id=1, gateway="192.0.2.1", oif=2, family="inet", protocol=4),
        Nexthop(id=9, group=(NexthopMember(id=1), NexthopMember(id=2, weight=3))),
        Nexthop(id=10, blackhole=True),
    )
    assert text("nexthops", with_tables(nexthops=nexthops)) == (
        "id  group  gateway    dev   blackhole  protocol\n"
        " 1         192.0.2.1  eth0             static\n"
        " 9  1,2/3                              unspec\n"
        "10                          yes        unspec\n"
    )
    assert [row["dst"] for row in rows("neighbours", small_snapshot(), family="inet6")] == ["2001:db8::1"]
    assert [row["dst"] for row in rows("neighbours", small_snapshot(), dev="eth0")] == ["192.0.2.1"]


def test_sysctls_join_what_netlink_showed() -> None:
    links = (Link(ifindex=2, ifname="eth0", inet_conf={"rp_filter": 1}, inet6_conf={"accept_ra": 2}),)
    snapshot = with_tables(links=links, sysctls=Sysctls(values={"net.ipv4.ip_forward": "1"}))
    assert [row["name"] for row in rows("sysctls", snapshot)] == [
        "net.ipv4.conf.eth0.rp_filter",
        "net.ipv4.ip_forward",
        "net.ipv6.conf.eth0.accept_ra",
    ]
    assert [row["value"] for row in rows("sysctls", snapshot, dev="eth0", family="inet6")] == ["2"]


def test_counters_move_or_were_reset() -> None:
    def sample(at: float, drops: int, rx: int) -> CounterSample:
        link = LinkCounters(ifindex=2, ifname="eth0", carrier_up_count=1, stats=Stats64(rx_packets=rx))
        cpu = SoftnetCpu(cpu=0, processed=5, dropped=0, time_squeeze=0)
        return CounterSample(at=at, snmp={"TcpExt.ListenDrops": drops}, links=(link,), softnet=(cpu,))

    counters = Counters(first=sample(10.0, 4, 100), second=sample(12.0, 9, 50))
    found = {row["name"]: row for row in rows("counters", with_tables(counters=counters))}
    assert found["TcpExt.ListenDrops"] == {"name": "TcpExt.ListenDrops", "value": 9, "delta": 5, "per_second": 2.5}
    assert found["link.eth0.rx_packets"] == {"name": "link.eth0.rx_packets", "value": 50}
    assert found["softnet.0.processed"]["delta"] == 0
    single = rows("counters", with_tables(counters=Counters(first=sample(1.0, 4, 1))), dev="eth0")
    assert {"name": "link.eth0.carrier_up_count", "value": 1} in single
    assert all(row["name"].startswith("link.eth0.") and "delta" not in row for row in single)


def test_coverage() -> None:
    assert rows("coverage", small_snapshot()) == list(msgspec.to_builtins(small_snapshot().coverage))


def counting(total: int) -> "tuple[View, itertools.count[int]]":
    made = itertools.count()

    def made_rows(snapshot: Snapshot, filters: Filters) -> Any:
        return ({"n": next(made), "word": "x" * 30} for _ in range(total))

    return View(collector="x", columns=(Column("n", right=True), Column("word", 1)), rows=made_rows), made


def test_long_tables_are_streamed() -> None:
    shown, made = counting(1_000_000)
    pieces = table_text(shown, shown.rows(small_snapshot(), Filters()), 80)
    first = next(pieces)
    assert first.startswith("n     word\n0     xxx")
    assert next(made) <= STREAM + 2
    pieces = table_json(shown.rows(small_snapshot(), Filters()))
    assert next(pieces).startswith('[\n{"n":')


@pytest.mark.parametrize("total", [0, 1, STREAM - 1, STREAM, STREAM + 1, STREAM + 501])
def test_no_row_is_lost_at_the_border_of_streaming(total: int) -> None:
    shown, _ = counting(total)
    lines = "".join(table_text(shown, shown.rows(small_snapshot(), Filters()), None)).splitlines()
    assert len(lines) == (total + 1 if total else 0)
    shown, _ = counting(total)
    assert len(json.loads("".join(table_json(shown.rows(small_snapshot(), Filters()))))) == total


def test_columns_give_way_by_rank_and_say_so() -> None:
    shown, _ = counting(3)
    assert "".join(table_text(shown, shown.rows(small_snapshot(), Filters()), 20)) == (
        "n\n0\n1\n2\n(no room for word; --json has everything)\n"
    )


def test_a_large_routing_table_takes_little_memory() -> None:
    n = 100_000
    zero, u1, minus = np.zeros(n, np.uint32), np.zeros(n, np.uint8), np.full(n, -1, np.int32)
    columns: dict[str, Any] = {name: zero for name in ("table", "flags", "priority", "gateway", "prefsrc", "nh_id")}
    columns |= {name: u1 for name in ("tos", "protocol", "scope", "type")}
    table = Routes(
        family="inet",
        dst=np.arange(n, dtype=np.uint32) << 8,
        dst_len=u1 + 24,
        oif=minus + 1,
        extra=minus,
        expires=minus,
        **columns,
    )
    snapshot = Snapshot(meta=META, tables=replace(Tables(), routes=table), coverage=())
    shown = view("routes")
    tracemalloc.start()
    try:
        lines = sum(piece.count("\n") for piece in table_text(shown, shown.rows(snapshot, Filters()), 80))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert lines == n + 1
    assert peak < 16 << 20


def test_words() -> None:
    assert (table_number("main"), table_number("100"), protocol_number("bird"), protocol_number("0x10")) == (
        254,
        100,
        12,
        16,
    )
    for word, number in (
        ("mainn", table_number),
        ("-1", table_number),
        ("4294967296", table_number),
        ("256", protocol_number),
    ):
        with pytest.raises(ValueError, match=r".+"):
            number(word)
