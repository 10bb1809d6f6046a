"""Connected subnets: which routes count, which lie inside which, and which interfaces share a wire."""

from typing import Any

from netdiag.index.subnets import connected, overlaps, segment
from netdiag.index.view import HostIndex, HostView
from netdiag.model.route import RTNH_F_DEAD, RTNH_F_LINKDOWN
from netdiag.model.snapshot import Meta
from netdiag.rules.build import HostBuilder

META = Meta(netdiag="test", name="host", kernel="6", netns="1", taken_at="2026-01-01T00:00:00Z")


def view_of(host: HostBuilder) -> HostView:
    return HostView(HostIndex(host.build()), META, ("links", "addresses", "routes"))


def names(host: HostBuilder, family: str = "inet") -> list[str]:
    return [f"{subnet.network} {subnet.link.ifname}" for subnet in connected(view_of(host), family)]


def routed(**fields: Any) -> HostBuilder:
    return HostBuilder().link("eth0").route("10.0.0.0/25", dev="eth0", **({"protocol": 2, "scope": 253} | fields))


def test_only_the_kernels_own_unicast_routes_count() -> None:
    assert names(routed()) == ["10.0.0.0/25 eth0"]
    assert names(routed(protocol=4)) == []
    assert names(routed(type="blackhole")) == []
    assert names(routed(via="10.0.0.9")) == []
    assert names(HostBuilder().route("10.0.0.0/25", protocol=2)) == []
    assert names(HostBuilder().link("eth0").route("default", dev="eth0", protocol=2)) == []


def test_a_subnet_without_carrier_counts_unless_it_is_ignored() -> None:
    assert names(routed(flags=RTNH_F_LINKDOWN)) == ["10.0.0.0/25 eth0"]
    assert names(routed(flags=RTNH_F_LINKDOWN | RTNH_F_DEAD)) == []
    assert names(routed(flags=RTNH_F_DEAD)) == ["10.0.0.0/25 eth0"]


def test_interfaces_that_carry_nothing_do_not_count() -> None:
    down = HostBuilder().link("eth0", up=False).route("10.0.0.0/25", dev="eth0", protocol=2)
    assert names(down) == []
    assert names(HostBuilder().route("10.0.0.0/25", dev="lo", protocol=2)) == []


def test_host_routes_and_link_local_ranges_do_not_count() -> None:
    host = HostBuilder().link("eth0")
    for address in ("10.0.0.1/30", "10.0.1.1/31", "10.0.2.1/32", "169.254.1.1/16", "169.254.9.1/30"):
        host.address("eth0", address)
    for address in ("2001:db8::1/126", "2001:db8:1::1/127", "2001:db8:2::1/128", "fe80::1/64"):
        host.address("eth0", address)
    assert names(host) == ["10.0.0.0/30 eth0"]
    assert names(host, "inet6") == ["2001:db8::/126 eth0"]


def test_a_subnet_knows_the_address_that_brought_it() -> None:
    host = HostBuilder().link("eth0").link("eth1").address("eth1", "10.0.0.9/24")
    host.address("eth0", "10.0.0.129/25").address("eth0", "10.0.0.1/24").address("eth0", "2001:db8::1/64")
    v4 = {f"{row.network} {row.link.ifname}": row.address for row in connected(view_of(host), "inet")}
    assert {key: row.local for key, row in v4.items() if row} == {
        "10.0.0.0/24 eth1": "10.0.0.9",
        "10.0.0.128/25 eth0": "10.0.0.129",
        "10.0.0.0/24 eth0": "10.0.0.1",
    }
    (v6,) = connected(view_of(host), "inet6")
    assert v6.address is not None
    assert v6.address.local == "2001:db8::1"
    (bare,) = connected(view_of(routed()), "inet")
    assert bare.address is None


def around(host: HostBuilder) -> dict[str, list[str]]:
    found = overlaps(connected(view_of(host), "inet"))
    return {
        f"{row.network} {row.link.ifname}": [f"{outer.network} {outer.link.ifname}" for outer in outers]
        for row, outers in found
    }


def test_subnets_lie_inside_those_that_hold_them_whole() -> None:
    host = HostBuilder().link("a").link("b").link("c").link("d").link("e")
    host.address("b", "10.1.2.1/24").address("a", "10.0.0.1/8").address("c", "10.1.0.1/16").address("d", "10.2.0.1/16")
    assert around(host.address("e", "11.0.0.1/8")) == {
        "10.0.0.0/8 a": [],
        "10.1.0.0/16 c": ["10.0.0.0/8 a"],
        "10.1.2.0/24 b": ["10.1.0.0/16 c", "10.0.0.0/8 a"],
        "10.2.0.0/16 d": ["10.0.0.0/8 a"],
        "11.0.0.0/8 e": [],
    }


def test_of_equal_subnets_the_one_with_the_lower_metric_comes_first() -> None:
    host = HostBuilder().link("a").link("b").link("c")
    for ifname, metric in (("a", 9), ("b", 0), ("c", 9)):
        host.route("10.0.0.0/24", dev=ifname, protocol=2, priority=metric)
    assert around(host) == {
        "10.0.0.0/24 b": [],
        "10.0.0.0/24 a": ["10.0.0.0/24 b"],
        "10.0.0.0/24 c": ["10.0.0.0/24 a", "10.0.0.0/24 b"],
    }


def test_tables_do_not_meet() -> None:
    host = HostBuilder().link("a").link("b").route("10.0.0.0/24", dev="a", protocol=2)
    assert around(host.route("10.0.0.0/25", dev="b", protocol=2, table=10)) == {
        "10.0.0.0/24 a": [],
        "10.0.0.0/25 b": [],
    }


def test_a_thousand_equal_subnets_are_looked_at_by_the_few() -> None:
    host = HostBuilder()
    for number in range(1000):
        host.link(f"tap{number}").route("10.0.0.0/24", dev=f"tap{number}", protocol=2)
    assert max(len(outers) for outers in around(host).values()) == 8


def wire(host: HostBuilder, ifname: str) -> tuple[str, int]:
    view = view_of(host)
    return segment(view, view.stack.by_name[ifname])


def test_children_of_one_card_share_its_wire() -> None:
    host = HostBuilder().link("eth0").link("mv0", kind="macvlan", link="eth0").link("iv0", kind="ipvlan", link="eth0")
    host.link("eth0.5", kind="vlan", link="eth0").link("mv9", kind="macvlan", link=2, link_netnsid=1)
    assert wire(host, "mv0") == wire(host, "iv0") == wire(host, "eth0")
    assert wire(host, "eth0.5") != wire(host, "eth0")
    assert wire(host, "mv9") != wire(host, "eth0")


def test_a_cable_is_one_wire_with_what_it_is_plugged_into() -> None:
    host = HostBuilder().link("br0", kind="bridge").link("red", kind="vrf")
    host.link("a", kind="veth", link=5).link("b", kind="veth", link=4)
    host.link("c", kind="veth", link=7).link("d", kind="veth", link=6, master="br0")
    host.link("e", kind="veth", link=9).link("f", kind="veth", link=8, master="red")
    assert wire(host, "a") == wire(host, "b")
    assert wire(host, "c") == wire(host, "br0")
    assert wire(host, "e") == wire(host, "f")
    assert len({wire(host, ifname) for ifname in ("a", "c", "e")}) == 3


def test_far_ends_elsewhere_are_no_relations() -> None:
    host = HostBuilder().link("a", kind="veth").link("b", kind="veth").peer("a", ifindex=3).peer("b", ifindex=2)
    assert wire(host, "a") != wire(host, "b")
