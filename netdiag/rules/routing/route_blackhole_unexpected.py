"""What it checks
  A route of type blackhole, unreachable or prohibit refuses what this host demonstrably sends to (the neighbour of a
  BGP session, the endpoint of a WireGuard peer, the far end of a tunnel, a guest (one with a host route, or one that
  is alone with this host in the subnet of its tap, or a live one on a bridge of guests), a live neighbour on a link,
  what a living WireGuard peer carries, the far end of a connection that a program of this host opened, or that a
  guest has opened through it, a nameserver), although a working route lies behind it: one of a worse metric, of a
  shorter prefix, or of a later table. Also: it takes a prefix, by its metric, from a working unicast route of the
  same prefix.

Why it matters
  A blackhole drops without a word (the sender on this host gets EINVAL), "unreachable" answers with EHOSTUNREACH,
  "prohibit" with EACCES; the route behind it is not used. Such routes are left over from a blocked attack, a
  maintenance, an aggregate of a wrong net or length; nothing removes them.

Confirm
  ip route show type blackhole      (unreachable, prohibit; -6; table TABLE)
  ip route get ADDRESS              ("Invalid argument" for a blackhole)

Fix
  ip route del TYPE PREFIX table TABLE metric METRIC. Packets take the route behind it at once. A route that a daemon
  made (proto bird ...) comes back: take it out of the daemon's configuration.

Not flagged
  Aggregates: a blackhole with more specific routes or addresses inside catches only what none of them takes. A route
  of worse metric or of length 0 that stands by so that nothing leaks. Blackholes against attackers (RTBH), whoever
  made them, as long as they hit nobody in use. An aggregate left empty because a bridge lost its address: beside a
  bridge that only switches it looks the same; [[address]] of the intent tells. Single blocked addresses on an own link,
  refusing routes inside a working one's prefix that nobody is known to use, halves of everything, and all of IPv6 or,
  on a host that may be a VPN's client, of IPv4 (a kill switch): told as info. BIRD's of type unreachable for want of a
  next hop: see route-unreachable-proto-bird. The kernel's, tables that no rule leads to.

References
  net/ipv4/fib_semantics.c fib_props[], net/ipv6/route.c ip6_pkt_discard() ip6_pkt_prohibit(), ip-route(8), RFC 6666
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from netdiag.index.reach import reachable_tables, selects
from netdiag.index.view import HostView
from netdiag.model.bird import UnresolvedRoute
from netdiag.model.distinct import among
from netdiag.model.finding import SEVERITY_RANK, Confidence, Draft, Severity, subject
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import (
    RT_TABLE_MAIN,
    RTN_BLACKHOLE,
    RTN_PROHIBIT,
    RTN_UNREACHABLE,
    RTNH_F_DEAD,
    RTPROT_NAMES,
    Route,
)
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.demands import CONSULTS, READS, Demand, demands, inner, pairs
from netdiag.rules.dialled import dialled
from netdiag.rules.guestcalls import called, refused_flows
from netdiag.rules.innercases import refused_by_route
from netdiag.rules.lastcases import last_resort_hidden
from netdiag.rules.namedemands import asked_for_names, refused_names
from netdiag.rules.refusalcases import kill_switches, refused_bridged, refused_dialled
from netdiag.rules.refusals import aggregate, left_behind, may_be_client, weight
from netdiag.rules.routewords import ip_command, route_subject, table_word, way_words
from netdiag.rules.shape import Example, Rule
from netdiag.rules.unresolved import known, lost

RULE = Rule(
    id="route-blackhole-unexpected",
    title="a route refuses packets for somebody in use, in front of a route that works",
    severity="critical",
    reads=READS,
    consults=(*CONSULTS, "bird_routes", "sockets", "conntrack", "conntrack_state", "resolver"),
    explains=("bgp-*", "wg-*", "neigh-*", "route-onlink-missing-gateway", "dns-nameserver-unroutable"),
    family="each",
)
KERNEL, BOOT, STATIC, BIRD = 2, 3, 4, 12
REFUSING = (RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT)
ERRORS = {"blackhole": "EINVAL", "unreachable": "EHOSTUNREACH", "prohibit": "EACCES"}
MOST = 512
"""Refusing routes that are looked at one by one; a host under attack may have thousands of them."""


class Refusal(NamedTuple):
    """A route that refuses, what it hides, and for whom."""

    family: str
    position: int
    hidden: int
    severity: Severity
    confidence: Confidence
    demand: Demand | None


def by_demand(view: HostView) -> Iterator[Refusal]:
    """What is refused to somebody in use."""
    told = view.read_whole("bird") and view.read_whole("bird_routes") and bool(view.bird_routes) and known(view)
    unresolved = {one.route.net for one in lost(view)} if told else None
    asked = (*demands(view), *pairs(view), *inner(view), *dialled(view), *called(view), *asked_for_names(view))
    endpoints = {demand.query.dst for demand in asked if demand.kind == "wireguard"}
    for demand in asked:
        answer, family = view.lookup(demand.query), demand.query.family
        if answer.route is None or answer.type not in ERRORS:
            continue
        row = view.routes(family).row(answer.route)
        if row.protocol == BIRD and row.type == "unreachable" and (unresolved is None or row.dst in unresolved):
            continue  # route-unreachable-proto-bird and its like
        endpoint = demand.kind == "wireguard" or (demand.kind == "neighbour" and demand.query.dst in endpoints)
        if endpoint and row.dst.endswith(("/32", "/128")):
            continue  # a refusal of the endpoint alone: wg-endpoint-unroutable says it
        if demand.kind in ("inner", "flow", "nameserver") and row.dst.endswith(("/32", "/128")):
            continue  # one guest of the mesh that was given up, or whom somebody shut out; dns-nameserver-unroutable
        hidden = left_behind(view, family, answer.route, demand.ifindex)
        if hidden is None and answer.rule is not None:
            hidden = _asked_next(view, demand, answer.rule, row)
        if hidden is None:
            continue
        only_default = view.routes(family).dst_len[hidden] == 0
        if only_default and not row.default and (row.protocol == BIRD or aggregate(view, family, answer.route)):
            continue  # the more specific route is missing, not the aggregate wrong
        yield Refusal(family, answer.route, hidden, weight(view, demand, row), "certain", demand)


def _asked_next(view: HostView, demand: Demand, rule: PolicyRule, row: Route) -> int | None:
    """The working route of a later table that would take the packets: behind main, and behind a table before it that
    all packets are led to, if the refusing route is for a part of it. What refuses more, or for some packets alone, is
    made so: a kill switch."""
    behind, own = view.lookup_behind(demand.query, rule), demand.ifindex
    if behind.type != "unicast" or behind.route is None:
        return None
    if row.table == RT_TABLE_MAIN:
        return behind.route if own is None else None
    there = own is None or {hop.oif for hop in behind.hops} == {own}
    wide = int(view.routes(row.family).dst_len[behind.route])
    part = wide <= int(row.dst.rpartition("/")[2]) and not row.default
    return behind.route if wide and part and there and not selects(rule) else None


def by_prefix(view: HostView, family: str) -> Iterator[Refusal]:
    """What takes a prefix from a working route, or cuts a hole into one, with nobody known to use it."""
    routes = view.routes(family)
    chosen = among(routes.type, REFUSING) & ~among(routes.protocol, (KERNEL, BIRD))
    chosen &= among(routes.table, list(reachable_tables(view.rules, view.links, family)))
    for position in np.flatnonzero(chosen)[:MOST].tolist():
        hidden = left_behind(view, family, position)
        if hidden is None:
            continue
        default = int(routes.dst_len[position]) == 0
        if routes.dst_len[hidden] == routes.dst_len[position]:
            meant = default and (family == "inet6" or may_be_client(view))
            yield Refusal(family, position, hidden, "info" if meant else "warning", "likely", None)
        elif routes.dst_len[position] == 1 or (routes.dst_len[hidden] > 0 and not aggregate(view, family, position)):
            yield Refusal(family, position, hidden, "info", "possible", None)


def check(view: HostView) -> Iterator[Draft]:
    found: dict[tuple[str, int], list[Refusal]] = {}
    if any(among(view.routes(family).type, REFUSING).any() for family in ("inet", "inet6")):
        for refusal in (*by_demand(view), *by_prefix(view, "inet"), *by_prefix(view, "inet6")):
            found.setdefault((refusal.family, refusal.position), []).append(refusal)
    for refusals in found.values():
        yield draft(view, sorted(refusals, key=lambda one: SEVERITY_RANK[one.severity]))


def draft(view: HostView, refusals: list[Refusal]) -> Draft:
    first = refusals[0]
    row = view.routes(first.family).row(first.position)
    behind = view.routes(first.family).row(first.hidden)
    asked = [one.demand for one in refusals if one.demand is not None]
    ip, maker = ip_command(first.family), RTPROT_NAMES.get(row.protocol, str(row.protocol))
    if asked:
        more = f" and {len(asked) - 1} more" if len(asked) > 1 else ""
        whom = f"refuses {asked[0].query.dst}, {asked[0].words}{more}"
    else:
        whom = "refuses its packets"
    metric = f" metric {row.priority}" if row.priority else ""
    delete = f"{ip} route del {row.type} {row.dst} table {row.table}{metric}"
    address = asked[0].query.dst if asked else row.dst.partition("/")[0]
    mark = f" mark {asked[0].query.mark:#x}" if asked and asked[0].query.mark else ""
    return RULE.found(
        subject=route_subject(view, row),
        message=f"{row.type} {row.dst} in table {table_word(row.table)} (proto {maker}) {whom}, "
        f"in front of {behind.dst} {way_words(view, behind)} metric {behind.priority}",
        severity=first.severity,
        confidence=first.confidence,
        evidence=[
            (f"type of route {row.dst} metric {row.priority}", row.type, "RTM_GETROUTE rtm_type"),
            ("the route that it hides", f"{behind.dst} {way_words(view, behind)}", "RTM_GETROUTE"),
            *((f"route to {one.query.dst}", ERRORS[row.type], "RTM_GETROUTE, policy rules") for one in asked[:2]),
        ],
        confirm=[
            f"{ip} route show table {row.table} type {row.type}",
            f"{ip} route get {address}{mark}",
        ],
        fix=delete if row.protocol in (BOOT, STATIC) else f"{delete}  # and out of the configuration of {maker}",
        breaks=[
            *(thing for one in asked for thing in one.suffers),
            subject("route", dst=behind.dst, table=behind.table),
            subject("route", dst=row.dst, table=row.table),
        ],
    )


def _host(host: Any = None) -> Any:
    host = (host or HostBuilder()).link("eth0").address("eth0", "10.0.0.1/16").address("eth0", "2001:db8::1/64")
    return host.route("default", via="10.0.0.2", dev="eth0", priority=100)


def _hole(host: HostBuilder, dst: str = "10.0.3.0/24", type: str = "blackhole", **fields: Any) -> HostBuilder:
    return host.route(dst, type=type, family="inet", **fields)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    def session(address: str = "10.0.3.9") -> Any:
        return _host(BirdHost().bgp("up1", neighbor_address=address))

    crit: dict[str, Any] = {"fires": 1, "severity": "critical"}
    about = subject("route", dst="10.0.3.0/24", table=254)
    sure: dict[str, Any] = {"subject": about, "confidence": "certain"}
    yield _case("a session's neighbour", "the plain fault", _hole(session()), **sure, **crit)
    far = _hole(session("198.51.100.7"), "198.51.100.0/24")
    yield _case("a neighbour behind the default route", "a hole in the default route", far, **crit)
    for kind in ("unreachable", "prohibit"):
        yield _case(f"{kind}", "all three refuse", _hole(session(), type=kind), **crit)
    beside = _hole(session("10.0.4.1"))
    yield _case("one address beside it", "it hits nobody in use: info", beside, 1, severity="info")
    six = _host(BirdHost().bgp("up6", neighbor_address="2001:db8::99"))
    yield _case("IPv6", "the same", six.route("2001:db8::/96", type="blackhole"), **crit)
    off = _host(BirdHost().bgp("up1", neighbor_address="10.0.3.9", state="down", info=""))
    yield _case("drained session", "nobody wants to talk to that one now", _hole(off), 1, severity="info")
    aggregate_ = _hole(session("10.200.0.1"), "10.0.0.0/8", protocol=12)
    yield _case("aggregate of BIRD over a lost loopback", "the specific route is missing, not this wrong", aggregate_)
    for protocol in (3, 4):
        inside = _hole(_host(), "203.0.112.0/23", protocol=protocol).address("lo", "203.0.113.7/32")
        yield _case(f"anycast aggregate of proto {protocol}", "its addresses are on lo", inside)
    yield _case("RTBH by BIRD", "the attacked address of a customer", _hole(_host(), "10.0.3.7/32", protocol=12))
    yield _case("blocked address", "by hand, on an own link", _hole(_host(), "10.0.3.7/32"), 1, severity="info")
    ban = _hole(_host().neighbour("10.0.3.7", dev="eth0"), "10.0.3.7/32")
    yield _case("blocked address that answers ARP", "a ban looks like that", ban, 1, severity="info")
    seen = _hole(_host().neighbour("10.0.3.7", dev="eth0"))
    yield _case("neighbours of the link in it", "they were talked to just now", seen, **crit)
    stale = _hole(_host().neighbour("10.0.3.7", dev="eth0", state="stale"))
    yield _case("they were there once", "less sure", stale, 1, severity="warning")
    gateway = _host().neighbour("10.0.0.2", dev="eth0")
    yield _case(
        "the gateway's address", "its routes cannot be made again", _hole(gateway, "10.0.0.2/32"), 1, severity="warning"
    )
    leak = _host().route("default", type="blackhole", family="inet", priority=4278198272)
    yield _case("stands by against leaks", "the worse metric", leak)
    kill = _host().route("default", type="unreachable", family="inet", priority=10)
    yield _case(
        "in front of the default route", "nothing gets out, and no tunnel is there", kill, 1, severity="warning"
    )
    yield from kill_switches()
    cut = _host(BirdHost().bgp("up1", neighbor_address="9.9.9.9")).route("default", type="unreachable", family="inet")
    yield _case("the same in front of a session", "it is not meant for that", cut, **crit)
    lost = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").route("default", type="blackhole", family="inet")
    yield _case("only the blackhole is left", "nothing is hidden: route-default-missing", lost)
    both = _host().route("198.51.100.0/24", via="10.0.0.2", dev="eth0", priority=32, protocol=12)
    yield _case(
        "takes the prefix by its metric",
        "the route behind works",
        _hole(both, "198.51.100.0/24"),
        1,
        severity="warning",
        confidence="likely",
    )
    tap = {"kind": "tun", "info": {"type": "tap"}}

    def guest() -> HostBuilder:
        return _host().link("tap0", **tap).route("10.9.0.5/32", dev="tap0", priority=100)  # type: ignore[no-any-return]

    yield _case("a guest", "its host route loses by the metric", _hole(guest(), "10.9.0.5/32"), **crit)
    yield _case("beside a guest", "another one is gone", _hole(guest(), "10.9.0.6/32"))
    yield from _pairs(tap)
    for age, severity in ((20.0, "critical"), (9000.0, "info")):
        wg = _host(WireguardBuilder()).wireguard("wg0").wg_peer("wg0", "a", age=age, endpoint="198.51.100.2")
        yield _case(
            f"endpoint last seen {age:g} s ago", "in use or not", _hole(wg, "198.51.100.0/24"), 1, severity=severity
        )
    near = _host(WireguardBuilder()).wireguard("wg0").wg_peer("wg0", "a", age=20.0, endpoint="10.0.3.7")
    near.neighbour("10.0.3.7", dev="eth0", state="reachable")
    yield _case("an endpoint on an own link, alone", "wg-endpoint-unroutable says it", _hole(near, "10.0.3.7/32"), 1,
                severity="info")  # fmt: skip
    unused = _hole(_host(BirdHost().bgp("up1", neighbor_address="10.0.3.9")), table=77)
    yield _case("a table that nothing leads to", "refuses nobody", unused)
    onlink = HostBuilder().link("eth0").address("eth0", "203.0.113.5/32").neighbour("10.0.0.1", dev="eth0")
    onlink.route("default", via="10.0.0.1", dev="eth0", onlink=True)
    yield _case("private nets kept in, gateway on link", "gateways are not routed to", _hole(onlink, "10.0.0.0/8"))
    yield from _in_use()
    yield from last_resort_hidden()
    yield from _aggregates()


def _pairs(tap: dict[str, Any]) -> Iterator[Example]:
    """Guests that are alone in the subnet of their tap."""

    def refused(subnet: str, guest: str, **link: Any) -> HostBuilder:
        host = _host().link("tap0", **(tap | link)).address("tap0", subnet)
        length, family = ("128", "inet6") if ":" in guest else ("32", "inet")
        built: HostBuilder = host.route(f"{guest}/{length}", type="blackhole", family=family)
        return built

    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "says": ("the guest behind tap0",)}
    info: dict[str, Any] = {"fires": 1, "severity": "info"}
    yield _case("the only guest of a tap", "nobody else can be there", refused("10.9.0.1/30", "10.9.0.2"), **crit)
    yield _case("the other end of a tap", "the same", refused("10.9.0.1/31", "10.9.0.0"), **crit)
    yield _case("the other end of a tap, IPv6", "the same", refused("2001:db8:9::/127", "2001:db8:9::1"), **crit)
    yield _case("one of several behind a tap", "a ban", refused("10.9.0.1/29", "10.9.0.2"), **info)
    yield _case("one of two behind a tap, IPv6", "a ban", refused("2001:db8:9::1/126", "2001:db8:9::2"), **info)
    yield _case("one of many behind a tap, IPv6", "a ban", refused("2001:db8:9::1/64", "2001:db8:9::2"), **info)
    yield _case("a tap that nobody holds", "nobody is there", refused("10.9.0.1/30", "10.9.0.2", carrier=False), **info)
    down = refused("10.9.0.1/30", "10.9.0.2", up=False)
    yield _case("a tap that is down", "its routes are dead as well", down)
    tun = refused("10.9.0.1/30", "10.9.0.2", info={"type": "tun"})
    yield _case("a VPN's far end", "no guest", tun, **info)
    alone = _host().link("tap0", **tap).address("tap0", "10.9.0.1/32")
    yield _case("a tap without a subnet", "who is there is not told", _hole(alone, "10.9.0.2/32"))


def _aggregates() -> Iterator[Example]:
    """What only catches the rest, and what is behind."""

    def wide(protocol: int = 4, **hole: Any) -> HostBuilder:
        host = _host().route("203.0.0.0/16", via="10.0.0.9", dev="eth0").rule(100, table=100)
        return _hole(host, "203.0.112.0/23", protocol=protocol, **hole)

    yield _case("a hole in a wider route", "by hand, with nobody in use", wide(), 1, severity="info")
    yield _case("anycast in a wider route", "its addresses are on lo", wide().address("lo", "203.0.113.7/32"))
    inside = wide().route("203.0.112.0/25", via="10.0.0.9", dev="eth0")
    yield _case("specific routes in it", "it catches the rest", inside)
    apart = wide(table=100).route("203.0.0.0/16", via="10.0.0.9", dev="eth0", table=100)
    yield _case("another table, a hole", "the same there", apart, 1, severity="info")
    yield _case("the upper half", "a kill switch", _hole(_host(), "128.0.0.0/1"), 1)
    yield _case("a quarter", "who knows", _hole(_host(), "64.0.0.0/2"))
    main = wide(table=100).route("203.0.0.0/16", via="10.0.0.9", dev="eth0", table=100)
    main.route("203.0.112.0/25", via="10.0.0.9", dev="eth0")
    yield _case("another table, specific routes in main", "it leaves them to main", main)

    def session(address: str) -> HostBuilder:
        return _host(BirdHost().bgp("up1", neighbor_address=address))  # type: ignore[no-any-return]

    crit: dict[str, Any] = {"fires": 1, "severity": "critical"}
    of_bird = _hole(session("198.51.100.7"), "198.51.100.0/24", protocol=12)
    yield _case("BIRD's aggregate", "what was in it is missing", of_bird)
    yield _case("an aggregate by hand", "what was in it is missing", _hole(session("10.200.0.1"), "10.0.0.0/8"))
    rtbh = _hole(session("10.0.3.9"), protocol=12)
    yield _case("BIRD drops a neighbour", "a filter matched too much", rtbh, says=("out of the configuration",), **crit)
    lost = _hole(session("10.0.3.9"), protocol=12, type="unreachable")
    yield _case("BIRD does not say why", "route-unreachable-proto-bird", lost)

    def bird(**fields: Any) -> HostBuilder:
        host = _host(BirdHost().protocol("s1", "Static").bgp("up1", neighbor_address="10.0.3.9"))
        host.unresolved(UnresolvedRoute(net="10.0.3.0/24", protocol="s1", best=True, **fields))
        return _hole(host, protocol=12, type="unreachable")

    way = bird(recursive=True, next_hop="10.99.0.1")
    yield _case("BIRD found no way", "route-unreachable-proto-bird", way)
    null = bird(recursive=False, next_hop=None)
    yield _case("BIRD's null route of that type", "a static route with the word unreachable", null, **crit)
    for table in ("bird", "bird_routes"):
        yield _case(f"a null route, {table} not read", "it may have found no way", null, late=(table,), unjudged=True)
    half = _host(BirdHost().bgp("up1", neighbor_address="10.0.3.9").exports("up1", routes=()))
    yield _case("BIRD tells what it sends alone", "the same", _hole(half, protocol=12, type="unreachable"))
    fine = _hole(session("198.51.100.7").route("198.51.100.0/24", via="10.0.0.9", dev="eth0"))
    yield _case("a session elsewhere", "its own route works", fine, 1, severity="info")
    dead = _host().route("198.51.100.0/24", via="10.0.0.9", dev="eth0", priority=9, flags=RTNH_F_DEAD)
    yield _case("what it hides is dead", "nothing would take them", _hole(dead, "198.51.100.0/24"))
    card = _hole(_host().link("eth1").neighbour("10.0.3.7", dev="eth1"))
    yield _case("neighbour on a card without a subnet", "what is hidden is not its way", card, 1, severity="info")
    card = _hole(_host().neighbour("10.0.3.7", dev="eth0")).vanished("eth0")
    yield _case("neighbour on a card that is gone", "it went meanwhile", card, 1, severity="info")
    half = _hole(_host().link("tun0", kind="tun").route("0.0.0.0/1", dev="tun0"), "10.50.0.0/16")
    yield _case("half of everything behind", "a VPN does that", half, 1, severity="info")
    for name, host, severity in (("gateway", "2001:db8::2", "warning"), ("host", "2001:db8::3", "info")):
        six = _host().route("default", via="2001:db8::2", dev="eth0").neighbour(host, dev="eth0")
        six.route(f"{host}/128", type="blackhole")
        yield _case(f"an IPv6 {name}", "it is a gateway or not", six, 1, severity=severity)


def _in_use() -> Iterator[Example]:
    """Who else is sent to, and who looks like it and is not."""
    crit: dict[str, Any] = {"fires": 1, "severity": "critical"}
    far, far6 = "198.51.100.0/24", "2001:db8::/96"

    def tunnel(**fields: Any) -> HostBuilder:
        return _host().link("gre1", kind="gre", type=778, **fields)  # type: ignore[no-any-return]

    yield _case("far end of a tunnel", "it sends there", _hole(tunnel(info={"remote": "198.51.100.9"}), far), **crit)
    six = tunnel(info={"remote6": "2001:db8::99"}).route(far6, type="blackhole")
    yield _case("far end of an IPv6 tunnel", "the same", six, **crit)
    idle = tunnel(info={"remote": "198.51.100.9"}, up=False)
    yield _case("tunnel that is down", "it sends nothing", _hole(idle, far))
    any_ = _hole(tunnel(info={"remote": "0.0.0.0"}), "0.0.0.0/1")
    yield _case("tunnel to anybody", "0.0.0.0 is no far end", any_, 1, severity="info")
    six = tunnel(info={"remote6": "::"}).route("default", via="2001:db8::2", dev="eth0")
    six.route("::/0", type="unreachable", priority=10)
    yield _case("tunnel to anybody, IPv6", "nor is ::", six, 1, severity="info")
    for age, fires in ((299.0, crit), (300.0, {"fires": 1, "severity": "info"})):
        wg = _host(WireguardBuilder()).wireguard("wg0").wg_peer("wg0", "a", age=age, endpoint="198.51.100.2")
        yield _case(f"handshake {age:g} s ago", "a session lives three minutes", _hole(wg, far), **fires)
    mesh = _host(WireguardBuilder()).wireguard("wg0")
    mesh.wg_peer("wg0", "a", age=None, endpoint="198.51.100.2", persistent_keepalive=25)
    yield _case("a peer that is called all the time", "never answered, but kept alive", _hole(mesh, far), **crit)
    mute = _host(WireguardBuilder()).wireguard("wg0").wg_peer("wg0", "a", age=None, endpoint=None)
    yield _case("a peer without an endpoint", "nothing is sent to it", _hole(mute, far))
    cable = _host().link("veth3", kind="veth").route("10.9.0.5/32", dev="veth3", priority=100)
    yield _case("a container", "its host route loses by the metric", _hole(cable, "10.9.0.5/32"), **crit)
    guest6 = _host().link("tap0", kind="tun", info={"type": "tap"})
    guest6.route("2001:db8:9::5/128", dev="tap0", priority=1024)
    guest6.route("2001:db8:9::5/128", type="blackhole", priority=10)
    yield _case("a guest's IPv6 address", "the same", guest6, **crit)
    unplugged = _hole(_host().link("eth1", up=False).neighbour("10.0.3.7", dev="eth1"))
    yield _case("neighbour behind a card that is down", "nobody is there", unplugged, 1, severity="info")
    routed = _host().route("10.9.0.5/32", dev="eth0", priority=100)
    yield _case("a host on link", "no guest", _hole(routed, "10.9.0.5/32"), 1, severity="warning")
    yield from _of_sessions()
    nameless = _hole(_host(BirdHost().bgp("up1", neighbor_address=None)))
    yield _case("a session with a range of neighbours", "no address is known", nameless, 1, severity="info")


def _of_sessions() -> Iterator[Example]:
    """Sessions that wait, and sessions of one interface or VRF."""

    def hole(**fields: Any) -> HostBuilder:
        return _hole(_host(BirdHost().bgp("up1", neighbor_address="10.0.3.9", **fields)))

    down: dict[str, Any] = {"state": "start", "info": "Passive", "bgp_state": "Passive"}
    yield _case("a session that waits", "the other side need not be there", hole(**down), 1, severity="info")
    calls: dict[str, Any] = {"state": "start", "info": "Active", "bgp_state": "Active"}
    yield _case("a session that calls", "it is refused", hole(**calls), 1, severity="critical")
    ranged = hole(other={"Neighbor range": "10.0.3.0/24"})
    yield _case("a session of a range that is up", "it is there", ranged, 1, severity="critical")
    vrf = _host(BirdHost().bgp("up1", neighbor_address="10.5.3.9", other={"VRF": "red"}))
    vrf.link("red", kind="vrf", info={"table": 10}).link("eth1", master="red").rule(1000, l3mdev=True)
    vrf.route("10.5.0.0/16", dev="eth1", table=10).route("10.5.3.0/24", type="blackhole", family="inet", table=10)
    yield _case("a session of a VRF", "refused there", vrf, 1, severity="critical")
    local = _host(BirdHost().bgp("up1", neighbor_address="fe80::9", neighbor_ifname="eth0"))
    local.address("eth0", "fe80::1/64").link("eth1").address("eth1", "fe80::2/64").route("fe80::/80", type="blackhole")
    yield _case("a session of a link", "a link is asked for its own routes alone", local)
    yield from refused_by_route()
    yield from (*refused_dialled(), *refused_bridged())
    yield from (*refused_flows(), *refused_names())
