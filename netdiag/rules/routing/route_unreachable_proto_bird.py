"""What it checks
  The kernel holds routes of type unreachable that BIRD made because it could not resolve their next hop: recursive
  static routes, and BGP routes. What BIRD itself says about its unreachable routes decides.

Why it matters
  Packets for these prefixes are refused with EHOSTUNREACH, although BIRD's protocols and sessions all look well. The
  next hop lost its route: an IGP neighbour that went away, a "next hop self" that is missing.

Confirm
  ip route show type unreachable proto bird
  birdc show route all where dest = RTD_UNREACHABLE
  birdc show route for NEXTHOP

Fix
  Bring the route to the next hop back, so that BIRD can resolve it: its table has to know that net; the kernel's own
  default route counts only with "learn". BIRD then replaces the routes by itself, without a reset.

Not flagged
  Static routes with the word unreachable, prohibit or blackhole: null routes on purpose, aggregates. BGP routes with a
  blackhole community, or that an import filter made unreachable. Where BIRD cannot be asked: told as info, because
  both look the same in the kernel.

References
  nest/rt-table.c rt_next_hop_update_rte() of BIRD; RTPROT_BIRD, RTN_UNREACHABLE in rtnetlink.h
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bird import UnresolvedRoute
from netdiag.model.finding import Draft, subject
from netdiag.rules.bgpsessions import birdc
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.routewords import ip_command, table_word
from netdiag.rules.shape import Example, Rule
from netdiag.rules.unresolved import grouped, held, known, lost, prefixes, way

RULE = Rule(
    id="route-unreachable-proto-bird",
    title="the kernel refuses prefixes whose next hop BIRD could not resolve",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "sysctls"),
    consults=("bird", "bird_routes"),
    explains=("bgp-nexthop-unreachable", "route-default-missing", "wg-*", "bgp-not-established"),
    family="each",
)


def check(view: HostView) -> Iterator[Draft]:
    there = held(view)
    if not there:
        return
    if not view.bird_routes or not known(view):
        yield _unsure(there)
        return
    for (socket, name, hop), rows in grouped(row for row in lost(view) if row.route.net in there).items():
        family, table = there[rows[0].route.net]
        ip = ip_command(family)
        yield RULE.found(
            subject=subject("route", dst=rows[0].route.net, table=table),
            message=f"{prefixes(rows)} in table {table_word(table)} refuses packets: BIRD cannot resolve next hop "
            f"{hop} ({name})",
            evidence=[
                (f"routes of proto bird for next hop {hop}", "unreachable", "RTM_GETROUTE rtm_type rtm_protocol"),
                (f"BIRD's route {rows[0].route.net}", f"unreachable [{name}]", "birdc show route all"),
                (f"kernel's route to {hop}", way(view, hop), "RTM_GETROUTE, policy rules"),
            ],
            confirm=[
                f"{ip} route show table {table} type unreachable",
                birdc(socket, "show route all where dest = RTD_UNREACHABLE"),
            ],
            fix=f"bring the route to {hop} back, so that BIRD sees it: {birdc(socket, f'show route for {hop}')}",
            touches=[subject("prefix", prefix=row.route.net) for row in rows[:64]],
            breaks=[subject("route", dst=row.route.net, table=table) for row in rows[:64]],
        )


def _unsure(there: dict[str, tuple[str, int]]) -> Draft:
    first = next(iter(there))
    family, table = there[first]
    return RULE.found(
        subject=subject("route", dst=first, table=table),
        message=(
            f"{len(there)} routes of proto bird refuse packets ({first}, ...)"
            if len(there) > 1
            else f"route {first} of proto bird refuses packets"
        )
        + ": on purpose, or for want of a next hop",
        confidence="possible",
        evidence=[
            ("unreachable routes of proto bird", len(there), "RTM_GETROUTE rtm_type rtm_protocol"),
            ("BIRD's reason", "not known", "no control socket that tells"),
        ],
        confirm=[f"{ip_command(family)} route show table {table} type unreachable"],
        fix="ask BIRD: birdc show route all where dest = RTD_UNREACHABLE",
    )


NET = "10.50.4.0/24"


def _host(host: Any, net: str = NET, type: str = "unreachable", protocol: int = 12) -> HostBuilder:
    built: HostBuilder = host.route(net, type=type, priority=32, protocol=protocol)
    return built


def _case(name: str, why: str, host: HostBuilder, **expected: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), **expected)


def examples() -> Iterator[Example]:
    def bird(**fields: Any) -> BirdHost:
        given: dict[str, Any] = {"protocol": "s1", "best": True, "next_hop": "10.99.99.99", "recursive": True}
        host = BirdHost().protocol("s1", "Static").bgp("up1", session="internal multihop AS4")
        return host.unresolved(UnresolvedRoute(net=NET, **(given | fields)))

    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": subject("route", dst=NET, table=254)}
    yield _case("recursive static", "the plain fault", _host(bird()), **crit)
    yield _case(
        "BGP route",
        "the same, explained by bgp-nexthop-unreachable",
        _host(bird(protocol="up1", recursive=False)),
        **crit,
    )
    yield _case("on purpose", "a static route with the word unreachable", _host(bird(recursive=False, next_hop=None)))
    rtbh = bird(protocol="up1", recursive=False, communities=("65535:666",))
    yield _case("null-routed by community", "on purpose", _host(rtbh))
    yield _case("not in the kernel", "another table of BIRD's", bird())
    yield _case("another one in the kernel", "an aggregate that is meant", _host(bird(), "10.0.0.0/8"))
    mute = BirdHost().bgp("up1").exports("up1", routes=())
    unsure: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "possible"}
    yield _case("BIRD does not tell them", "too many, or an old one", _host(mute), **unsure)
    yield _case("blackhole", "never for want of a next hop", _host(bird(), type="blackhole"))
    yield _case("somebody else's", "not BIRD's", _host(bird(), protocol=4))
    alone = Example(
        name="BIRD not read",
        why="it cannot be told",
        tables=_host(HostBuilder()).build(),
        fires=1,
        severity="info",
        confidence="possible",
    )
    yield alone
