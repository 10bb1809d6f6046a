"""What it checks
  BIRD announces to a BGP neighbour a route that is unreachable here because its next hop could not be resolved. Or one
  that BGP brought and that is a blackhole here, because a blackhole route covers its next hop (a warning): the route to
  the next hop has gone, and the aggregate above it is what is left.

Why it matters
  BIRD announces such a route with itself as next hop: the neighbour sends the traffic here, and here it is refused.
  Without the announcement another way might serve it.

Confirm
  birdc show route export NAME where dest = RTD_UNREACHABLE
  birdc show route for NEXTHOP

Fix
  Make the next hop resolvable again (see bgp-nexthop-unreachable); and let the export filter refuse such routes:
  if dest = RTD_UNREACHABLE then reject; then birdc reload out NAME. Neighbours that have no other route drop the
  traffic themselves, which is where it ends anyway.

Not flagged
  Routes of type blackhole, prohibit or unreachable by configuration: that is how aggregates and anycast prefixes are
  originated. Routes with a blackhole community: the neighbour is asked to drop; and single addresses (/32, /128) that
  became blackholes, as a trigger of blackholes brings them. From one internal session to another (a route reflector):
  the next hop stays, and the receiver resolves it by itself.

References
  proto/bgp/attrs.c bgp_update_attrs() bgp_use_next_hop() of BIRD; RFC 4271 section 9.1.2.1
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute, UnresolvedRoute
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.rules.bgpsessions import bird_name, birdc
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule
from netdiag.rules.swallowed import swallowed_cases, swallowed_findings
from netdiag.rules.unresolved import grouped, known, lost, prefixes, way

RULE = Rule(
    id="bgp-exports-unreachable-route",
    title="a route without a reachable next hop is announced",
    severity="critical",
    reads=("bird", "links", "addresses", "routes", "rules", "sysctls"),
    consults=("bird_routes",),
    explains=(
        "route-unreachable-proto-bird",
        "bgp-nexthop-unreachable",
        "bgp-route-announced-no-local-addr",
        "bgp-export-leak",
    ),
)


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    if not known(view):
        yield Unjudged(reason="BIRD does not tell the attributes of its unreachable routes")
    alone = len(view.bird.daemons) == 1
    for (socket, name, hop), rows in grouped(row for row in lost(view) if row.told).items():
        told = sorted({session for row in rows for session in row.told})
        to = told[0]
        yield RULE.found(
            subject=subject("bgp-session", name=to, socket=None if alone else socket, next_hop=hop),
            message=f"{prefixes(rows)} from {name}: unreachable here (next hop {hop} is not resolved), and announced "
            f"to {', '.join(told[:3])}{' ...' if len(told) > 3 else ''}: traffic comes here and is refused",
            evidence=[
                (f"routes of type unreachable announced to {to}", len(rows), f"birdc show route export {to}"),
                (f"kernel's route to {hop}", way(view, hop), "RTM_GETROUTE, policy rules"),
            ],
            confirm=[
                birdc(socket, f"show route export {bird_name(to)}"),
                birdc(socket, f"show route for {hop}"),
            ],
            fix=f"make {hop} reachable, or reject such routes in the export filter of {to} (if dest = RTD_UNREACHABLE "
            f"then reject;), then: {birdc(socket, f'reload out {bird_name(to)}')}",
            breaks=[subject("prefix", prefix=row.route.net) for row in rows[:64]],
            touches=[subject("bgp-session", name=session, socket=None if alone else socket) for session in told],
        )
    yield from swallowed_findings(RULE, view)


def _case(name: str, why: str, *, told: bool = True, kind: str = "unreachable", **given: Any) -> Example:
    fields: dict[str, Any] = {"protocol": "s1", "next_hop": "10.99.99.99", "recursive": True, "best": True}
    expected = {key: given.pop(key) for key in ("fires", "severity", "subject", "says") if key in given}
    state, asn = given.pop("state", "up"), given.pop("neighbor_as", 65002)
    sent = {key: given.pop(f"sent_{key}") for key in ("type", "protocol") if f"sent_{key}" in given}
    row = UnresolvedRoute(net="10.50.4.0/24", table="master4", **(fields | given))
    host = BirdHost().bgp("up1", state=state, session="multihop", neighbor_as=asn).protocol("s1", "Static")
    host.bgp("in1", neighbor_as=65001, session="internal multihop AS4")
    host.protocol("kernel1", "Kernel")
    listed = (BirdRoute(net=row.net, best=True, **({"type": kind, "protocol": row.protocol} | sent)),)
    host.exports("up1", routes=listed if told else ()).exports("kernel1", routes=listed).exports("old1", routes=listed)
    host.unresolved(*([row] if kind == "unreachable" else []))
    return Example(name=name, why=why, tables=host.build(), **expected)


def examples() -> Iterator[Example]:
    about = subject("bgp-session", name="up1", next_hop="10.99.99.99")
    crit: dict[str, Any] = {"fires": 1, "severity": "critical"}
    yield _case("recursive static", "the plain fault", subject=about, **crit)
    yield _case("from another session", "learnt and passed on", protocol="up1", recursive=False, **crit)
    yield _case("not announced", "nobody is told", told=False)
    yield _case("unreachable by configuration", "how aggregates are originated", recursive=False, next_hop=None)
    yield _case("blackhole", "the same", kind="blackhole")
    yield _case("with a blackhole community", "the neighbour is asked to drop", communities=("65535:666",))
    inner: dict[str, Any] = {"protocol": "in1", "recursive": False}
    yield _case("passed on to an external session", "with ourselves as next hop", **inner, **crit)
    yield _case("reflected", "the next hop stays", **inner, neighbor_as=65001)
    yield _case("announced inside", "ours, with ourselves as next hop", neighbor_as=65001, **crit)
    yield _case("of an origin that is not told", "the session is external", sent_protocol=None, **crit)
    yield _case("announced with another way", "of another table", sent_type="unicast")
    yield _case("of a protocol that is gone", "the answer is of two moments", protocol="s9")
    yield _case("of a session without a next hop", "a filter made it so", protocol="up1", next_hop=None)
    yield _case("session down", "nobody hears it", state="start")
    yield from swallowed_cases()
