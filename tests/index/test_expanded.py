"""netdiag.index.expanded: a dump that names nexthop objects alone says the same as one that expands them."""

import pytest

from netdiag.index.expanded import bare, with_hops
from netdiag.model.nexthop import NexthopMember
from netdiag.model.route import RTNH_F_DEAD, RTNH_F_LINKDOWN, RTNH_F_ONLINK, Route
from netdiag.rules.build import HostBuilder


def host(**route: object) -> HostBuilder:
    """Objects 1 to 5 over two cards; a route over one of them, and one that names its hop itself."""
    built = HostBuilder().link("eth0").link("eth1").address("eth0", "192.0.2.2/24").address("eth1", "2001:db8::2/64")
    built.nexthop(1, oif="eth0", gateway="192.0.2.1", family="inet", flags=RTNH_F_ONLINK)
    built.nexthop(2, oif="eth1", gateway="2001:db8::1", family="inet6")
    built.nexthop(3, group=(NexthopMember(id=1, weight=3), NexthopMember(id=2)))
    built.nexthop(4, oif="eth0", gateway="192.0.2.9", family="inet", flags=RTNH_F_LINKDOWN)
    built.nexthop(5, oif="eth0")
    built.route("203.0.113.0/24", via="192.0.2.7", dev="eth0").route("2001:db8:7::/48", via="2001:db8::7", dev="eth1")
    return built.route("198.51.100.0/24", **route)  # type: ignore[arg-type]


def row(built: HostBuilder, dst: str = "198.51.100.0/24") -> Route:
    tables = with_hops(built.build())
    return next(row for table in (tables.routes, tables.routes6) for row in table.rows() if row.dst == dst)


def test_a_route_over_an_object_has_its_hop() -> None:
    found = row(host(nh_id=1))
    assert (found.oif, found.gateway, found.nh_id, found.flags & 0xFF) == (2, "192.0.2.1", 1, RTNH_F_ONLINK)
    assert (row(host(nh_id=5)).oif, row(host(nh_id=5)).gateway) == (2, None)


def test_a_gateway_of_the_other_family_is_one_as_well() -> None:
    found = row(host(nh_id=2, metrics={"mtu": 1400}))
    assert (found.oif, found.gateway) == (3, "2001:db8::1")
    assert found.extra is not None and found.extra.metrics == {"mtu": 1400} and found.extra.via == "2001:db8::1"


def test_a_group_has_all_its_hops() -> None:
    found = row(host(nh_id=3))
    assert [(hop.oif, hop.gateway, hop.weight) for hop in found.hops] == [(2, "192.0.2.1", 3), (3, "2001:db8::1", 1)]


@pytest.mark.parametrize(("ignored", "flags"), [(0, RTNH_F_LINKDOWN), (1, RTNH_F_LINKDOWN | RTNH_F_DEAD)])
def test_an_object_without_carrier_is_dead_where_that_is_heeded(ignored: int, flags: int) -> None:
    built = host(nh_id=4).sysctl("net.ipv4.conf.eth0.ignore_routes_with_linkdown", ignored)
    assert row(built).flags & 0xFF == flags


def test_ipv6_routes_too() -> None:
    found = row(host(nh_id=1).route("2001:db8:9::/48", nh_id=2), "2001:db8:9::/48")
    assert (found.oif, found.gateway) == (3, "2001:db8::1")


def test_what_needs_nothing_stays_as_it_is() -> None:
    tables = host(nh_id=1, via="192.0.2.1", dev="eth0").build()
    assert not bare(tables.routes).any() and with_hops(tables) is tables
    unknown = host(nh_id=99).build()
    assert [r.oif for r in with_hops(unknown).routes.rows()] == [r.oif for r in unknown.routes.rows()]
    assert row(host(nh_id=1), "203.0.113.0/24").gateway == "192.0.2.7"
