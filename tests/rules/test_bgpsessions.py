"""What the rules about BGP sessions share: times, commands for a shell, and what a session needs."""

from datetime import datetime
from typing import Any

import pytest

from netdiag.index.view import HostView, views_of
from netdiag.model.finding import subject
from netdiag.model.snapshot import Meta, Snapshot
from netdiag.rules.bgpsessions import Session, bird_name, birdc, moment, sessions, touched, way
from netdiag.rules.build_bird import BirdHost

NOW = datetime(2026, 1, 2, 12, 0, 0)
READS = ("bird", "links", "addresses", "routes", "rules", "sysctls", "neighbours", "wireguard")
META = Meta(netdiag="test", name="x", kernel="6.8.0", netns="1", taken_at="2026-01-01T00:00:00Z", uptime=1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02 11:59:58.123", datetime(2026, 1, 2, 11, 59, 58, 123000)),
        ("2026-01-02T11:59:58", datetime(2026, 1, 2, 11, 59, 58)),
        ("11:59:58.123", datetime(2026, 1, 2, 11, 59, 58, 123000)),
        ("12:01:00", datetime(2026, 1, 2, 12, 1, 0)),
        ("12:01:01", datetime(2026, 1, 1, 12, 1, 1)),
        ("11:58", datetime(2026, 1, 2, 11, 58, 59)),
        ("2025-12-31", datetime(2026, 1, 1)),
        ("2026-01-02", datetime(2026, 1, 2, 11)),
        ("2027-05-05 01:00:00", datetime(2027, 5, 5, 1)),
        ("2026-02-31", None),
        ("99:99:99", None),
        ("9999-12-31", None),
        ("02-01-2026", None),
        ("", None),
        (None, None),
    ],
)
def test_times_as_bird_prints_them(text: str | None, expected: datetime | None) -> None:
    assert moment(text, NOW) == expected


def test_a_time_of_the_day_needs_a_clock() -> None:
    assert moment("11:59:58", None) is None
    assert moment("2026-01-02 11:59:58", None) == datetime(2026, 1, 2, 11, 59, 58)


@pytest.mark.parametrize(
    ("socket", "words", "expected"),
    [
        ("/run/bird/bird.ctl", "show protocols all up1", "birdc show protocols all up1"),
        ("/run/bird/b 2.ctl", "show status", "birdc -s '/run/bird/b 2.ctl' show status"),
        ("/run/bird/bird.ctl", "restart 'up-1:x'", "birdc \"restart 'up-1:x'\""),
        ("/run/bird/bird.ctl", "restart '$(id)'", "birdc 'restart '\"'\"'$(id)'\"'\"''"),
        ("/run/bird/bird.ctl", "restart 'a\nb'", "birdc $'restart \\x27a\\x0ab\\x27'"),
    ],
)
def test_commands_can_be_pasted(socket: str, words: str, expected: str) -> None:
    assert birdc(socket, words) == expected


def test_names_are_quoted_for_bird_where_they_must_be() -> None:
    assert bird_name("up_1") == "up_1"
    assert bird_name("up-1") == "'up-1'"
    assert bird_name("1up") == "'1up'"


def _touched(host: BirdHost) -> list[dict[str, Any]]:
    index = views_of(Snapshot(meta=META, tables=host.build(), coverage=()))
    view = HostView(index, META, READS)
    session: Session = next(sessions(view))
    return [dict(thing) for thing in touched(view, session, way(view, session))]


def test_a_session_needs_the_way_to_its_neighbour() -> None:
    host = BirdHost().bgp("up1")
    host.link("eth0").link("eth0.5", kind="vlan", link="eth0").address("eth0.5", "192.0.2.2/24")
    assert _touched(host) == [
        subject("link", ifname="eth0.5"),
        subject("link", ifname="eth0"),
        subject("neighbour", dst="192.0.2.1", ifname="eth0.5"),
        subject("route", dst="192.0.2.0/24", table=254, ifname="eth0.5"),
        subject("route", dst="192.0.2.0/24", table=254),
    ]


def test_a_session_over_a_gateway_needs_the_gateway() -> None:
    host = BirdHost().bgp("up1", neighbor_address="2001:db8:9::1")
    host.link("eth0").address("eth0", "2001:db8::2/64").route("default", via="2001:db8::1", dev="eth0")
    found = _touched(host)
    assert subject("neighbour", dst="2001:db8::1", ifname="eth0") in found
    assert subject("route", dst="::/0", table=254, ifname="eth0") in found


@pytest.mark.parametrize(("ports", "under"), [(1, ["br0", "p0"]), (2, ["br0"])])
def test_only_the_single_port_of_a_bridge_must_work(ports: int, under: list[str]) -> None:
    host = BirdHost().bgp("up1")
    host.link("br0", kind="bridge").address("br0", "192.0.2.2/24")
    for number in range(ports):
        host.link(f"p{number}", master="br0")
    links = [thing["ifname"] for thing in _touched(host) if thing["kind"] == "link"]
    assert links == under


def test_every_leg_of_a_bond_is_needed() -> None:
    host = BirdHost().bgp("up1")
    host.link("bond0", kind="bond").address("bond0", "192.0.2.2/24")
    host.link("p0", master="bond0").link("p1", master="bond0")
    assert [thing["ifname"] for thing in _touched(host) if thing["kind"] == "link"] == ["bond0", "p0", "p1"]


def test_a_neighbour_out_of_reach_needs_a_default_route() -> None:
    assert _touched(BirdHost().bgp("up1")) == [subject("route", dst="0.0.0.0/0", table=254)]
    six = BirdHost().bgp("up1", neighbor_address="2001:db8::1")
    assert _touched(six) == [subject("route", dst="::/0", table=254)]


def test_a_neighbour_on_a_subnet_of_an_interface_that_is_down_needs_that() -> None:
    host = BirdHost().bgp("up1")
    host.link("eth0", up=False).address("eth0", "192.0.2.2/24").link("eth1").address("eth1", "198.51.100.2/24")
    near = subject("neighbour", dst="192.0.2.1", ifname="eth0")
    assert _touched(host) == [subject("link", ifname="eth0"), near]


def test_a_link_local_neighbour_needs_the_interface_named_with_it() -> None:
    host = BirdHost().bgp("up1", neighbor_address="fe80::1", neighbor_ifname="eth1")
    host.link("eth0", up=False).address("eth0", "fe80::2/64").link("eth1").address("eth1", "fe80::2/64")
    assert subject("link", ifname="eth1") in _touched(host)
    assert subject("link", ifname="eth0") not in _touched(host)


def test_a_session_in_a_vrf_is_looked_up_there() -> None:
    host = BirdHost().bgp("up1", other={"VRF": "red"})
    host.link("red", kind="vrf", info={"table": 10}).link("eth0", master="red").link("eth1")
    host.address("eth1", "192.0.2.3/24").route("192.0.2.0/24", dev="eth0", table=10, scope=253)
    host.rule(1000, l3mdev=True, table=None)
    assert subject("link", ifname="eth0") in _touched(host)
    assert subject("link", ifname="eth1") not in _touched(host)


def test_an_address_that_is_none_needs_nothing() -> None:
    assert _touched(BirdHost().bgp("up1", neighbor_address="somewhere")) == []
    assert _touched(BirdHost().bgp("up1", neighbor_address=None)) == []
