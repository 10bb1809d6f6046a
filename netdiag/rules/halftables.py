"""Tables of a second uplink that lost their default route and kept the link's subnet, where the other family kept both.

Used by rule-references-empty-table. Pure; nothing can fail.
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

from netdiag.index.policy import Lookup, Query
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example

FEW = 16
"""Routes of a table that holds its link's subnets and no more."""
EVERYTHING = {"inet": "0.0.0.0/0", "inet6": "::/0"}


def half_tables(view: HostView, family: str, spared: set[object]) -> Iterator[tuple[PolicyRule, Route, Lookup]]:
    """A rule for an own address, a route that its table kept, and where the address's packets go instead.

    ``spared``: tables that are not looked at.
    """
    told: set[int] = set()
    for rule in view.rules:
        table = rule.table if rule.family == family else None
        if table is None or table in spared or table in told:
            continue
        rows = view.route_rows(family, view.fib(family).positions(table)[:FEW].tolist())
        links = {row.oif for row in rows}
        own = _own_source(view, rule, links)
        if own is None or len(rows) == FEW or not all(_of_a_link(row) for row in rows):
            continue
        answers = (view.lookup(Query(family=family, dst=one, src=own)) for one in specimens(EVERYTHING[family]))
        astray = next((one for one in answers if one.ok and not links & {hop.oif for hop in one.hops}), None)
        if astray is not None and links & _default_links(view, "inet6" if family == "inet" else "inet", table):
            told.add(table)
            yield rule, rows[0], astray


def _own_source(view: HostView, rule: PolicyRule, links: set[int | None]) -> str | None:
    """The address of this host that the rule selects (``from 10.1.0.1``), or one of the links' in its prefix."""
    if not rule.src_len or rule.invert:
        return None
    network = ipaddress.ip_network(f"{rule.src}/{rule.src_len}", strict=False)
    near = (row.local for row in view.addresses if row.local == rule.src or row.ifindex in links)
    return next((one for one in near if ipaddress.ip_address(one) in network), None)


def _of_a_link(row: Route) -> bool:
    """A route to what is on a link; one that refuses or has a gateway is not."""
    return not row.gateway and row.hops != ()


def _default_links(view: HostView, family: str, table: int) -> set[int | None]:
    """Interfaces of a table's default routes by a gateway."""
    positions = view.fib(family).positions(table)
    chosen = positions[view.routes(family).dst_len[positions] == 0]
    return {row.oif for row in view.route_rows(family, chosen.tolist()) if row.gateway}


def half_examples() -> Iterator[Example]:
    """The second uplink's table with its subnet and without its default route."""

    def case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    def uplinks(
        *, six: bool = True, default: bool = False, main: str = "eth0", dev: str = "eth1", **selector: Any
    ) -> HostBuilder:
        host = HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24")
        host.address("eth0", "2001:db8::1/64").address("eth1", "2001:db8:1::1/64")
        host.route("default", via="10.0.0.2" if main == "eth0" else "10.1.0.2", dev=main)
        host.route("10.1.0.0/24", dev="eth1", table=200)
        given: dict[str, Any] = {"src": "10.1.0.1", "src_len": 32, "table": 200} | selector
        host.rule(1000, **given)
        if six:
            host.route("default", via="2001:db8:1::2" if dev == "eth1" else "2001:db8::2", dev=dev, table=200)
        return host.route("default", via="10.1.0.2", dev="eth1", table=200) if default else host

    lost = uplinks().build()
    yield Example(
        name="its default route is gone",
        why="IPv6 has one there",
        tables=lost,
        fires=1,
        severity="warning",
        confidence="likely",
    )
    yield case("its default route is there", "the ordinary case", uplinks(default=True))
    yield case("nobody says that it had one", "a network without a gateway", uplinks(six=False))
    yield case("main goes the same way", "nothing goes wrong", uplinks(main="eth1"))
    yield case("the other family's goes elsewhere", "its table is for something else", uplinks(dev="eth0"))
    yield case("by a prefix", "the address is in it", uplinks(src="10.1.0.0", src_len=24), 1)
    yield case("by a prefix of somebody else", "nobody here sends with it", uplinks(src="10.2.0.0", src_len=24))
    yield case("by a prefix of the first uplink", "its packets belong there", uplinks(src="10.0.0.0", src_len=24))
    loose = uplinks(src="203.0.113.7", src_len=32).address("lo", "203.0.113.7/32")
    yield case("for a service's address", "it is on loopback", loose, 1)
    yield case("for all but the address", "the table is the others'", uplinks(invert=True))
    yield case("for every source", "nobody says whose uplink it is", uplinks(src=None, src_len=0))
    yield case(
        "two rules lead to it", "one table, told once", uplinks().rule(1001, src="10.1.0.1", src_len=32, table=200), 1
    )
    for count, fires in ((14, 1), (15, 0)):
        wide = uplinks()
        for number in range(count):
            wide.route(f"10.9.{number}.0/24", dev="eth1", table=200)
        yield case(f"its subnet and {count} more", "a table of that size has another purpose", wide, fires)
    for name, fields in (
        ("a way further", {"dst": "10.8.0.0/16", "via": "10.1.0.2", "dev": "eth1"}),
        ("a default route without a gateway", {"dst": "default", "dev": "eth1", "family": "inet"}),
        ("a hole", {"dst": "10.8.0.0/16", "type": "blackhole"}),
    ):
        more: dict[str, Any] = {"table": 200} | fields
        kept = uplinks().route(**more)
        yield case(f"it keeps {name}", "somebody chose what it holds", kept)
    plain = uplinks(six=False).route("default", dev="eth1", table=200, family="inet6")
    yield case("IPv6 without a gateway", "a tunnel of that family alone", plain)
    own = uplinks().without_routes(table=254).route("10.1.0.0/24", dev="eth1").route("10.0.0.0/24", dev="eth0")
    yield case("and no way by another", "rule and table decide nothing then", own)
    for name, table, links in (("main", 254, ()), ("a VRF's table", 300, ("blue",))):
        host = HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24")
        for link in links:
            host.link(link, kind="vrf", info={"table": table})
        host.address("eth1", "2001:db8:1::1/64").route("default", via="2001:db8:1::2", dev="eth1", table=table)
        host.route("10.1.0.0/24", dev="eth1", table=table).rule(1000, src="10.1.0.1", src_len=32, table=table)
        host.route("default", via="10.0.0.2", dev="eth0", table=400).rule(40000, table=400)
        yield case(f"in {name}", "it is no second uplink's", host)
    other = uplinks(default=True).without_rule(1000).without_routes(table=200)
    other.route("10.1.0.0/24", dev="eth1", table=200).rule(
        1000, family="inet6", src="2001:db8:1::1", src_len=128, table=200
    )
    yield case("a rule of IPv6 alone", "IPv4 has no business there", other)
    six = uplinks(default=True, six=False).route("2001:db8:1::/64", dev="eth1", table=200)
    six.route("default", via="2001:db8::2", dev="eth0")
    six.rule(1000, family="inet6", src="2001:db8:1::1", src_len=128, table=200)
    yield case("IPv6 lost its own", "IPv4 has one there", six, 1)
