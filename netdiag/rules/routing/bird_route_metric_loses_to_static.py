"""What it checks
  A route that a routing daemon put into the kernel is never taken, because somebody else's route of the same prefix and
  table has a better metric and leads another way.

Why it matters
  BIRD installs with metric 32, a hand-made IPv4 route has 0: it wins in silence, and dynamic routing has no say any
  more for that prefix. When the static next hop dies, BIRD still believes that its own route is used.

Confirm
  ip route show PREFIX table TABLE
  ip route get ADDRESS

Fix
  ip route del PREFIX ... of the static route; packets take the daemon's way at once. To keep it as a standby give it a
  worse metric. If BIRD's should win without that, set "metric" in its kernel protocol (0 is the default of BIRD 1.6).

Not flagged
  The kernel's own connected route beside an OSPF or direct route of the same subnet. Two routes that lead the same way.
  A standby of worse metric. A daemon's blackhole (an anchor for an aggregate). A configured static route (proto static)
  that may be an override on purpose is told as info, unless its gateway does not answer or its link has no carrier: a
  default route, which provisioning sets before any daemon runs, and a way by a BGP neighbour that brought routes which
  others beat: this may be one of them. By any other gateway the daemon knows of no such way, and the static route is
  what was forgotten. One that [[route]] of the intent names, as long as its gateway answers.

References
  net/ipv4/fib_trie.c fib_find_alias(), net/ipv6/ip6_fib.c fib6_add_rt2node(), sysdep/linux/netlink.c of BIRD
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.reach import reachable_tables
from netdiag.index.view import HostView
from netdiag.index.ways import rivals, usable
from netdiag.model.bird import BirdChannel
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, subject
from netdiag.model.intent import IntendedRoute
from netdiag.model.neighbour import NUD_FAILED
from netdiag.model.route import RTN_UNICAST, RTNH_F_DEAD, RTNH_F_LINKDOWN, RTPROT_NAMES, Route
from netdiag.rules.bgpsessions import sessions
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.routewords import ip_command, route_subject, table_word, way_words
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bird-route-metric-loses-to-static",
    title="a routing daemon's route loses to another one by its metric",
    severity="critical",
    confidence="likely",
    reads=("links", "routes", "rules", "neighbours"),
    consults=("bird", "intent.route"),
    explains=("asym-rpfilter-strict-drop", "nf-rpfilter-nft-fib"),
)
DAEMONS = (11, 12, 42, 186, 187, 188, 189, 192)
KERNEL, STATIC = 2, 4
MOST = 20_000
"""Daemon's routes whose prefix is asked for; beyond that only those with a rival in the daemon-free rest matter."""


def losers(view: HostView, family: str) -> Iterator[tuple[Route, Route]]:
    """Each route of a daemon that loses, with the winner."""
    routes, fib = view.routes(family), view.fib(family)
    reachable = among(routes.table, list(reachable_tables(view.rules, view.links, family)))
    if not among(routes.protocol, DAEMONS).any():
        return
    foreign = reachable & (routes.type == RTN_UNICAST) & ~among(routes.protocol, (KERNEL, *DAEMONS))
    for position in np.flatnonzero(foreign)[:MOST].tolist():
        if not usable(routes, position):
            continue
        behind = rivals(fib, position)
        for other in behind.after:
            if routes.protocol[other] in DAEMONS and routes.type[other] == RTN_UNICAST:
                if not behind.before:
                    yield routes.row(other), routes.row(position)
                break


def trouble(view: HostView, row: Route) -> str | None:
    """Why the winner carries nothing."""
    for hop in row.hops:
        if hop.flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN):
            return f"{view.ifname(hop.oif)} has no carrier"
        table = view.neighbours
        failed = (table.ifindex == hop.oif) & ((table.state & NUD_FAILED) != 0)
        if any(entry.dst == hop.gateway for entry in table.rows(np.flatnonzero(failed)[:64])):
            return f"its gateway {hop.gateway} does not answer"
    return None


def _chosen(view: HostView, winner: Route) -> bool:
    """Whether somebody may have set the static route before the daemon's, or over it: a default route, or one by a
    BGP neighbour that may offer the prefix as well."""
    if winner.dst.endswith("/0"):
        return True
    name = "ipv4" if winner.family == "inet" else "ipv6"
    offering = {
        session.protocol.neighbor_address
        for session in sessions(view)
        if session.up and any(one.name == name and _beaten(one) for one in session.protocol.channels)
    }
    return any(hop.gateway in offering for hop in winner.hops if hop.gateway)


def _beaten(channel: BirdChannel) -> bool:
    """Whether it brought routes that others beat, or may have."""
    return channel.imported is None or channel.preferred is None or channel.imported > channel.preferred


def check(view: HostView) -> Iterator[Draft]:
    for family in ("inet", "inet6"):
        for loser, winner in losers(view, family):
            same = {(hop.oif, hop.gateway) for hop in loser.hops} == {(hop.oif, hop.gateway) for hop in winner.hops}
            if same and loser.nh_id == winner.nh_id:
                continue
            why = trouble(view, winner)
            if why is not None or not named(view, winner):
                yield _draft(view, loser, winner, why)


def named(view: HostView, row: Route) -> bool:
    """Whether the intent says that there is this route, by this gateway or interface."""
    for want in view.intent.route or ():
        if (want.family, want.dst, want.table) != (row.family, row.dst, row.table):
            continue
        by = {hop.gateway for hop in row.hops} if want.gateway else {view.ifname(hop.oif) for hop in row.hops}
        if (want.gateway or want.dev) in by:
            return True
    return False


def _draft(view: HostView, loser: Route, winner: Route, why: str | None) -> Draft:
    ip = ip_command(loser.family)
    makers = [RTPROT_NAMES.get(row.protocol, str(row.protocol)) for row in (loser, winner)]
    meant = winner.protocol == STATIC and why is None and _chosen(view, winner)
    hop = winner.hops[0] if len(winner.hops) == 1 else None
    way = (f" via {hop.gateway}" if hop and hop.gateway else "") + (
        f" dev {quoted(view.ifname(hop.oif))}" if hop else ""
    )
    metric = f" metric {winner.priority}" if winner.priority else ""
    return RULE.found(
        subject=route_subject(view, loser),
        message=f"{loser.dst} {way_words(view, loser)} of {makers[0]} (metric {loser.priority}) is not used: "
        f"{way_words(view, winner)} of {makers[1]} (metric {winner.priority}) wins in table {table_word(loser.table)}"
        + (f", and {why}" if why else ""),
        severity="critical" if why else "warning",
        confidence="possible" if meant else None,
        evidence=[
            (f"{makers[0]} route {loser.dst}", f"metric {loser.priority}", "RTM_GETROUTE RTA_PRIORITY rtm_protocol"),
            (f"{makers[1]} route {winner.dst}", f"metric {winner.priority}", "RTM_GETROUTE RTA_PRIORITY rtm_protocol"),
        ],
        confirm=[
            f"{ip} route show {loser.dst} table {loser.table}",
            f"{ip} route get {'198.51.100.1' if loser.dst == '0.0.0.0/0' else loser.dst.partition('/')[0]}",
        ],
        fix=f"{ip} route del {winner.dst}{way} table {winner.table}{metric}",
        touches=[subject("link", ifname=view.ifname(hop.oif)) for hop in winner.hops if hop.oif]
        + [subject("neighbour", dst=h.gateway, ifname=view.ifname(h.oif)) for h in winner.hops if h.gateway],
    )


DST = "198.51.100.0/24"
OFFERS, USED = channel(imported=2, preferred=1), channel(imported=2, preferred=2)
SIX = channel("ipv6", imported=2, preferred=1)


def _host(host: HostBuilder | None = None, **winner: Any) -> HostBuilder:
    host = (host or HostBuilder()).link("eth0").address("eth0", "10.0.0.1/24").address("eth0", "2001:db8::1/64")
    host.route(DST, via="10.0.0.2", dev="eth0", priority=32, protocol=12)
    given: dict[str, Any] = {"via": "10.0.0.3", "dev": "eth0"}
    return host.route(DST, **(given | winner))


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    warn: dict[str, Any] = {"fires": 1, "severity": "warning"}
    about = subject("route", dst=DST, table=254, ifname="eth0")
    yield _case("typed by hand", "metric 0 beats BIRD's 32", _host(), subject=about, **warn)
    yield _case("by DHCP", "the same", _host(protocol=16, priority=31), **warn)
    yield _case("worse metric", "a standby", _host(priority=33))
    yield _case("configured", "no session stands with that gateway", _host(protocol=4), subject=about, **warn)
    for name, neighbour, severity in (
        ("a neighbour's", {"neighbor_address": "10.0.0.3", "channels": (OFFERS,)}, "info"),
        ("a neighbour's, who offers nothing else", {"neighbor_address": "10.0.0.3", "channels": (USED,)}, "warning"),
        ("a neighbour's, who offers IPv6", {"neighbor_address": "10.0.0.3", "channels": (USED, SIX)}, "warning"),
        ("a neighbour's, not counted", {"neighbor_address": "10.0.0.3", "channels": (channel(),)}, "info"),
        ("the neighbour's of a session that is down", {"neighbor_address": "10.0.0.3", "state": "start"}, "warning"),
        ("another neighbour's", {"neighbor_address": "10.0.0.2"}, "warning"),
    ):
        told = _host(BirdHost().bgp("up1", **neighbour), protocol=4)
        yield _case(f"configured, by {name}", "an override looks the same", told, 1, severity=severity)
    for name, want, fires in (
        ("by gateway", {"gateway": "10.0.0.3"}, 0),
        ("by interface", {"dev": "eth0"}, 0),
        ("another gateway", {"gateway": "10.0.0.2", "dev": "eth0"}, 1),
        ("another table", {"gateway": "10.0.0.3", "table": 100}, 1),
        ("nothing but the prefix", {}, 1),
    ):
        meant = _host(protocol=4).intend(route=(IntendedRoute(family="inet", dst=DST, **want),))
        yield _case(f"in the intent, {name}", "somebody says that it is the way", meant, fires)
    dead = _host().intend(route=(IntendedRoute(family="inet", dst=DST, dev="eth0"),))
    dead.neighbour("10.0.0.3", dev="eth0", state="failed")
    yield _case("in the intent, and dead", "nobody means that", dead, 1, severity="critical")
    first = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24")
    first.route("default", via="10.0.0.2", dev="eth0", priority=32, protocol=12)
    first.route("default", via="10.0.0.3", dev="eth0", protocol=4)
    yield _case("configured default", "provisioning was there first", first, 1, severity="info")
    lost = _host(protocol=4).neighbour("10.0.0.3", dev="eth0", state="failed")
    yield _case("configured, and dead", "nobody means that", lost, 1, severity="critical")
    alive = _host(protocol=4).neighbour("10.0.0.3", dev="eth0")
    yield _case("configured, and alive", "who knows what is behind it", alive, **warn)
    yield _case("same way", "nothing goes wrong", _host(via="10.0.0.2"))
    for other, fires in ((7, 0), (8, 1)):
        named = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24")
        named.route(DST, nh_id=7, priority=32, protocol=12).route(DST, nh_id=other)
        yield _case(f"nexthop objects 7 and {other}", "hops that the kernel does not tell", named, fires)
    anchor = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").route(DST, via="10.0.0.3", dev="eth0")
    anchor.route(DST, type="blackhole", priority=32, protocol=12)
    yield _case("an anchor", "BIRD's blackhole is there for where nothing else is", anchor)
    two = _host(priority=40).route("192.0.2.0/24", via="10.0.0.4", dev="eth0", priority=9)
    yield _case("two of other makers", "no daemon's", two.route("192.0.2.0/24", via="10.0.0.5", dev="eth0", priority=8))
    connected = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24")
    yield _case(
        "connected", "OSPF has the subnet too", connected.route("10.0.0.0/24", dev="eth0", priority=32, protocol=12)
    )
    yield _case("another table", "no rival", _host(table=100).rule(9, table=100))
    yield _case(
        "FRR's",
        "any daemon",
        _host(priority=5).route(DST, via="10.0.0.4", dev="eth0", priority=20, protocol=186),
        **warn,
    )
    six = HostBuilder().link("eth0").address("eth0", "2001:db8::1/64")
    six.route("default", via="2001:db8::2", dev="eth0", priority=2048, protocol=12)
    yield _case("IPv6", "1024 by default", six.route("default", via="2001:db8::3", dev="eth0"), **warn)
    dead = _host(flags=1)
    yield _case("dead winner", "the kernel passes it over", dead)
