"""Rules, nexthop objects, neighbours, neighbour tables and namespace ids of a lab host, against `ip -j`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netdiag.model.policyrule import PolicyRule
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.neighbours import NeighbourColumns
from netdiag.sources.netlink.routes import RouteColumns
from netdiag.sources.netlink.small import NeighTableSink, NetnsIdSink, NexthopSink, RuleSink
from netdiag.sources.netlink.transport import batch, dump
from tests.lab import Host, Lab

RULES = """
    rule add priority 100 from 10.0.0.0/8 to 192.0.2.0/24 lookup 100
    rule add priority 101 iif v0 oif v1 lookup main
    rule add priority 102 iif ghost0 lookup main
    rule add priority 103 oif ghost1 lookup main
    rule add priority 104 fwmark 0x10/0xff lookup 4294967295
    rule add priority 105 fwmark 0/0xff lookup 7
    rule add priority 106 fwmark 5 lookup 8
    rule add priority 107 uidrange 1000-2000 lookup 9
    rule add priority 108 ipproto tcp sport 1000-2000 dport 443 lookup 10
    rule add priority 109 tos 0x10 lookup 11
    rule add priority 110 lookup main suppress_prefixlength 0
    rule add priority 111 lookup main suppress_ifgroup 7
    rule add priority 112 goto 120
    rule add priority 113 goto 9999
    rule add priority 114 not from 10.1.0.0/16 lookup 12
    rule add priority 115 from 10.2.0.0/16 blackhole
    rule add priority 116 from 10.3.0.0/16 unreachable
    rule add priority 117 from 10.4.0.0/16 prohibit
    rule add priority 118 tun_id 77 lookup 13
    rule add priority 119 protocol bird lookup 14
    rule add priority 120 nop
    rule add priority 0 from 10.5.0.0/16 lookup 15
"""
RULES6 = """
    rule add priority 100 from 2001:db8::/32 to 2001:db8:1::/48 lookup 100
    rule add priority 101 fwmark 0x1 ipproto udp lookup 5
"""
OPTIONAL = """
    rule add priority 121 l3mdev
"""
LINKS = """
    link add v0 type veth peer name v1
    link set v0 up
    link set v1 up
    address add 10.0.0.1/24 dev v0
    address add 2001:db8::1/64 dev v0 nodad
"""
NEXTHOPS = """
    nexthop add id 1 via 10.0.0.7 dev v0
    nexthop add id 2 via 10.0.0.8 dev v0
    nexthop add id 3 group 1,2/2,256
    nexthop add id 4 blackhole
    nexthop add id 5 group 1/2 type resilient buckets 32
    nexthop add id 6 dev v0
    nexthop add id 7 via 2001:db8::7 dev v0
    nexthop add id 8 via 10.9.9.9 dev v0 onlink proto bird
    nexthop add id 9 via 2001:db8::7 fdb
    nexthop add id 10 encap ip id 7 dst 10.0.0.1 dev v0
"""


@pytest.fixture
def host(lab: Lab) -> Host:
    made = lab.host("h")
    made.ip(LINKS)
    return made


def said(host: Host, *words: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(host.run("ip", "-j", "-d", "-N", *words).stdout)
    return rows


def spelled(rule: PolicyRule) -> dict[str, Any]:
    """Our rule in the words of `ip -N -j rule`."""
    row: dict[str, Any] = {"priority": rule.priority, "src": rule.src or "all", "protocol": str(rule.protocol)}
    if rule.src and rule.src_len != (128 if ":" in rule.src else 32):
        row["srclen"] = rule.src_len
    if rule.dst:
        row["dst"], row["dstlen"] = rule.dst, rule.dst_len
    if rule.invert:
        row["not"] = None
    if rule.tos:
        row["tos"] = f"{rule.tos:#x}"
    if rule.fwmark is not None:
        row["fwmark"] = f"{rule.fwmark:#x}" if rule.fwmark else "0"
        if rule.fwmask != 0xFFFFFFFF:
            row["fwmask"] = f"{rule.fwmask:#x}"
    for name in ("iif", "oif"):
        if getattr(rule, name):
            row[name] = getattr(rule, name)
        if getattr(rule, f"{name}_detached"):
            row[f"{name}_detached"] = None
    if rule.l3mdev:
        row["l3mdev"] = None
    if rule.uid_start is not None:
        row["uid_start"], row["uid_end"] = rule.uid_start, rule.uid_end
    if rule.ip_proto is not None:
        row["ipproto"] = f"ipproto-{rule.ip_proto}"
    for name in ("sport", "dport"):
        start, end = getattr(rule, f"{name}_start"), getattr(rule, f"{name}_end")
        if start is not None:
            row |= {name: start} if start == end else {f"{name}_start": start, f"{name}_end": end}
    if rule.tun_id is not None:
        row["tun_id"] = rule.tun_id
    if rule.table is not None:
        row["table"] = str(rule.table)
    if rule.suppress_prefixlength is not None:
        row["suppress_prefixlen"] = rule.suppress_prefixlength
    if rule.suppress_ifgroup is not None:
        row["suppress_ifgroup"] = str(rule.suppress_ifgroup)
    if rule.action == "goto":
        row["goto"] = rule.goto
        if rule.goto_unresolved:
            row["unresolved"] = None
    elif rule.action == "nop":
        row["nop"] = None
    elif rule.action != "lookup":
        row["action"] = {"blackhole": "6", "unreachable": "7", "prohibit": "8"}[rule.action]
    return row


@pytest.mark.parametrize(("family", "flag", "lines"), [("inet", "-4", RULES), ("inet6", "-6", RULES6)])
def test_every_rule_is_what_ip_says_it_is(host: Host, family: str, flag: str, lines: str) -> None:
    for line in (lines + OPTIONAL).strip().splitlines():
        host.run("ip", flag, *line.split(), check=line not in OPTIONAL)
    sink = RuleSink()
    result = host.inside_network(lambda: dump(requests.rules(family), sink))
    assert result.consistent
    theirs = said(host, flag, "rule", "show")
    for row in theirs:
        if row.get("goto") == "none":
            row["goto"] = None
    assert [spelled(rule) for rule in sink.rules] == theirs
    assert (sink.unknown, sink.malformed) == ({}, 0)
    assert not any(rule.unknown for rule in sink.rules)


def test_every_nexthop_is_what_ip_says_it_is(host: Host) -> None:
    for line in NEXTHOPS.strip().splitlines():
        host.run("ip", *line.split(), check="encap" not in line)
    sink = NexthopSink()
    host.inside_network(lambda: dump(requests.nexthops(), sink))
    names = {row["ifindex"]: row["ifname"] for row in said(host, "link")}
    theirs = json.loads(host.run("ip", "-j", "-d", "nexthop").stdout, object_pairs_hook=lambda p: dict(reversed(p)))
    assert [row["id"] for row in theirs] == [hop.id for hop in sink.nexthops]
    for row, hop in zip(theirs, sink.nexthops, strict=True):
        group = [{"id": member.id, "weight": member.weight} for member in hop.group]
        assert group == [{"weight": 1, **member} for member in row.get("group", [])]
        assert hop.gateway == row.get("gateway")
        assert names.get(hop.oif or 0) == row.get("dev")
        assert (hop.blackhole, hop.fdb) == ("blackhole" in row, "fdb" in row)
        assert hop.resilient == (row.get("type") == "resilient")
        assert bool(hop.flags & nl.RTNH_F_ONLINK) == ("onlink" in row["flags"])
        assert hop.encap == row.get("encap")
        assert hop.protocol == {"unspec": 0, "bird": 12}[row["protocol"]]
        assert hop.scope == {"global": 0, "link": 253, "host": 254}[row["scope"]]
    families = {hop.id: hop.family for hop in sink.nexthops}
    assert (families[1], families[3], families[7]) == ("inet", None, "inet6")
    assert (sink.unknown, sink.malformed) == ({}, 0)


def test_neighbours_are_what_ip_says_they_are(host: Host) -> None:
    host.ip("""
        neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev v0 nud permanent
        neigh add 10.0.0.3 lladdr 02:00:00:00:00:03 dev v0 nud stale protocol bird
        neigh add 10.0.0.4 dev v0 nud failed
        neigh add 2001:db8::2 lladdr 02:00:00:00:00:06 dev v0 nud reachable router
        neigh add 10.0.0.5 lladdr 02:00:00:00:00:05 dev v0 nud noarp extern_learn
        neigh add proxy 10.0.0.9 dev v0
        neigh add proxy 2001:db8::9 dev v1
    """)
    names = {row["ifindex"]: row["ifname"] for row in said(host, "link")}
    for words, proxy in ((("neigh", "show", "nud", "all"), False), (("neigh", "show", "proxy"), True)):
        sink = NeighbourColumns()
        host.inside_network(lambda proxy=proxy, sink=sink: dump(requests.neighbours(proxy=proxy), sink))  # type: ignore[misc]
        ours = {(row.dst, names[row.ifindex]): row for row in sink.finish().rows()}
        theirs = {(row["dst"], row["dev"]): row for row in said(host, "-s", *words)}
        assert set(ours) == set(theirs)
        for key, row in theirs.items():
            mine = ours[key]
            assert mine.proxy is proxy
            assert mine.lladdr == row.get("lladdr")
            assert mine.router == ("router" in row)
            assert mine.protocol == (int(row["protocol"]) if "protocol" in row else None)
            if not proxy:
                assert [mine.state.upper()] == row["state"]
                assert mine.updated is not None
                assert abs(mine.updated - row["updated"]) < 3
                assert mine.probes == row.get("probes", 0)
        assert (sink.unknown, sink.malformed, sink.skipped) == ({}, 0, 0)


def test_neighbour_tables_are_told_in_every_namespace(host: Host) -> None:
    host.sh(
        "echo 7 > /proc/sys/net/ipv4/neigh/v0/ucast_solicit; echo 2000 > /proc/sys/net/ipv4/neigh/v0/retrans_time_ms"
    )
    sink = NeighTableSink()
    host.inside_network(lambda: dump(requests.neighbour_tables(), sink))
    assert [(table.name, table.family) for table in sink.tables] == [("arp_cache", "inet"), ("ndisc_cache", "inet6")]
    for table in sink.tables:
        assert table.thresh1 is not None
        assert table.thresh2 is not None
        assert table.thresh3 is not None
        assert table.thresh1 <= table.thresh2 <= table.thresh3
        assert table.entries is not None
        assert table.table_fulls is not None
    index = next(row["ifindex"] for row in said(host, "link") if row["ifname"] == "v0")
    parms = {(row.family, row.ifindex): row.values for row in sink.parms}
    assert (parms["inet", index]["ucast_solicit"], parms["inet", index]["retrans_time_ms"]) == (7, 2000)
    assert parms["inet", 0]["ucast_solicit"] == 3
    assert (sink.unknown, sink.malformed) == ({}, 0)


def test_namespace_ids(lab: Lab, host: Host) -> None:
    other = lab.host("other")
    host.ip(f"link add away netns {other.netns_path} type veth peer name home")
    said(host, "link")  # a dump of links is what gives a peer's namespace its number
    sink = NetnsIdSink()
    host.inside_network(lambda: dump(requests.netns_ids(), sink))
    assert sink.ids == [row["nsid"] for row in said(host, "netns", "list-id")] != []


def test_a_batch_of_lookups_asks_the_kernel_itself(host: Host) -> None:
    host.ip("route add 198.51.100.0/24 via 10.0.0.2\nroute add unreachable 203.0.113.0/24")
    targets = [f"198.51.100.{number}" for number in range(1, 200)] + ["203.0.113.1", "192.0.2.1", "10.0.0.9"]
    import socket

    bodies = [requests.route_lookup("inet", socket.inet_aton(text), flags=nl.RTM_F_LOOKUP_TABLE) for text in targets]
    replies = host.inside_network(lambda: batch(nl.NETLINK_ROUTE, nl.RTM_GETROUTE, bodies))
    assert [reply.errno for reply in replies[-3:]] == [113, 101, 0], "EHOSTUNREACH, ENETUNREACH"
    sink = RouteColumns("inet")
    sink.feed(memoryview(b"".join(reply.octets for reply in replies)))
    rows = list(sink.finish().rows())
    assert [row.dst for row in rows] == [f"{text}/32" for text in [*targets[:199], "10.0.0.9"]]
    assert {row.gateway for row in rows[:-1]} == {"10.0.0.2"}
    assert (rows[-1].gateway, rows[-1].prefsrc, rows[-1].table) == (None, "10.0.0.1", 254)
    assert (sink.unknown, sink.malformed) == ({}, 0)


def test_a_kernel_that_refuses_says_why(host: Host) -> None:
    from netdiag.sources.netlink.messages import NetlinkError

    with pytest.raises(NetlinkError) as caught:
        host.inside_network(lambda: dump(requests.routes("inet", table=4242), RouteColumns("inet")))
    assert caught.value.extack == "ipv4: FIB table does not exist"
