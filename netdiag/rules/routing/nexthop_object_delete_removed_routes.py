"""What it checks
  A nexthop object of the baseline is gone, and with it routes that led over it and that nothing has replaced.

Why it matters
  Deleting a nexthop object deletes every route that uses it, at once and without one RTM_DELROUTE: daemons and monitors
  that listen for routes hear nothing. Setting an interface down deletes its objects as well, and setting it up again
  brings neither objects nor routes back.

Confirm
  ip nexthop show id ID
  ip route show PREFIX table TABLE

Fix
  Make the object again (ip nexthop add id ID via GATEWAY dev IFNAME), then the routes; a routing daemon does both when
  it is told to install its routes anew (FRR: restart zebra).

Not flagged
  Prefixes that have a route in that table again, over whatever nexthop: daemons renumber their objects. Objects of
  interfaces that are gone. An info where the object was a blackhole and nothing else takes the packets: they were
  dropped then and are refused now. Without a baseline the rule is not evaluated.

References
  net/ipv4/nexthop.c __remove_nexthop_fib(), nexthop_flush_dev(); ip-nexthop(8)
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.policy import Query
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.nexthop import Nexthop, NexthopMember
from netdiag.model.route import Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.expected import since
from netdiag.rules.routewords import ip_command, rule_subject, table_word
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="nexthop-object-delete-removed-routes",
    title="routes went with a nexthop object that was deleted",
    severity="critical",
    confidence="likely",
    reads=("nexthops", "routes", "links", "rules", "sysctls", "baseline"),
    explains=(
        "route-default-missing",
        "route-expected-missing",
        "bird-route-not-in-fib",
        "rule-references-empty-table",
        "bgp-*",
        "bgp-export-zero",
        "bgp-anycast-missing-announce",
        "wg-*",
    ),
)


def check(view: HostView) -> Iterator[Draft]:
    old = view.baseline
    if old is None:
        return
    here = {row.id for row in view.nexthops}
    for gone in old.nexthops:
        if gone.id in here or (gone.oif and old.ifname(gone.oif) not in view.stack.by_name):
            continue
        lost = [row for family in ("inet", "inet6") for row in _lost(old, view, family, gone.id)]
        if lost:
            yield _draft(view, old, gone, lost)


def _way(old: HostView, gone: Nexthop) -> str:
    """What the object was, as ``ip nexthop add`` takes it."""
    if gone.oif:
        return (f"via {gone.gateway} " if gone.gateway else "") + f"dev {quoted(old.ifname(gone.oif))}"
    return "blackhole" if gone.blackhole else "group " + "/".join(f"{one.id},{one.weight}" for one in gone.group)


def _made_again(view: HostView, old: HostView, gone: Nexthop) -> str:
    """The command that makes the object as it was; of a group also those of its members that went as well."""
    here, then = {row.id for row in view.nexthops}, {row.id: row for row in old.nexthops}
    lost = [then[one.id] for one in gone.group if one.id not in here and one.id in then]
    return " && ".join(f"ip nexthop add id {row.id} {_way(old, row)}" for row in (*lost, gone))


def _lost(old: HostView, new: HostView, family: str, number: int) -> list[Route]:
    routes = old.routes(family)
    positions = np.flatnonzero(routes.nh_id == number)[:4096].tolist()
    found = []
    for row in old.route_rows(family, positions):
        now = new.route_rows(family, new.fib(family).routes_covering(row.table, row.dst))
        if not any(other.dst == row.dst for other in now):
            found.append(row)
    return found


def _draft(view: HostView, old: HostView, gone: Nexthop, lost: list[Route]) -> Draft:
    first, number = lost[0], gone.id
    places = {(row.family, row.table) for row in lost}
    bare = not all(view.lookup(Query(family=first.family, dst=address)).ok for address in specimens(first.dst))
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    ip, back = ip_command(first.family), f"{first.dst} nhid {number} table {first.table}"
    effect = "nothing else takes their packets" if bare else "their packets take another route"
    refused = bare and gone.blackhole  # dropped then, refused now
    return RULE.found(
        subject=subject("nexthop", id=number),
        severity="info" if refused else "critical" if bare else "warning",
        message=f"nexthop object {number} is gone {since(old)}, and with it the route {first.dst} of table "
        f"{table_word(first.table)}{more}: {effect}",
        evidence=[
            (f"routes over nexthop {number} then", len(lost), f"RTM_GETROUTE RTA_NH_ID, {since(old)}"),
            (f"nexthop {number} now", "none", "RTM_GETNEXTHOP"),
        ],
        confirm=[
            f"ip nexthop show id {number} 2>&1; ip nexthop show; echo",
            f"{ip} route get {specimens(first.dst)[0]}",
        ],
        fix=f"{_made_again(view, old, gone)} && {ip} route add {back}",
        breaks=[
            *(subject("route", dst=row.dst, table=row.table) for row in lost[:64]),
            *(subject("route", dst=row.dst, table=254) for row in lost[:64] if row.default),
            *(rule_subject(rule) for rule in view.rules if (rule.family, rule.table) in places),
        ],
    )


def _host(nexthop: int | None = 7, over: int | None = 7) -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24")
    if nexthop is not None:
        host.nexthop(nexthop, oif="eth0", gateway="192.0.2.9", family="inet")
    if over is not None:
        host.route("10.0.0.0/8", via="192.0.2.9", dev="eth0", nh_id=over)
    return host


def examples() -> Iterator[Example]:
    before = _host().build()

    def case(name: str, why: str, host: HostBuilder, **more: Any) -> Example:
        return Example(name=name, why=why, tables=host.build(), **({"baseline": before} | more))

    told: dict[str, Any] = {"fires": 1, "subject": subject("nexthop", id=7)}
    again = ("ip nexthop add id 7 via 192.0.2.9 dev eth0 && ip route add 10.0.0.0/8 nhid 7 table 254",)
    yield case("gone with its route", "the plain fault", _host(None, None), severity="critical", says=again, **told)
    wide = _host(None, None).route("default", via="192.0.2.1", dev="eth0")
    yield case("another route covers it", "packets go astray", wide, severity="warning", **told)
    yield case("moved to another object", "a daemon renumbered", _host(8, 8))
    yield case("the object is still there", "somebody took the route only", _host(7, None))
    yield case(
        "made again without object",
        "another way to say it",
        _host(None, None).route("10.0.0.0/8", via="192.0.2.9", dev="eth0"),
    )
    yield from _kinds()
    off = HostBuilder().link("eth1")
    yield case("the interface is gone", "so are its routes", off)


def _kinds() -> Iterator[Example]:
    """Objects without a gateway."""
    group = (NexthopMember(id=8, weight=1), NexthopMember(id=9, weight=20))
    kinds: tuple[tuple[str, dict[str, Any], str, Severity], ...] = (
        ("dev ppp0", {"oif": "ppp0"}, "a tunnel", "critical"),
        ("group 8,1/9,20", {"group": group}, "its legs may be there still", "critical"),
        ("blackhole", {"blackhole": True}, "dropped then, refused now", "info"),
    )
    for words, fields, why, severity in kinds:
        then = HostBuilder().link("eth0").link("ppp0").nexthop(7, family="inet", **fields)
        then.route("10.0.0.0/8", nh_id=7)
        says = (f"ip nexthop add id 7 {words} && ip route add",)
        tables = HostBuilder().link("eth0").link("ppp0").build()
        given: dict[str, Any] = {"tables": tables, "baseline": then.build(), "fires": 1, "says": says}
        yield Example(name=words, why=why, severity=severity, **given)
    whole = HostBuilder().link("eth0").link("ppp0").nexthop(8, oif="eth0", gateway="192.0.2.9", family="inet")
    whole.nexthop(9, oif="ppp0", family="inet").nexthop(7, family="inet", group=group).route("10.0.0.0/8", nh_id=7)
    left = HostBuilder().link("eth0").link("ppp0").nexthop(9, oif="ppp0", family="inet")
    again = "ip nexthop add id 8 via 192.0.2.9 dev eth0 && ip nexthop add id 7 group 8,1/9,20 && ip route add"
    flap: dict[str, Any] = {"tables": left.build(), "baseline": whole.build(), "fires": 1, "says": (again,)}
    yield Example(name="group and a member", why="the interface was down for a moment", **flap)
    then = HostBuilder().link("eth0").nexthop(7, family="inet", blackhole=True).route("10.0.0.0/8", nh_id=7)
    now = _host(None, None).route("default", via="192.0.2.1", dev="eth0").build()
    leak: dict[str, Any] = {"tables": now, "baseline": then.build(), "fires": 1, "severity": "warning"}
    yield Example(name="blackhole, and a default route", why="what was kept in goes out now", **leak)
