"""Routes of a rich namespace, decoded, against what `ip -j route` says of the same namespace."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netdiag.model.route import RT_SCOPE_NAMES, RTPROT_NAMES, Route
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.routes import RouteColumns
from netdiag.sources.netlink.transport import dump
from tests.lab import Host, Lab, wait_until

LINKS = """
    link add v0 type veth peer name v1
    link set v0 up
    link set v1 up
    address add 10.0.0.1/24 dev v0
    address add 10.0.1.1/24 dev v1
    address add 2001:db8::1/64 dev v0 nodad
    address add 2001:db8:1::1/64 dev v1 nodad
"""
NEXTHOPS = """
    nexthop add id 1 via 10.0.0.7 dev v0
    nexthop add id 2 via 10.0.1.7 dev v1
    nexthop add id 3 group 1,2/2,5
    nexthop add id 4 blackhole
    nexthop add id 7 via 2001:db8::7 dev v0
"""
ROUTES = """
    route add default via 10.0.0.2 metric 100
    route add 192.0.2.0/24 via 10.0.0.3 src 10.0.0.1 proto bird metric 32
    route add 192.0.2.0/24 via 10.0.0.3 tos 0x10
    route add 198.51.100.0/24 nexthop via 10.0.0.4 weight 3 nexthop via 10.0.1.5 dev v1 weight 7 onlink
    route add 198.51.101.0/24 nexthop via inet6 2001:db8::4 dev v0 weight 256 nexthop via 10.0.1.5
    route add blackhole 203.0.113.0/24 metric 4294967295
    route add unreachable 203.0.114.0/24
    route add prohibit 203.0.115.0/24
    route add throw 203.0.116.0/24 table 77
    route add 203.0.117.0/24 dev v0 table 4294967295 mtu lock 1400 advmss 1300 initcwnd 20 hoplimit 33 rto_min 5ms
    route add 203.0.127.0/24 dev v0 congctl reno
    route add 203.0.118.0/24 via 172.16.0.1 dev v0 onlink
    route add 203.0.119.0/24 via inet6 2001:db8::99 dev v0
    route add 203.0.120.0/24 via 10.0.0.9 realms 5/6
    route add 203.0.121.0/24 nhid 3
    route add 203.0.122.0/24 nhid 4
    route add 203.0.123.0/24 nhid 1
    route add 203.0.125.0/24 nhid 7
    route add default via 2001:db8::2 metric 50 pref high
    route add 2001:db8:6::/48 via fe80::1 dev v0 expires 1000 mtu 1400
    route add 2001:db8:9::/48 nexthop via 2001:db8::4 nexthop via 2001:db8:1::4 weight 5
    route add blackhole 2001:db8:a::/48 table 12345
    route add 2001:db8:b::/48 nhid 7
    route add unreachable 2001:db8:c::/48
    route add throw 2001:db8:d::/48 table 5
"""
OPTIONAL = """
    -6 route add 2001:db8:7::/48 from 2001:db8:8::/48 via 2001:db8::9
    route add 203.0.124.0/24 encap ip id 5 dst 10.0.0.99 dev v0
    route add 203.0.126.0/24 encap mpls 100 via 10.0.0.2
    -6 route add 2001:db8:5::/48 encap seg6 mode encap segs 2001:db8::5 dev v0
    -6 route add 2001:db8:e::/48 encap ip6 id 5 dst 2001:db8::1 dev v0
"""
"""What a kernel may be built without."""

FLAGS = {1: "dead", 2: "pervasive", 4: "onlink", 8: "offload", 16: "linkdown", 32: "unresolved", 64: "trap"}


def flags(bits: int) -> list[str]:
    return [name for bit, name in FLAGS.items() if bits & bit]


def table_name(number: int) -> str:
    return {253: "default", 254: "main", 255: "local"}.get(number, str(number))


def via(gateway: str, family: str) -> dict[str, Any]:
    """A gateway as `ip` prints it: by itself, or with its family where that is not the route's."""
    other = "inet6" if ":" in gateway else "inet"
    return {"gateway": gateway} if other == family else {"via": {"family": other, "host": gateway}}


def prefix(text: str) -> str:
    """`ip` says default, and leaves out the length of a host."""
    if text in ("0.0.0.0/0", "::/0"):
        return "default"
    return text.removesuffix("/128" if ":" in text else "/32")


def spelled(route: Route, names: dict[int, str]) -> dict[str, Any]:
    """Our row in the words of `ip -j -d route`."""
    row: dict[str, Any] = {"type": route.type, "dst": prefix(route.dst), "table": table_name(route.table)}
    row["protocol"] = RTPROT_NAMES[route.protocol]
    row["scope"] = RT_SCOPE_NAMES[route.scope]
    row["flags"] = flags(route.flags)
    if route.priority or route.family == "inet6":
        row["metric"] = route.priority
    if route.tos:
        row["tos"] = f"{route.tos:#x}"
    if route.oif:
        row["dev"] = names[route.oif]
    if route.gateway:
        row |= via(route.gateway, route.family)
    if route.prefsrc:
        row["prefsrc"] = route.prefsrc
    if route.nh_id:
        row["nhid"] = route.nh_id
    if route.expires is not None:
        row["expires"] = route.expires
    extra = route.extra
    if route.family == "inet6":
        row["pref"] = {0: "medium", 1: "high", 3: "low"}[extra.pref if extra else 0]
    if extra is None:
        return row
    if extra.metrics:
        row["metrics"] = {key: value for key, value in extra.metrics.items() if key != "lock"}
    if extra.encap:
        row["encap"] = extra.encap
    if extra.src:
        row["from"] = f"{extra.src}/{extra.src_len}"
    if extra.multipath:
        row["nexthops"] = [
            {
                "dev": names[hop.oif],
                "weight": hop.weight,
                "flags": flags(hop.flags),
                **via(hop.gateway or "", route.family),
            }
            for hop in extra.multipath
        ]
    return row


KEPT = {"type", "dst", "table", "protocol", "scope", "flags", "metric", "tos", "dev", "gateway", "via", "prefsrc"}
KEPT |= {"nhid", "expires", "pref", "metrics", "encap", "from", "nexthops"}


def heard(family: str, host: Host) -> list[dict[str, Any]]:
    """What `ip` says, without what netdiag does not keep (realms, the insides of a tunnel, nexthops resolved)."""
    text = host.run("ip", family, "-j", "-d", "route", "show", "table", "all").stdout
    # The dst, tos and src of a tunnel come as second keys of the same name in one object: the first is the route's.
    printed = json.loads(text, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    rows = []
    for line in printed:
        row = {key: value for key, value in line.items() if key in KEPT}
        if row.get("tos") == 0:
            del row["tos"]  # the tunnel's
        for metrics in row.get("metrics", []):
            # ip prints rto_min in milliseconds as the kernel has it, and the congestion control by name
            row["metrics"] = {key: value for key, value in metrics.items() if key != "congestion"}
        if not row.get("metrics", True):
            del row["metrics"]
        rows.append(row)
    return rows


def dumped(host: Host, family: str) -> tuple[list[Route], RouteColumns]:
    sink = RouteColumns(family)
    result = host.inside_network(lambda: dump(requests.routes(family), sink))
    assert (result.consistent, result.detail) == (True, "")
    return list(sink.finish().rows()), sink


def ordered(rows: list[dict[str, Any]]) -> list[str]:
    """Rows as sorted text; a countdown may lose a second between the two looks."""
    texts = []
    for row in rows:
        if "expires" in row:
            assert 0 < row["expires"] <= 1000
            row = row | {"expires": "soon"}
        texts.append(json.dumps(row, sort_keys=True))
    return sorted(texts)


@pytest.fixture
def host(lab: Lab) -> Host:
    made = lab.host("r1")
    made.ip(LINKS + NEXTHOPS + ROUTES)
    for line in OPTIONAL.strip().splitlines():
        made.run("ip", *line.split(), check=False)
    return made


@pytest.mark.parametrize(("family", "flag"), [("inet", "-4"), ("inet6", "-6")])
def test_every_route_is_what_ip_says_it_is(host: Host, family: str, flag: str) -> None:
    names = {row["ifindex"]: row["ifname"] for row in json.loads(host.run("ip", "-j", "link").stdout)}
    rows, sink = dumped(host, family)
    assert ordered([spelled(row, names) for row in rows]) == ordered(heard(flag, host))
    assert (sink.unknown, sink.malformed, sink.skipped) == ({}, 0, 0)


def test_what_ip_does_not_print(host: Host) -> None:
    rows = {row.dst: row for row in dumped(host, "inet")[0] if not row.tos}
    locked = rows["203.0.117.0/24"].extra
    assert locked is not None
    assert locked.metrics["lock"] == 1 << 2 | 1 << 13, "RTAX_MTU, and RTAX_RTO_MIN which ip always locks"
    assert rows["203.0.117.0/24"].table == 4294967295
    assert rows["203.0.120.0/24"].extra is None, "realms are known and of no use"
    heavy = rows["198.51.101.0/24"].extra
    assert heavy is not None
    assert [hop.weight for hop in heavy.multipath] == [256, 1]


def test_routes_of_one_table_and_of_one_origin(host: Host) -> None:
    def count(**only: int) -> list[str]:
        sink = RouteColumns("inet")
        host.inside_network(lambda: dump(requests.routes("inet", **only), sink))
        return [row.dst for row in sink.finish().rows()]

    assert count(table=77) == ["203.0.116.0/24"]
    assert count(protocol=12) == ["192.0.2.0/24"]


def test_flags_follow_the_carrier(host: Host) -> None:
    host.ip("link set v1 down")

    def hops() -> list[list[str]]:
        rows = {row.dst: row for row in dumped(host, "inet")[0] if not row.tos}
        several = rows["198.51.100.0/24"].extra
        assert several is not None
        return [flags(rows["203.0.118.0/24"].flags), *[flags(hop.flags) for hop in several.multipath]]

    # The kernel tells a lost carrier to the routes from a work queue, up to a second later (net/core/link_watch.c).
    wanted = [["onlink", "linkdown"], ["linkdown"], ["dead", "onlink", "linkdown"]]
    wait_until(lambda: hops() == wanted, what="linkdown on the hops over v0")
