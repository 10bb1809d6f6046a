"""What it checks
  BGP routes that BIRD chose as best, or recursive static ones, are of type unreachable, because BIRD cannot resolve
  their next hop. Of static ones route-unreachable-proto-bird speaks first, of what is announced onward in spite of it
  bgp-exports-unreachable-route: this stands below.

Why it matters
  The session stands and the prefixes are in the table, yet packets for them are refused (the kernel gets a route of
  type unreachable). Typical: iBGP brings routes whose next hop lies outside, the sender lacks "next hop self", and the
  IGP, or the table that BIRD resolves in, does not know that net; a default route that BIRD has not learnt does not
  count.

Confirm
  birdc show route all protocol NAME where dest = RTD_UNREACHABLE      (BGP.next_hop)
  birdc show route for NEXTHOP

Fix
  On the sender: "next hop self;" in the session. Or give BIRD a route to the next hop: "learn" in its kernel protocol
  for a static one, the missing OSPF neighbour, "igp table". Routes are resolved again at once, without a reset.

Not flagged
  Routes with a blackhole community (65535:666, *:666): null routes on purpose. Those that an import filter made
  unreachable (on directly connected sessions, all whose next hop is on the link). Static routes of type unreachable or
  blackhole. Routes that are not the best, and such as are not in the kernel: a route reflector; where a filter keeps
  them from the kernel and they go to nobody else, they are information. A BIRD that does not
  tell the attributes of these routes: not evaluated.

References
  RFC 4271 section 9.1.2.1; nest/rt-table.c rt_next_hop_update_rte(), proto/bgp/packet.c bgp_apply_next_hop() of BIRD
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute, UnresolvedRoute
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.rules.bgpsessions import bird_name, birdc
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.shape import Example, Rule
from netdiag.rules.unresolved import grouped, held, kept_out, known, lost, prefixes, way

RULE = Rule(
    id="bgp-nexthop-unreachable",
    title="the next hop of BIRD's routes cannot be resolved",
    severity="critical",
    reads=("bird", "links", "addresses", "routes", "rules", "sysctls"),
    consults=("bird_routes",),
    explains=("route-unreachable-proto-bird", "route-default-missing"),
)


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    if not known(view):
        yield Unjudged(reason="BIRD does not tell the attributes of its unreachable routes")
    alone = len(view.bird.daemons) == 1
    there = held(view)
    found = grouped(row for row in lost(view) if row.route.net in there)
    apart = grouped(row for row in lost(view) if kept_out(view, row))
    for (socket, name, hop), rows in [*found.items(), *(each for each in apart.items() if each[0] not in found)]:
        silent = rows[0].route.net not in there
        several, learnt = len(rows) > 1, rows[0].protocol.proto == "BGP"
        first = learnt and not any(row.told for row in rows)
        where = [
            *(subject("prefix", prefix=row.route.net) for row in rows[:64]),
            *(subject("route", dst=row.route.net, table=there[row.route.net][1]) for row in rows[:64] if not silent),
        ]
        kind = "bgp-session" if learnt else "bird-protocol"
        yield RULE.found(
            subject=subject(kind, name=name, socket=None if alone else socket, next_hop=hop),
            message=f"BIRD cannot resolve next hop {hop} of {prefixes(rows)} from {name}: "
            f"{'these prefixes are' if several else 'the prefix is'} unreachable"
            + (", and a filter keeps that from the kernel: packets go by another route, if any" if silent else ""),
            confidence="possible" if silent else None,
            evidence=[
                ("unreachable best routes with that next hop", len(rows), f"birdc show route all protocol {name}"),
                (f"kernel's route to {hop}", way(view, hop), "RTM_GETROUTE, policy rules"),
            ],
            confirm=[
                birdc(socket, f"show route for {hop}"),
                birdc(socket, f"show route all protocol {bird_name(name)} where dest = RTD_UNREACHABLE"),
            ],
            fix=f"give BIRD a route to {hop}"
            + (f", or set 'next hop self' for this session on {rows[0].protocol.neighbor_address}" if learnt else ""),
            breaks=where if first else [],
            touches=[subject(kind, name=name, socket=None if alone else socket), *(() if first else where)],
        )


def _gone(net: str = "10.60.0.0/24", **fields: Any) -> UnresolvedRoute:
    given: dict[str, Any] = {"table": "master4", "protocol": "up1", "best": True, "next_hop": "10.77.7.7"}
    return UnresolvedRoute(net=net, **(given | fields))


def _case(name: str, why: str, *rows: UnresolvedRoute, told: bool = False, **expected: Any) -> Example:
    session = expected.pop("session", "internal multihop AS4")
    host = BirdHost().bgp("up1", session=session).bgp("up2", neighbor_address="192.0.2.9")
    host.protocol("s1", "Static").link("eth0").address("eth0", "192.0.2.66/26")
    listed = tuple(BirdRoute(net=row.net, type="unreachable", best=True, protocol="up1") for row in rows)
    host.exports("up2", routes=listed if told else ())
    host.unresolved(*rows)
    for row in rows if expected.pop("installed", True) else ():
        host.route(row.net, type="unreachable", protocol=12, priority=32)
    return Example(name=name, why=why, tables=host.build(), **expected)


def examples() -> Iterator[Example]:
    about = subject("bgp-session", name="up1", next_hop="10.77.7.7")
    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": about}
    yield _case("one prefix", "the plain fault", _gone(), **crit)
    yield _case("two prefixes with one next hop", "one cause", _gone(), _gone("10.61.0.0/24"), **crit)
    yield _case("two next hops", "two causes", _gone(), _gone("10.61.0.0/24", next_hop="10.77.7.8"), fires=2)
    yield _case("IPv6", "the same", _gone("2001:db8:9::/48", next_hop="fd00::7"), fires=1, says=("fd00::7",))
    for community in ("65535:666", "65002:666", "65002:1:666"):
        yield _case(f"community {community}", "null-routed on purpose", _gone(communities=(community,)))
    yield _case("another community", "it says nothing about that", _gone(communities=("65002:665",)), **crit)
    yield _case("not the best", "another route carries it", _gone(best=False))
    yield _case("direct session", "gateway recursive: nothing leads to that next hop", _gone(), session="external AS4",
                **crit)  # fmt: skip
    for hop in ("192.0.2.1", "192.0.2.77", "fe80::1", "not told"):
        near = _gone(next_hop=hop)
        yield _case(f"direct session, next hop {hop}", "a filter made it unreachable", near, session="external AS4")
    static = subject("bird-protocol", name="s1", next_hop="10.77.7.7")
    yield _case("static recursive", "the same; told below", _gone(protocol="s1", recursive=True), fires=1,
                subject=static)  # fmt: skip
    yield _case("announced", "the same; told below", _gone(), told=True, **crit)
    yield _case("not in the kernel", "a route reflector installs nothing", _gone(), installed=False)
    yield _case("none", "the ordinary case")
    for name, filtered, passed, fires in (
        ("a filter", "(unnamed)", (), 1),
        ("export none", "REJECT", (), 0),
        ("a filter, and it is passed on", "(unnamed)", (BirdRoute(net="10.60.0.0/24", protocol="up1"),), 0),
    ):
        host = BirdHost().bgp("up1", session="internal multihop AS4").bgp("up2", neighbor_address="192.0.2.9")
        host.protocol("k4", "Kernel", channels=(channel(table="master4", output_filter=filtered),))
        host.exports("up2", routes=passed).unresolved(_gone())
        told: dict[str, Any] = {"severity": "info", "says": ("a filter keeps that from the kernel",)} if fires else {}
        why = "the kernel shall not refuse it, or a reflector"
        if fires:
            both = BirdHost().bgp("up1", session="internal multihop AS4").unresolved(_gone(), _gone("10.61.0.0/24"))
            both.protocol("k4", "Kernel", channels=(channel(table="master4", output_filter=filtered),))
            both.route("10.60.0.0/24", type="unreachable", protocol=12, priority=32)
            yield Example(name="one of two is in the kernel", why="one cause", tables=both.build(), **crit)
        yield Example(name=f"kept from the kernel by {name}", why=why, tables=host.build(), fires=fires, **told)
    silent = BirdHost().bgp("up1").exports("up1", routes=())
    yield Example(name="not told", why="an odd release", tables=silent.build(), unjudged=True)
