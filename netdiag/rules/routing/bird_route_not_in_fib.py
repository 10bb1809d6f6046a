"""What it checks
  A route that BIRD gives to the kernel (its best route, as the Kernel protocol's export list shows it) is in no routing
  table that holds the rest of that list. Which kernel table a Kernel protocol feeds is not told by BIRD: it is the one
  with most of its routes, and where several tie, a route is missing only if none of them has it. Of several protocols
  no two feed one table: the tables are shared out so that most routes are there. Where all its routes
  are in tables that other Kernel protocols of this daemon feed, and one table to which a policy rule leads is empty,
  all of them are missing from that one: BIRD lets no two feed one table.

Why it matters
  BIRD believes in the route, announces it and chooses by it; the kernel sends the packets elsewhere, or nowhere.
  Critical where nothing else covers a unicast route: packets are refused with "Network is unreachable". A warning
  where a shorter prefix takes them another way, or where the missing route only refuses packets.
  BIRD restores a route that was deleted at its next scan ("scan time", 60 seconds by default). A route that stays away
  longer is refused by the kernel (BIRD's list marks it "!"): its log says why, for example a next hop that is not on
  any link. Where a filter gives it a source (krt_prefsrc) that is no address of this host, that is why.

Confirm
  birdc show route export PROTOCOL
  ip route show table TABLE proto bird

Fix
  birdc reload out PROTOCOL gives the kernel every route again. If it stays away, read BIRD's log for "Netlink:", and
  find who deletes it with "ip monitor route". Reloading touches only routes that BIRD made itself. Where the source is
  missing: ip address add ADDRESS dev lo, or take krt_prefsrc out of the filter; BIRD tries again at its next scan.

Not flagged
  A prefix that the table has from somebody else: connected, static, another metric. Routes that the export filter
  leaves out, or that the Kernel protocol itself learned. Routes over a link that is down or gone: BIRD follows within
  its own scan. A protocol that is down. Routes that came to BIRD, or changed, after the kernel was read, or less than
  0.3 seconds before (two seconds before BIRD was read, in snapshots that do not say when): they are on their way. A
  list longer than the cap: this rule is then not evaluated.

References
  sysdep/unix/krt.c krt_prune(), sysdep/linux/netlink.c nl_send_route() of BIRD; RTPROT_BIRD in rtnetlink.h
"""

import itertools
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute
from netdiag.model.distinct import distinct
from netdiag.model.finding import Draft, subject
from netdiag.rules.bgpsessions import bird_name, birdc, passing
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.routewords import rule_subject
from netdiag.rules.shape import Example, Rule
from netdiag.rules.waysout import common_tables

RULE = Rule(
    id="bird-route-not-in-fib",
    title="a route of BIRD is not in the kernel",
    severity="critical",
    reads=("bird", "bird_routes", "routes", "links"),
    consults=("rules", "addresses"),
    explains=("route-default-missing", "bgp-nexthop-unreachable", "rule-references-empty-table"),
)
TYPES = ("unicast", "blackhole", "unreachable", "prohibit")
BIRD = 12
"""RTPROT_BIRD (include/uapi/linux/rtnetlink.h)."""
MAIN, KERNELS_OWN = 254, (253, 254, 255)
WRITES = 0.3
"""Seconds within which BIRD has told the kernel of one route."""
MOST_SHARED = 4
"""Kernel protocols among which tables are shared out."""
NAMED = 3
"""So many missing routes of a protocol are told one by one; more are told together."""


class Feed(NamedTuple):
    """A Kernel protocol and what is missing of its list."""

    socket: str
    protocol: str
    family: str
    table: int
    wanted: int
    missing: list[BirdRoute]


class Claim(NamedTuple):
    """A Kernel protocol of whose list nothing is missing: its routes, and how many of them each table has."""

    protocol: str
    routes: list[BirdRoute]
    tables: dict[int, int]


def key(net: str, family: str) -> bytes | None:
    """A prefix as 17 bytes; None where it is none of this family."""
    address, _, length = net.partition("/")
    try:
        packed = socket.inet_pton(socket.AF_INET if family == "inet" else socket.AF_INET6, address)
    except OSError:
        return None
    return packed.ljust(16, b"\0") + bytes([int(length)]) if length.isdigit() else None


def known(view: HostView, family: str) -> dict[int, set[bytes]]:
    """Prefixes of each kernel table that holds a route of BIRD, and of main; as ``key`` makes them."""
    routes, fib = view.routes(family), view.fib(family)
    found: dict[int, set[bytes]] = {}
    for table in {254, *distinct(routes.table[routes.protocol == BIRD]).tolist()}:
        rows = fib.positions(table)
        packed = routes.dst[rows].astype(">u4").view(np.uint8).reshape(-1, 4) if family == "inet" else routes.dst[rows]
        whole = np.zeros((len(rows), 17), np.uint8)
        whole[:, : packed.shape[1]] = packed
        whole[:, 16] = routes.dst_len[rows]
        found[table] = set(map(bytes, whole))
    return found


def usable(view: HostView, route: BirdRoute, protocol: str) -> bool:
    """The kernel should have it: BIRD's choice, of a known kind, not learned from there, over links that are up."""
    if not route.best or route.type not in TYPES or route.protocol == protocol:
        return False
    links = [view.stack.by_name.get(name) for name in route.dev]
    return all(link is not None and link.operstate != "down" for link in links)


def places(lists: dict[str, dict[bytes | None, BirdRoute]], held: dict[int, set[bytes]]) -> dict[str, list[int]]:
    """The kernel tables that each Kernel protocol may feed: those with most of its routes. No two of one daemon feed
    one table: among several, tables are shared out so that most routes are there, and BIRD's main table in main."""
    scores = {
        name: {table: len(set(routes) & names) for table, names in held.items()} for name, routes in lists.items()
    }
    found = {name: [t for t, score in row.items() if score == max(row.values())] for name, row in scores.items()}
    full = [name for name, routes in lists.items() if routes]
    if not 1 < len(full) <= min(len(held), MOST_SHARED):
        return found
    tables = sorted(held, key=lambda table: -max(scores[name][table] for name in full))[: 2 * MOST_SHARED]

    def worth(given: tuple[int, ...]) -> tuple[int, int]:
        pairs = list(zip(full, given, strict=True))
        main = sum(table == MAIN and _of_master(lists[name].values()) for name, table in pairs)
        return sum(scores[name][table] for name, table in pairs), main

    shares = list(itertools.permutations(tables, len(full)))
    most = max(map(worth, shares))
    best = [share for share in shares if worth(share) == most]
    return found | {name: sorted({share[at] for share in best}) for at, name in enumerate(full)}


def feeds(view: HostView) -> Iterator[Feed]:
    """Every Kernel protocol that is up and of whose list something is missing."""
    tables = {family: known(view, family) for family in ("inet", "inet6")}
    kernels = {
        (d.socket, p.name) for d in view.bird.daemons for p in d.protocols if p.proto == "Kernel" and p.state == "up"
    }
    running = {daemon.socket: daemon for daemon in view.bird.daemons}
    for daemon in view.bird_routes:
        for family, held in tables.items():
            lists: dict[str, dict[bytes | None, BirdRoute]] = {}
            for listed in daemon.exports:
                if (daemon.socket, listed.protocol) in kernels:
                    rows = {key(r.net, family): r for r in listed.routes or () if usable(view, r, listed.protocol)}
                    rows.pop(None, None)
                    lists[listed.protocol] = rows
            claims: list[Claim] = []
            placed = places(lists, held)
            for protocol, routes in lists.items():
                wanted, best = set(routes), placed[protocol]
                lost = wanted.difference(*(held[table] for table in best))
                if lost:
                    table = best[0] if len(best) == 1 else MAIN
                    late = [
                        routes[name]
                        for name in lost
                        if not passing(view, running[daemon.socket], routes[name].since, WRITES)
                    ]
                    missing = sorted(late, key=lambda route: route.net)
                    if not missing:
                        continue
                    yield Feed(daemon.socket, protocol, family, table, len(wanted), missing)
                elif wanted:
                    order = sorted((routes[name] for name in wanted), key=lambda route: route.net)
                    scores = {table: score for table, names in held.items() if (score := len(wanted & names))}
                    claims.append(Claim(protocol, order, scores))
            yield from _homeless(view, daemon.socket, family, claims)


def _homeless(view: HostView, socket_: str, family: str, claims: list[Claim]) -> Iterator[Feed]:
    """A Kernel protocol all of whose routes are in tables that others of this daemon feed, while one table to which a
    rule leads is empty: BIRD lets no two of them feed one table, so this one's was emptied as a whole."""
    led = {rule.table or 0 for rule in view.rules if rule.family == family} - {0, *KERNELS_OWN}
    empty = [table for table in led if not len(view.fib(family).positions(table))]
    taken: set[int] = set()
    for claim in sorted(claims, key=lambda claim: (not _of_master(claim.routes), -len(claim.routes), claim.protocol)):
        free = [table for table in claim.tables if table not in taken]
        if free:
            taken.add(max(free, key=lambda table: (claim.tables[table], table == MAIN)))
        elif len(empty) == 1:
            yield Feed(socket_, claim.protocol, family, empty[0], len(claim.routes), claim.routes)


def _of_master(routes: Iterable[BirdRoute]) -> bool:
    """Whether routes are from BIRD's main table, which is what goes to the kernel's main table as a rule."""
    return (next(iter(routes)).table or "").startswith("master")


def exposed(view: HostView, feed: Feed, route: BirdRoute) -> bool:
    """Nothing else takes the packets of this route, in its table, in main, or in one that all packets are led to."""
    fib, tables = view.fib(feed.family), {feed.table, *common_tables(view, feed.family)}
    return route.type == "unicast" and not any(len(fib.routes_covering(t, route.net)) for t in tables)


def draft(view: HostView, feed: Feed, routes: list[BirdRoute]) -> Draft:
    """One finding about one or many routes of a protocol."""
    bare = [route for route in routes if exposed(view, feed, route)]
    one = routes[0]
    way = f" via {', '.join(one.via)}" if one.via else ""
    alone = len(routes) == 1
    about = subject("route", dst=one.net, table=feed.table)
    flag = "-6 " if feed.family == "inet6" else ""
    what = f"route {one.net}{way} ({one.type})" if alone else f"{len(routes)} of {feed.wanted} routes ({one.net}, ...)"
    verb = "is" if alone else "are"
    effect = "nothing else covers it" if bare else "packets go by another route, if any"
    why, fix = _refusal(view, feed, routes)
    return RULE.found(
        subject=about if alone else subject("bird-protocol", name=feed.protocol, socket=feed.socket),
        message=f"{what} that BIRD gives to the kernel by {feed.protocol} {verb} not there{why}: {effect}",
        evidence=[
            (
                f"best {one.type} route in BIRD, from {one.protocol}",
                one.net,
                f"birdc show route export {feed.protocol}",
            ),
            (f"routes to {one.net} in table {feed.table}", 0, "RTM_GETROUTE RTA_DST RTA_TABLE"),
            ("routes of the list that are there", feed.wanted - len(feed.missing), "RTM_GETROUTE RTA_TABLE"),
            *((("source that its filter gives it", one.prefsrc, "birdc, krt_prefsrc"),) if one.prefsrc else ()),
        ],
        confirm=[
            birdc(feed.socket, f"show route export {bird_name(feed.protocol)}"),
            f"ip {flag}route show table {feed.table}",
        ],
        fix=fix,
        severity="critical" if bare else "warning",
        confidence="likely",
        breaks=[
            *(subject("route", dst=route.net, table=feed.table) for route in routes[:50]),
            *(rule_subject(rule) for rule in view.rules if (rule.family, rule.table) == (feed.family, feed.table)),
        ],
        touches=[subject("link", ifname=name) for name in one.dev or _rests(feed, one)],
    )


def _refusal(view: HostView, feed: Feed, routes: list[BirdRoute]) -> tuple[str, str]:
    """Why the kernel does not take the routes, where that is known, and what mends it."""
    reload = birdc(feed.socket, f"reload out {bird_name(feed.protocol)}")
    if not all(route.refused for route in routes):
        return "", reload
    sources = {route.prefsrc for route in routes if route.prefsrc is not None}
    known = view.read_whole("addresses")
    lost = sorted(one for one in sources if known and not view.local.is_local(feed.family, one))
    if not lost:
        return " (the kernel refused it)", f"{reload}  # BIRD's log says why the kernel refused it: Netlink: ..."
    word = f" (its source {lost[0]}, by krt_prefsrc, is no address of this host)"
    return word, f"ip address add {lost[0]} dev lo  # or take krt_prefsrc out of the export filter of {feed.protocol}"


def _rests(feed: Feed, route: BirdRoute) -> tuple[str, ...]:
    """IPv6 keeps routes that refuse on lo, and loses them when that is down (net/ipv6/route.c fib6_nh_init())."""
    return ("lo",) if feed.family == "inet6" and route.type != "unicast" else ()


def check(view: HostView) -> Iterator[Draft]:
    for feed in feeds(view):
        if len(feed.missing) > NAMED or 1 < len(feed.missing) == feed.wanted:
            yield draft(view, feed, feed.missing)
            continue
        for route in feed.missing:
            yield draft(view, feed, [route])


def _route(net: str, **fields: Any) -> BirdRoute:
    fields = {"table": "master4", "protocol": "up1", "best": True} | fields
    if fields.get("type", "unicast") == "unicast":
        fields = {"via": ("192.0.2.1",), "dev": ("eth0",)} | fields
    return BirdRoute(net=net, **fields)


def _host(*routes: BirdRoute, state: str = "up", **link: Any) -> BirdHost:
    host = BirdHost().protocol("k4", "Kernel", state=state).exports("k4", routes=routes)
    host.link("eth0", **link).address("eth0", "192.0.2.5/24")
    return host


def _case(name: str, why: str, host: BirdHost, *there: str, protocol: int = 12, **expected: Any) -> Example:
    table = expected.pop("table", 254)
    for net in there:
        host.route(net, dev="eth0", via="2001:db8::1" if ":" in net else "192.0.2.1", protocol=protocol, table=table)
    return Example(name=name, why=why, tables=host.build(), **expected)


A, B = "198.51.100.0/24", "203.0.113.0/24"


def examples() -> Iterator[Example]:
    told: dict[str, Any] = {"fires": 1, "subject": subject("route", dst=A, table=254)}
    bad: dict[str, Any] = told | {"severity": "critical", "confidence": "likely"}
    yield _case("one of two is missing", "nothing else covers it", _host(_route(A), _route(B)), B, **bad)
    yield _case("the only one is missing", "it is in no table at all", _host(_route(A)), **bad)
    yield _case(
        "covered by a default route", "packets go astray", _host(_route(A)), "default", severity="warning", **told
    )
    refusing = _host(_route(A, type="blackhole"))
    yield _case("a blackhole is missing", "what it refused is let through", refusing, severity="warning", **told)
    six = _host(_route("2001:db8:1::/48"), _route("2001:db8:2::/48"))
    about = subject("route", dst="2001:db8:1::/48", table=254)
    yield _case("IPv6", "the same", six, "2001:db8:2::/48", fires=1, severity="critical", subject=about)
    other = subject("route", dst=A, table=77)
    yield _case("another table", "where the rest is", _host(_route(A), _route(B)), B, table=77, fires=1, subject=other)
    main = _host(_route(A), _route(B))
    main.route("default", via="192.0.2.1", dev="eth0")
    yield _case("another table, main has a way", "it is asked next", main, B, table=77, fires=1, severity="warning")
    last = _host(_route(A), _route(B))
    last.rule(33000, table=90).route("default", via="192.0.2.1", dev="eth0", table=90)
    yield _case("the last table has a way", "it is asked after main", last, B, fires=1, severity="warning")
    yield _case("the last table, rules not read", "main does not", last, fires=1, severity="critical", late=("rules",))
    some = _host(_route(A), _route(B))
    some.rule(33000, table=90, fwmark=1).route("default", via="192.0.2.1", dev="eth0", table=90)
    yield _case("a table for marked packets has a way", "others have none", some, B, fires=1, severity="critical")
    for name, rule in (("is suppressed", {"suppress_prefixlength": 0}), ("is for IPv6", {"family": "inet6"})):
        held = _host(_route(A), _route(B))
        held.rule(33000, table=90, **rule).route("default", via="192.0.2.1", dev="eth0", table=90)
        yield _case(f"a last table whose rule {name}", "no way of it", held, B, fires=1, severity="critical")
    two = _host(_route(A))
    yield _case("two tables of BIRD's", "neither has it", two, "10.7.0.0/16", table=77, **told)
    many = _host(*(_route(f"10.{n}.0.0/16") for n in range(4)))
    yield _case("four missing", "told together", many, fires=1, subject=subject("bird-protocol", name="k4"))
    most = _host(*(_route(f"10.{n}.0.0/16") for n in range(5)))
    yield _case("four of five missing", "told together too", most, "10.4.0.0/16", fires=1, says=("4 of 5 routes",))
    yield _case("both missing", "one cause", _host(_route(A), _route(B)), fires=1, says=("2 of 2 routes",))
    three = _host(*(_route(f"10.{n}.0.0/16") for n in range(3)))
    yield _case("all three missing", "one cause: told together", three, fires=1, says=("3 of 3 routes",))
    three = _host(_route(A), *(_route(f"10.{n}.0.0/16") for n in range(3)))
    yield _case("three of four missing", "told one by one", three, A, fires=3)
    lost, here = _route(A, refused=True, prefsrc="192.0.2.77"), _route(A, refused=True, prefsrc="192.0.2.5")
    adds = (
        "ip address add 192.0.2.77 dev lo",
        "krt_prefsrc, is no address",
        "source that its filter gives it 192.0.2.77",
    )
    yield _case("its source is lost", "the kernel refuses it at each scan", _host(lost), says=adds, **bad)
    refused = ("(the kernel refused it)", "reload out k4  # BIRD's log says why")
    yield _case("its source is here", "it is refused for another reason", _host(here), says=refused, **bad)
    yield _case("refused", "BIRD's log knows why", _host(_route(A, refused=True)), says=refused, **bad)
    yield _case("one of two refused", "of the other nobody knows why", _host(lost, _route(B)), fires=1,
                says=("are not there: nothing", "reload out k4"))  # fmt: skip
    yield from _two_feeds()
    yield from _silent()


def _two_feeds() -> Iterator[Example]:
    """Two Kernel protocols with the same routes: one feeds main, the other a table of its own."""

    def host(*there: tuple[str, int], rules: tuple[int, ...] = (100,), second: str = A) -> BirdHost:
        host = _host(_route(A), _route(B)).protocol("cust", "Kernel")
        host.exports("cust", routes=(_route(second, table="customers"),))
        for net, table in ((A, 254), (B, 254), *there):
            host.route(net, dev="eth0", via="192.0.2.1", protocol=12, table=table)
        for number, table in enumerate(rules):
            host.rule(1000 + number, table=table, fwmark=number + 1)
        return host

    about, says = subject("route", dst=A, table=100), ("gives to the kernel by cust",)
    yield _case("a table emptied as a whole", "main has the same", host(), fires=1, subject=about, says=says,
                severity="warning")  # fmt: skip
    for name, why, one in (
        ("each has its own", "as it should be", host((A, 100))),
        ("the other's is another one", "that is not empty", host((A, 77))),
        ("no rule for an empty table", "which one it was is not known", host(rules=())),
        ("rules for two empty tables", "which one it was is not known", host(rules=(100, 101))),
    ):
        yield _case(f"two feeds: {name}", why, one)
    for lost, kept, table in ((A, B, 254), (B, A, 100)):
        shared = _host(_route(A), _route(B)).protocol("cust", "Kernel")
        shared.exports("cust", routes=(_route(A, table="customers"), _route(B, table="customers")))
        shared.rule(1000, table=100, fwmark=1)
        for net in (A, B):
            shared.route(net, dev="eth0", via="192.0.2.1", protocol=12, table=354 - table)
        about = subject("route", dst=lost, table=table)
        yield _case(f"two feeds: {table} has lost one", "the other table has both", shared, kept, table=table, fires=1,
                    subject=about)  # fmt: skip


def _silent() -> Iterator[Example]:
    yield _case("there", "as it should be", _host(_route(A), _route(B)), A, B)
    yield _case(
        "there in table 77", "a Kernel protocol may feed any table", _host(_route(A), _route(B)), A, B, table=77
    )
    yield _case("there from somebody else", "a static route of that prefix wins", _host(_route(A)), A, protocol=4)
    yield _case("not the best", "the kernel gets the best ones only", _host(_route(A, best=False)))
    yield _case("learned from the kernel", "it was there first", _host(_route(A, protocol="k4")))
    yield _case("of a kind that the kernel has not", "flow rules and the like", _host(_route(A, type="opaque")))
    yield _case("no prefix", "another kind of table", _host(_route("10")))
    for since, fires in (("11:59:58.001", 0), ("12:00:00.500", 0), ("11:59:58.000", 1), ("Friday", 1), (None, 1)):
        late = _host(_route(A, since=since), _route(B))
        yield _case(f"missing, in BIRD since {since}", "the kernel was read before BIRD", late, B, fires=fires)
    # BIRD told its time at noon, which was half a second after the dump of the kernel's routes began
    for since, read, fires in (
        ("11:59:59.199", 100.0, 1),
        ("11:59:59.201", 100.0, 0),
        ("11:59:58", 100.0, 1),
        ("11:59:59", 100.0, 0),
        ("11:59:59.699", 101.0, 1),
        ("11:59:59.701", 101.0, 0),
    ):
        late = BirdHost().daemon(answered_at=100.5).protocol("k4", "Kernel")
        late.exports("k4", routes=(_route(A, since=since), _route(B))).link("eth0").address("eth0", "192.0.2.5/24")
        tables = replace(late.route(B, dev="eth0", via="192.0.2.1", protocol=12).build(), routes_at=read)
        yield Example(
            name=f"missing, in BIRD since {since}, the kernel read at {read}",
            why="what came after that is on its way",
            tables=tables,
            fires=fires,
        )
    both = _host(_route(A, since="11:59:59.000"), _route(B))
    yield _case("one on its way, one missing", "that one is told", both, fires=1, subject=subject("route", dst=B))
    yield _case("the link is down", "BIRD follows in a moment", _host(_route(A), up=False))
    yield _case("the link has no carrier", "the same", _host(_route(A), carrier=False, operstate="down"))
    yield _case("the link is gone", "the same", _host(_route(A, dev=("eth9",))))
    yield _case("the protocol is down", "it takes its routes away", _host(_route(A), state="down"))
    session = BirdHost().bgp("up1").exports("up1", routes=(_route(A, protocol="up2"),))
    session.link("eth0").address("eth0", "192.0.2.5/24")
    yield _case("a session's list", "that goes to a neighbour", session)
