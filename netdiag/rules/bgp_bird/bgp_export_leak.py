"""What it checks
  An external BGP session is given routes that are not this host's to give: private prefixes announced to a public AS; a
  default route, told to a public AS by which this host's own default route goes; or routes learnt from another external
  session, although another session to the same AS, to which such routes were offered as well, gets none of them; or
  those of one provider given to another. A provider is an AS with a neighbour by which a default route of the kernel
  goes (not one for some marks alone): no routing daemon made that route, or the first provider is given nothing of the
  second, which it was offered; or those of a session of which it was given none at the time of the baseline, when they
  were there. And, as a warning, routes of any other protocol (an internal session, an IGP, connected networks) of which
  it was given none then, though it was given others and the kernel had the very same.

Why it matters
  The neighbour, and everybody behind it, sends traffic for these prefixes here: for somebody else's networks, over
  links that are not made for it (a route leak, RFC 7908). An export filter that lost its prefix list, or "export all"
  for "export none", is enough.

Confirm
  birdc show route export NAME
  birdc show protocols all NAME      (Output filter)

Fix
  Repair the export filter, then birdc reload out NAME: the wrong prefixes are withdrawn at once. To stop it this
  minute: birdc disable NAME, which also withdraws the right ones.

Not flagged
  Routes made here (static, direct, kernel, an IGP) or learnt by internal sessions, where they are public and no
  baseline says that they were kept back. Private
  prefixes to a private AS: inner networks. Routes passed from one external neighbour to another where every session to
  that AS gets such, and one of the two is no provider: transit, route servers, customers; told as info. So are routes
  passed both ways between neighbours that gave us our default routes by BGP: a ring or a fabric of routers does that.
  So are those of a neighbour that was given the session's own at the time of the baseline: the way back is new only
  because one of the two lost a route. A default route given to a customer. Route lists beyond the cap: not evaluated
  for that session.

References
  RFC 7908, RFC 8212, RFC 6996 (private AS numbers), RFC 1918, RFC 6598, RFC 4193
"""

import ipaddress
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from netdiag.index.reach import reachable_tables
from netdiag.index.view import HostView
from netdiag.index.ways import ways
from netdiag.model.bird import BirdProtocol, BirdRoute
from netdiag.model.distinct import among
from netdiag.model.finding import Confidence, Draft, Severity, subject
from netdiag.rules.bgpsessions import Session, bird_name, sessions
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.leakcases import inner_examples, whole_examples
from netdiag.rules.shape import Example, Rule
from netdiag.rules.waysout import ROUTING_DAEMONS, by_mark

RULE = Rule(
    id="bgp-export-leak",
    title="an external BGP session is given routes that are not ours to give",
    severity="critical",
    confidence="likely",
    reads=("bird",),
    consults=("bird_routes", "routes", "rules", "links", "nexthops", "baseline"),
    explains=("bgp-prefix-limit-hit",),
    own_cause=True,
)
PRIVATE = tuple(
    ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


def private_as(number: int) -> bool:
    """RFC 6996, and the reserved ones around."""
    return 64496 <= number <= 65551 or number >= 4200000000


def external(row: BirdProtocol) -> bool:
    """An eBGP session."""
    return row.local_as is not None and row.neighbor_as not in (None, row.local_as)


@lru_cache(maxsize=65_536)  # the same prefixes go to every session
def private(net: str) -> bool:
    """Whether the prefix, or the address, is of a network that others do not know: RFC 1918, RFC 6598, RFC 4193."""
    try:
        asked = ipaddress.ip_network(net)
    except ValueError:
        return False
    return any(asked.version == one.version and asked.subnet_of(one) for one in PRIVATE)  # type: ignore[arg-type]


def all_(route: BirdRoute) -> bool:
    """A default route."""
    return route.net.endswith("/0")


class Told:
    """What BIRD tells its protocols, on this host now or at the time of the baseline."""

    def __init__(self, view: HostView) -> None:
        self.lists = {(d.socket, one.protocol): one.routes for d in view.bird_routes for one in d.exports}
        self.rows = {(d.socket, row.name): row for d in view.bird.daemons for row in d.protocols}

    def foreign(self, place: tuple[str, str]) -> list[BirdRoute]:
        """Routes that a session is given, and an external session to another AS brought."""
        found = []
        for route in self.lists.get(place) or ():
            origin = self.rows.get((place[0], route.protocol or ""))
            other = origin is not None and external(origin) and origin.neighbor_as != self.rows[place].neighbor_as
            if other and not all_(route):
                found.append(route)
        return found

    def spared(self, place: tuple[str, str], since: list[BirdRoute]) -> bool:
        """Whether the session was given routes, and none of the protocols that brought these, which had some; and was
        no part of a ring or a fabric: one whose own routes these neighbours were given gets theirs as the ways change.
        """
        routes = self.lists.get(place)
        origins = {(place[0], route.protocol or "") for route in since}
        had = [row for origin in origins if (row := self.rows.get(origin)) is not None]
        offered = any(one.imported for row in had for one in row.channels)
        known = place in self.rows and external(self.rows[place])
        asns = {row.neighbor_as for row in had}
        ring = known and any(
            row.neighbor_as in asns
            and self.rows[place[0], route.protocol or ""].neighbor_as == self.rows[place].neighbor_as
            for other, row in self.rows.items()
            if other[0] == place[0]
            for route in self.foreign(other)
        )
        return bool(routes) and known and offered and not ring and not self.foreign(place)

    def kept_back(self, place: tuple[str, str], since: list[BirdRoute], then: HostView) -> list[BirdRoute]:
        """Those of the routes that the kernel had then, of protocols that gave the session none, though it was given
        others; not those that external sessions brought, see ``spared``."""
        routes = self.lists.get(place)
        if not routes or place not in self.rows or not then.read_whole("routes"):
            return []
        gave = {route.protocol for route in routes}
        found = []
        for route in since:
            maker = self.rows.get((place[0], route.protocol or ""))
            if maker is None or maker.state != "up" or route.protocol in gave or all_(route) or external(maker):
                continue
            if _stood(then, route.net):
                found.append(route)
        return found


def _stood(view: HostView, net: str) -> bool:
    """Whether some table of the kernel had a route for just this prefix."""
    try:
        held = str(ipaddress.ip_network(net))
    except ValueError:
        return False
    family = "inet6" if ":" in held else "inet"
    fib = view.fib(family)
    return any(
        row.dst == held for table in fib.tables() for row in view.route_rows(family, fib.routes_covering(table, held))
    )


def check(view: HostView) -> Iterator[Draft]:
    now = Told(view)
    before = Told(view.baseline) if view.baseline is not None and view.baseline.read_whole("bird_routes") else None
    lists, rows = now.lists, now.rows

    def foreign(session: Session) -> list[BirdRoute]:
        return now.foreign((session.daemon.socket, session.name))

    outward = [one for one in sessions(view) if one.up and external(one.protocol)]
    leaf, providers = _providers(view, outward)
    given = {
        (socket, route.protocol or "") for (socket, _), told in lists.items() for route in told or () if all_(route)
    }
    providers |= {rows[place].neighbor_as for place in given if place in rows and external(rows[place])}
    for session in outward:
        routes = lists.get((session.daemon.socket, session.name)) or ()
        inner = [route for route in routes if private(route.net)]
        passed = foreign(session)
        assert session.protocol.neighbor_as is not None
        whole = [route for route in routes if all_(route) and session.protocol.neighbor_as in leaf | providers]
        if whole and not private_as(session.protocol.neighbor_as):
            words = "is everything: this host's own default route goes by that neighbour"
            yield _draft(session, whole, words, "critical")
        elif inner and not private_as(session.protocol.neighbor_as):
            yield _draft(session, inner, "are private networks, and the neighbour's AS is a public one", "critical")
        elif not passed and before is not None and view.baseline is not None:
            opened = before.kept_back((session.daemon.socket, session.name), list(routes), view.baseline)
            if opened:
                words = f"are of {opened[0].protocol}: it was given none of those at the time of the baseline"
                yield _draft(session, opened, words, "warning")
        elif passed:
            mates = [
                one
                for one in outward
                if one.protocol.neighbor_as == session.protocol.neighbor_as
                and lists.get((one.daemon.socket, one.name))
                and _offered(one, outward)
            ]
            spared = next((one.name for one in mates if not foreign(one)), None)
            origin = passed[0].protocol
            home = {rows[session.daemon.socket, route.protocol or ""].neighbor_as for route in passed} & providers
            asn = session.protocol.neighbor_as
            silent = [one for one in outward if one.protocol.neighbor_as in home and one.protocol.neighbor_as != asn]
            silent = [one for one in silent if lists.get((one.daemon.socket, one.name)) and _offered(one, outward)]
            spared_too = next((one.name for one in silent if not foreign(one)), None)
            if spared:
                words = f"were learnt from {origin}, and {spared} to the same AS gets none of them"
                yield _draft(session, passed, words, "critical")
            elif asn in providers and home & leaf and asn in leaf:
                words = f"were learnt from {origin}: default routes go by both, so this host is a customer of both"
                yield _draft(session, passed, words, "critical")
            elif asn in providers and spared_too:
                words = f"were learnt from {origin}: default routes go by both, and {spared_too} is given nothing of it"
                yield _draft(session, passed, words, "critical")
            elif before is not None and before.spared((session.daemon.socket, session.name), passed):
                words = f"were learnt from {origin}: it was given none such at the time of the baseline"
                yield _draft(session, passed, words, "critical")
            else:
                yield _draft(session, passed, f"were learnt from {origin}: transit, or a leak", "info", "possible")


def _providers(view: HostView, outward: list[Session]) -> tuple[set[int | None], set[int | None]]:
    """AS numbers of the neighbours by which the kernel's default routes go, those for some marks aside: of those that
    no routing daemon made, and of all."""
    leaf, every = set[int | None](), set[int | None]()
    near = {str(one.address): one.protocol.neighbor_as for one in outward if one.address is not None}
    rules = [rule for rule in view.rules if not by_mark(rule)]
    for family in ("inet", "inet6"):
        routes = view.routes(family)
        tables = list(reachable_tables(rules, view.links, family))
        for way in ways(routes, view.nexthops, (routes.dst_len == 0) & among(routes.table, tables)):
            asn = near.get(way.hop.gateway or "")
            every.add(asn)
            if not among(routes.protocol[way.positions], ROUTING_DAEMONS).all():
                leaf.add(asn)
    return leaf - {None}, every - {None}


def _offered(mate: Session, outward: list[Session]) -> bool:
    """Whether some external neighbour of another AS brought routes of a family that the session carries: what it does
    not get of these was refused."""
    carried = {one.name for one in mate.protocol.channels}
    daemon, asn = mate.daemon.socket, mate.protocol.neighbor_as
    others = [one for one in outward if one.daemon.socket == daemon and one.protocol.neighbor_as != asn]
    return any(one.imported and one.name in carried for other in others for one in other.protocol.channels)


def _draft(
    session: Session, routes: list[BirdRoute], words: str, severity: Severity, confidence: Confidence | None = None
) -> Draft:
    names = ", ".join(route.net for route in routes[:3]) + (f" and {len(routes) - 3} more" if len(routes) > 3 else "")
    filters = ", ".join(one.output_filter or "?" for one in session.protocol.channels)
    return RULE.found(
        subject=session.subject,
        message=f"{session.name} to {session.neighbour} is given {names}, which {words}",
        severity=severity,
        confidence=confidence,
        evidence=[
            (
                f"prefixes announced to {session.name} that are not ours",
                len(routes),
                f"birdc show route export {session.name}",
            ),
            ("where they come from", routes[0].protocol or "?", f"birdc show route export {session.name}"),
            ("output filter", filters or "?", session.source),
        ],
        confirm=[session.command(f"show route export {bird_name(session.name)}"), session.confirm],
        fix=f"repair the export filter of {session.name}, then: "
        + session.command(f"reload out {bird_name(session.name)}"),
    )


def _host(
    asn: int = 3320,
    *,
    second: tuple[BirdRoute, ...] | None = None,
    routes: tuple[BirdRoute, ...] = (),
    family: str = "ipv4",
) -> BirdHost:
    host = BirdHost().protocol("s1", "Static").protocol("igp", "OSPF")
    host.bgp("up1", neighbor_as=asn, channels=(channel(output_filter="(unnamed)"),))
    host.bgp("up2", neighbor_as=asn, neighbor_address="192.0.2.9", channels=(channel(name=family),))
    host.bgp("peer", neighbor_as=1299, channels=(channel(imported=3),))
    host.bgp("rr", neighbor_as=65001, neighbor_address="192.0.2.8")
    host.exports("up1", routes=routes)
    return host.exports("up2", routes=second) if second is not None else host


def _route(net: str = "198.51.100.0/24", protocol: str = "s1") -> BirdRoute:
    return BirdRoute(net=net, protocol=protocol, best=True)


def _case(name: str, why: str, host: BirdHost, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": subject("bgp-session", name="up1")}
    for net in ("10.1.0.0/16", "100.64.3.0/24", "fd00:1::/48"):
        yield _case(f"{net} to a public AS", "inner networks", _host(routes=(_route(net, "igp"),)), **crit)
    yield _case("10.1.0.0/16 to a private AS", "an inner session", _host(65100, routes=(_route("10.1.0.0/16"),)))
    yield _case("own prefix", "the ordinary case", _host(routes=(_route(),)))
    yield _case("by an internal session", "another router's prefix", _host(routes=(_route(protocol="rr"),)))
    learnt = (_route(), _route("203.0.113.0/24", "peer"))
    yield _case(
        "one of two sessions", "the other gets own prefixes only", _host(routes=learnt, second=(_route(),)), **crit
    )
    six = (_route("2001:db8:7::/48"),)
    for imported, fires in ((0, "info"), (1, "critical")):
        apart = _host(routes=learnt, second=six, family="ipv6")
        apart.bgp("peer6", neighbor_as=1299, channels=(channel(name="ipv6", imported=imported),))
        name = f"the other is of IPv6, and {imported} routes were offered to it"
        yield _case(name, "what was not offered was not refused", apart, 1, severity=fires)
    same = _host(routes=learnt, second=six, family="ipv6")
    same.bgp("up3", neighbor_as=3320, channels=(channel(name="ipv6", imported=9),))
    yield _case("offered by the same AS alone", "it is not told its own", same, 1, severity="info")
    yield _case("both sessions", "transit", _host(routes=learnt, second=learnt), 2, severity="info")
    yield _case("no sister", "transit or leak", _host(routes=learnt), 1, severity="info")
    yield _case("sister without any", "drained: it tells nothing", _host(routes=learnt, second=()), 1, severity="info")
    yield _case(
        "default route", "what a customer gets", _host(routes=(_route("0.0.0.0/0", "peer"),), second=(_route(),))
    )
    twins = (_route(), _route("203.0.113.0/24", "up2"))
    yield _case("learnt from the sister", "the same AS hears its own", _host(routes=twins, second=(_route(),)))
    for asn, count in ((64495, 1), (64496, 0), (65551, 0), (65552, 1), (4199999999, 1), (4200000000, 0)):
        yield _case(f"AS {asn}", "the borders of what is private", _host(asn, routes=(_route("10.1.0.0/16"),)), count)
    yield _case("origin not told", "it may be ours", _host(routes=(BirdRoute(net="198.51.100.0/24", best=True),)))
    flow = "flow4 { dst 10.1.0.0/16; }"
    yield _case("a flow", "no network is announced by it", _host(routes=(_route(flow),)))
    inside = _host().exports("rr", routes=learnt)
    yield _case("to an internal session", "that is what it is for", inside)
    other = _host(routes=learnt).exports("peer", routes=(_route(),))
    yield _case("another AS gets own prefixes", "another contract", other, 1, severity="info")
    offered = BirdHost().bgp("up1", neighbor_as=3320, channels=(channel(imported=5),)).bgp("peer", neighbor_as=1299)
    offered.exports("up1", routes=learnt).exports("peer", routes=(_route(),))
    yield _case("another AS does not get all", "what it gets is another contract", offered, 1, severity="info")
    two = _host(routes=learnt, second=six, family="ipv6").daemon("/run/bird/other.ctl")
    two.bgp("peer6", neighbor_as=1299, channels=(channel(name="ipv6", imported=9),))
    yield _case("another daemon was offered some", "it does not pass them on", two, 1, severity="info")
    yield from _provider_examples(crit)
    yield from inner_examples(_route)
    yield from whole_examples(_route)
    for name, fields in (("down", {"state": "start"}), ("own AS not told", {"local_as": None})):
        session = BirdHost().bgp("up1", neighbor_as=3320, **fields).exports("up1", routes=(_route("10.1.0.0/16"),))
        yield _case(f"session {name}", "nothing can be said", session)


def _provider_examples(crit: dict[str, Any]) -> Iterator[Example]:
    """``up1`` is given what ``peer`` told."""
    words = "default routes go by both, "

    def host(*via: str, protocol: int = 4, back: tuple[BirdRoute, ...] | None = (_route(),), gave: int = 2) -> BirdHost:
        built = BirdHost().protocol("s1", "Static")
        built.bgp("up1", neighbor_as=3320, channels=(channel(imported=gave),))
        built.bgp("peer", neighbor_as=1299, neighbor_address="192.0.2.9", channels=(channel(imported=3),))
        built.exports("up1", routes=(_route(), _route("203.0.113.0/24", "peer")))
        if back is not None:
            built.exports("peer", routes=back)
        built.link("eth0").address("eth0", "192.0.2.7/24")
        for number, gateway in enumerate(via):
            built.route("default", via=gateway, dev="eth0", protocol=protocol, priority=number)
        return built

    both, both_ways = ("192.0.2.1", "192.0.2.9"), (_route("198.18.0.0/24", "up1"),)
    leaf, spared = (f"{words}so this host",), (f"{words}and peer is given nothing of it",)
    yield _case("between providers", "static routes go by both", host(*both), says=leaf, **crit)
    yield _case("between providers, both ways", "nobody's router", host(*both, back=both_ways), 2, severity="critical",
                says=leaf)  # fmt: skip
    yield _case("between providers by BGP", "it goes one way only", host(*both, protocol=12), says=spared, **crit)
    fabric = host(*both, protocol=12, back=both_ways)
    yield _case("between providers by BGP, both ways", "a ring of routers", fabric, 2, severity="info")
    for name, back, gave in (("nothing was offered", (_route(),), 0), ("its list is not known", None, 2),
                             ("it is told nothing at all", (), 2)):  # fmt: skip
        mute = host(*both, protocol=12, back=back, gave=gave)
        yield _case(f"between providers by BGP, {name}", "no filter is seen", mute, 1, severity="info")
    for one in both:
        yield _case(f"a provider and another, {one}", "a customer, or a peer", host(one), 1, severity="info")
    told = host("192.0.2.1", protocol=12).protocol("kernel4", "Kernel")
    told.exports("kernel4", routes=(_route("0.0.0.0/0", "peer"),))
    yield _case("one provider's default in BIRD", "the kernel's goes by the other", told, says=spared, **crit)
    for name, rule, severity in (("a mark", {"fwmark": 7}, "info"), ("its address", {"src": "192.0.2.7", "src_len": 32},
                                 "critical"), ("nothing", None, "info")):  # fmt: skip
        policy = host("192.0.2.9")
        policy.route("default", via="192.0.2.1", dev="eth0", table=100, protocol=4)
        if rule is not None:
            policy.rule(100, table=100, **rule)
        why = "what is marked may go by a customer, an uplink has a table of its own"
        yield _case(f"the second default route is for {name}", why, policy, 1, severity=severity)
    yield from _since_examples(host())
    own = host("192.0.2.1", protocol=12).exports("kernel4", routes=(_route("0.0.0.0/0", "s1"), _route("::/0", "gone")))
    yield _case("a default of our own", "nobody gave it", own, 1, severity="info")


def _since_examples(now: BirdHost) -> Iterator[Example]:
    """``up1`` is given what ``peer`` told; earlier it may not have been."""

    def then(routes: tuple[BirdRoute, ...] | None, imported: int = 3, **fields: Any) -> BirdHost:
        built = BirdHost().protocol("s1", "Static").bgp("up1", neighbor_as=3320, **fields)
        built.bgp("peer", neighbor_as=1299, neighbor_address="192.0.2.9", channels=(channel(imported=imported),))
        return built.exports("up1", routes=routes) if routes is not None else built

    own, both = (_route(),), (_route(), _route("203.0.113.0/24", "peer"))
    says = ("it was given none such at the time of the baseline",)
    for name, old, severity in (
        ("it was given its own", then(own), "critical"),
        ("it was given the same", then(both), "info"),
        ("there was nothing to give", then(own, 0), "info"),
        ("it was drained", then(()), "info"),
        ("its list was not known", then(None), "info"),
        ("its routes went the other way", then(own).exports("peer", routes=(_route("198.18.0.0/24", "up1"),)), "info"),
        ("own routes went the other way", then(own).exports("peer", routes=own), "critical"),
        ("its AS was not told", then(own, local_as=None), "info"),
        ("there was no session", BirdHost().protocol("s1", "Static"), "info"),
    ):
        more: dict[str, Any] = {"baseline": old.build(), "says": says if severity == "critical" else ()}
        yield _case(f"at the time of the baseline {name}", "a filter changed", now, 1, severity=severity, **more)
