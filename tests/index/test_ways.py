"""The distinct ways of a route table against the plain walk over its rows, and who competes with whom."""

from __future__ import annotations

import random

import numpy as np
import pytest

from netdiag.index.fib import Fib
from netdiag.index.ways import rivals, taken, usable, ways
from netdiag.model.nexthop import Nexthop, NexthopMember
from netdiag.model.route import RTNH_F_DEAD, RTNH_F_LINKDOWN, Route, RouteExtra, RouteHop, routes_from_rows


def route(dst: str, **fields: object) -> Route:
    v4 = ":" not in dst
    plain = {"table": 254, "type": "unicast", "protocol": 3, "scope": 0, "priority": 0, "tos": 0, "flags": 0}
    empty = dict.fromkeys(("oif", "gateway", "prefsrc", "nh_id", "expires", "extra"))
    return Route(family="inet" if v4 else "inet6", dst=dst, **(plain | empty | fields))  # type: ignore[arg-type]


def random_routes(chance: random.Random, v4: bool, count: int) -> list[Route]:
    """Routes over a few dozen next hops: single, multipath, of the other family, with metrics, of several types."""
    own = [f"192.0.2.{n}" if v4 else f"fe80::{n}" for n in range(1, 6)]
    other = ["fe80::77"] if v4 else ["192.0.2.77"]

    def hop() -> RouteHop:
        flags = chance.choice([0, 0, RTNH_F_LINKDOWN, RTNH_F_DEAD])
        return RouteHop(oif=chance.randrange(1, 5), gateway=chance.choice([None, *own]), flags=flags)

    rows = []
    for number in range(count):
        dst = f"10.{number >> 8}.{number & 255}.0/24" if v4 else f"2001:db8:{number:x}::/48"
        kind, table = chance.choice(["unicast"] * 5 + ["blackhole"]), chance.choice([254, 254, 100])
        if chance.random() < 0.2:
            extra = RouteExtra(multipath=(hop(), hop()))
            rows.append(route(dst, table=table, type=kind, extra=extra))
            continue
        metrics = chance.choice([None, RouteExtra(metrics={"mtu": 1400})])
        gateway = chance.choice([*own, *other, None])
        flags = chance.choice([0, RTNH_F_LINKDOWN])
        oif = chance.randrange(1, 5)
        rows.append(route(dst, table=table, type=kind, oif=oif, gateway=gateway, flags=flags, extra=metrics))
    return rows


@pytest.mark.parametrize("v4", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_every_hop_of_every_route_is_found_once(v4: bool, seed: int) -> None:
    rows = random_routes(random.Random(seed), v4, 600)
    table = routes_from_rows("inet" if v4 else "inet6", rows)
    expected = sorted(
        (at, row.table, hop.oif, hop.gateway or "", hop.flags)
        for at, row in enumerate(rows)
        if row.type == "unicast"
        for hop in row.hops
    )
    found = list(ways(table))
    listed = sorted(
        (at, way.table, way.hop.oif, way.hop.gateway or "", way.hop.flags)
        for way in found
        for at in way.positions.tolist()
    )
    assert listed == expected
    singles = [(way.table, way.hop) for way in found if len(way.legs) == 1]
    assert len(singles) == len(set(map(repr, singles))), "a way is given once"
    assert len(singles) > 16, "more ways than are taken off one by one"
    assert all((np.diff(way.positions) > 0).all() for way in found), "dump order"


def test_chosen_rows_only() -> None:
    table = routes_from_rows("inet", [route("10.0.0.0/8", oif=1), route("11.0.0.0/8", oif=2)])
    assert [way.hop.oif for way in ways(table, (), np.array([False, True]))] == [2]
    assert list(ways(routes_from_rows("inet", []))) == []


def test_nexthop_objects_are_resolved_where_the_route_only_names_them() -> None:
    objects = [
        Nexthop(id=1, gateway="192.0.2.1", oif=1),
        Nexthop(id=2, gateway="192.0.2.2", oif=2, flags=RTNH_F_LINKDOWN),
        Nexthop(id=3, blackhole=True),
        Nexthop(id=9, group=(NexthopMember(id=1, weight=3), NexthopMember(id=2), NexthopMember(id=77))),
    ]
    rows = [
        route("10.0.0.0/8", nh_id=1),
        route("11.0.0.0/8", nh_id=9),
        route("12.0.0.0/8", nh_id=3),
        route("13.0.0.0/8", nh_id=5),
        route("14.0.0.0/8", nh_id=1, oif=4, gateway="192.0.2.4"),
    ]
    found = [
        (int(way.positions[0]), way.hop.oif, way.hop.weight, way.linkdown, len(way.legs))
        for way in ways(routes_from_rows("inet", rows), objects)
    ]
    assert sorted(found) == [(0, 1, 1, False, 1), (1, 1, 3, False, 2), (1, 2, 1, True, 2), (4, 4, 1, False, 1)]


def test_rivals_stand_in_the_kernels_order() -> None:
    rows = [
        route("0.0.0.0/0", oif=1, priority=20),
        route("10.0.0.0/8", oif=1, priority=10),
        route("10.0.0.0/8", oif=2, priority=0),
        route("10.0.0.0/8", oif=3, priority=20),
        route("10.0.0.0/8", oif=3, priority=20, tos=8),
        route("10.0.0.0/8", oif=4, priority=5, table=100),
        route("10.0.0.0/16", oif=5),
    ]
    fib = Fib(routes_from_rows("inet", rows))
    found = rivals(fib, 1)
    assert (found.before, found.after, found.shorter) == ([2], [3], [0])
    assert rivals(fib, 6).shorter == [4, 2, 1, 3, 0]
    assert rivals(fib, 0).shorter == []


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ({"flags": RTNH_F_DEAD}, True),
        ({"flags": RTNH_F_DEAD | RTNH_F_LINKDOWN}, True),
        ({"flags": RTNH_F_LINKDOWN}, False),
        ({}, False),
        ({"type": "unreachable", "oif": None}, False),
        ({"type": "throw", "oif": None}, False),
        ({"oif": None, "nh_id": 7}, False),
    ],
)
def test_a_route_is_taken_when_all_before_it_are_dead(first: dict[str, object], expected: bool) -> None:
    rows = [route("2001:db8::/32", **({"oif": 1, "priority": 1} | first)), route("2001:db8::/32", oif=2, priority=2)]
    fib = Fib(routes_from_rows("inet6", rows))
    assert taken(fib, 0)
    assert taken(fib, 1) is expected


def test_usable() -> None:
    legs = (RouteHop(oif=1, flags=RTNH_F_DEAD), RouteHop(oif=2, flags=RTNH_F_LINKDOWN))
    rows = [route("10.0.0.0/8", extra=RouteExtra(multipath=legs)), route("11.0.0.0/8", type="blackhole")]
    table = routes_from_rows("inet", rows)
    assert usable(table, 0)
    assert not usable(table, 0, unusable=RTNH_F_DEAD | RTNH_F_LINKDOWN)
    assert not usable(table, 1)
