"""What it checks
  An external BGP session is given routes that are not this host's to give: private prefixes announced to a public AS;
  a default route, told to a public AS by which this host's own default route goes; or routes learnt from another
  external session, although another session to the same AS, to which such routes were offered as well, gets none of
  them; or those of one provider given to another. A provider is an AS with a neighbour by which a default route of
  the kernel goes (not one for some marks alone): no routing daemon made that route, or the first provider is given
  nothing of the second, which it was offered; or those of a session of which it was given none at the time of the
  baseline, when they were there. And, as a warning, those of one session given to another where both have the names
  of upstreams (isp1, transit_b), or private networks of an internal session given to such a one, or given
  together with each other's routes to neighbours that tell public ones alone; routes of any other
  protocol (an internal session, an IGP, connected networks) of which it was given none then, though it was given
  others and the kernel had the very same; and, where [[announce]] of the intent names what goes to the session,
  routes of another external session, and private ones of an internal session, that it does not name (nor anything
  wider).

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
  baseline says that they were kept back. Private prefixes to a private AS: inner networks; told as info where an
  internal session brought them. What the intent does not name, on a host that is there to pass routes on, by its role
  (a label, or a word of its name): transit, rs, rr, ix, core, spine. Routes passed from one external neighbour to
  another where every session to that AS gets such, and one of the two is no provider: transit, route servers,
  customers; told as info. So are routes
  passed both ways between neighbours that gave us our default routes by BGP: a ring or a fabric of routers does that
  (with private AS numbers; between public ones it is a warning).
  So is everything, private networks of inside too, to one neighbour where the others are not given those: a branch.
  So are those of a neighbour that was given the session's own at the time of the baseline: the way back is new only
  because one of the two lost a route. A default route given to a customer. Route lists beyond the cap: not evaluated
  for that session.

References
  RFC 7908, RFC 8212, RFC 6996 (private AS numbers), RFC 1918, RFC 6598, RFC 4193
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from netdiag.index.reach import reachable_tables
from netdiag.index.view import HostView
from netdiag.index.ways import ways
from netdiag.model.bird import BirdRoute
from netdiag.model.distinct import among
from netdiag.model.finding import Confidence, Draft, Severity, subject
from netdiag.rules.bgpsessions import Session, bird_name, sessions
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.givenroutes import Told, all_, external, internal, private, unmeant
from netdiag.rules.leakcases import everything_examples, inner_examples, unnamed_examples, whole_examples
from netdiag.rules.shape import Example, Rule
from netdiag.rules.waysout import ROUTING_DAEMONS, by_mark

RULE = Rule(
    id="bgp-export-leak",
    title="an external BGP session is given routes that are not ours to give",
    severity="critical",
    confidence="likely",
    reads=("bird",),
    consults=("bird_routes", "routes", "rules", "links", "nexthops", "baseline", "intent.announce"),
    explains=("bgp-prefix-limit-hit",),
    own_cause=True,
)


UPSTREAM = re.compile(r"(?i)(?:^|[^a-z])(?:upstream|transit|isp|provider|carrier)s?(?![a-z])")
CUSTOMER = re.compile(r"(?i)cust|client|downstream|kunde|member")
NOT_NAMED = "were learnt from {}, and [[announce]] of the intent names none of them for it"


def private_as(number: int) -> bool:
    """RFC 6996, and the reserved ones around."""
    return 64496 <= number <= 65551 or number >= 4200000000


def bought(name: str) -> bool:
    """Whether a session has the name of one that somebody is paid for to carry this network's traffic."""
    return bool(UPSTREAM.search(name)) and not CUSTOMER.search(name)


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
        elif not passed and (opened := _opened(view, before, session, routes)):
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
            elif asn in providers and home and not any(private_as(one or 0) for one in (asn, *home)):
                words = f"were learnt from {origin}: default routes come from both, which have public AS numbers"
                yield _draft(session, passed, words, "warning")
            elif before is not None and before.spared((session.daemon.socket, session.name), passed):
                words = f"were learnt from {origin}: it was given none such at the time of the baseline"
                yield _draft(session, passed, words, "critical")
            elif bought(session.name) and (sold := [one for one in passed if bought(one.protocol or "")]):
                words = f"were learnt from {sold[0].protocol}: both sessions have the names of upstreams"
                yield _draft(session, sold, words, "warning")
            elif strange := unmeant(view, session, now):
                yield _draft(session, strange, NOT_NAMED.format(strange[0].protocol), "warning")
            elif inside := _everything(now, session, passed):
                words = f"were learnt from {origin}, or are private networks that {inside[0].protocol} brought, though "
                words += "its neighbour tells public ones alone: the filter lets everything out"
                yield _draft(session, [*passed, *inside], words, "warning")
            else:
                yield _draft(session, passed, f"were learnt from {origin}: transit, or a leak", "info", "possible")
        elif strange := unmeant(view, session, now):
            yield _draft(session, strange, NOT_NAMED.format(strange[0].protocol), "warning")
        elif guests := [route for route in inner if internal(rows.get((session.daemon.socket, route.protocol or "")))]:
            words = f"are private networks that {guests[0].protocol} brought"
            if bought(session.name):
                yield _draft(session, guests, f"{words}, and the session has the name of an upstream", "warning")
            else:
                yield _draft(session, guests, f"{words}: an inner network, or a leak", "info", "possible")


def _everything(now: Told, session: Session, passed: list[BirdRoute]) -> list[BirdRoute]:
    """Private networks of inside that a session is given, and each of those sessions too whose routes it is given: a
    branch may be told everything by its head office, its provider is not."""
    socket = session.daemon.socket
    sources = {route.protocol or "" for route in passed}
    return now.inside((socket, session.name)) if all(now.inside((socket, name)) for name in sources) else []


def _opened(view: HostView, before: Told | None, session: Session, routes: Iterable[BirdRoute]) -> list[BirdRoute]:
    """Those of the routes that the session was not given at the time of the baseline, though they were there."""
    if before is None or view.baseline is None:
        return []
    return before.kept_back((session.daemon.socket, session.name), list(routes), view.baseline)


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
    yield from everything_examples(_route)
    yield from inner_examples(_route)
    yield from whole_examples(_route)
    yield from unnamed_examples(_route)
    for name, fields in (("down", {"state": "start"}), ("own AS not told", {"local_as": None})):
        session = BirdHost().bgp("up1", neighbor_as=3320, **fields).exports("up1", routes=(_route("10.1.0.0/16"),))
        yield _case(f"session {name}", "nothing can be said", session)


def _provider_examples(crit: dict[str, Any]) -> Iterator[Example]:
    """``up1`` is given what ``peer`` told."""
    words = "default routes go by both, "

    def host(
        *via: str,
        protocol: int = 4,
        back: tuple[BirdRoute, ...] | None = (_route(),),
        gave: int = 2,
        asn: tuple[int, int] = (3320, 1299),
    ) -> BirdHost:
        built = BirdHost().protocol("s1", "Static")
        built.bgp("up1", neighbor_as=asn[0], channels=(channel(imported=gave),))
        built.bgp("peer", neighbor_as=asn[1], neighbor_address="192.0.2.9", channels=(channel(imported=3),))
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
    for asn, count, worst in (
        ((3320, 1299), 2, "warning"),
        ((3320, 65100), 2, "info"),
        ((65100, 1299), 2, "info"),
        ((65100, 65200), 2, "info"),
    ):
        fabric = host(*both, protocol=12, back=both_ways, asn=asn)
        name = f"between providers by BGP, both ways, {asn}"
        yield _case(name, "a ring of routers has private numbers", fabric, count, severity=worst)
        for word, back, gave in (("nothing was offered", (_route(),), 0), ("its list is not known", None, 2),
                                 ("it is told nothing at all", (), 2)):  # fmt: skip
            mute = host(*both, protocol=12, back=back, gave=gave, asn=asn)
            name = f"between providers by BGP, {word}, {asn}"
            yield _case(name, "no filter is seen", mute, 1, severity=worst)
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
    yield from (*_since_examples(host()), *_named_examples())
    own = host("192.0.2.1", protocol=12).exports("kernel4", routes=(_route("0.0.0.0/0", "s1"), _route("::/0", "gone")))
    yield _case("a default of our own", "nobody gave it", own, 1, severity="info")


def _named_examples() -> Iterator[Example]:
    """Neighbours with private AS numbers, by the names of their sessions."""
    for to, origin, severity in (
        ("isp1", "isp2", "warning"),
        ("upstream_a", "TRANSIT_B6", "warning"),
        ("upstream_a", "ix1", "info"),
        ("ix1", "upstream_a", "info"),
        ("transit_cust1", "transit_b", "info"),
        ("crisp", "dispatch", "info"),
    ):
        host = BirdHost().bgp(to, neighbor_as=65100).bgp(origin, neighbor_as=65200, neighbor_address="192.0.2.9")
        host.exports(to, routes=(_route("203.0.113.0/24", origin),))
        says = (f"learnt from {origin}: both sessions have the names of upstreams",) if severity == "warning" else ()
        name, why = f"{origin}'s to {to}", "somebody named them"
        yield _case(name, why, host, 1, severity=severity, says=says)
    for to, severity in (("isp1", "warning"), ("aws", "info")):
        inner = BirdHost().bgp(to, neighbor_as=65100).bgp("rr", neighbor_as=65001, neighbor_address="192.0.2.8")
        inner.exports(to, routes=(_route("10.1.0.0/16", "rr"),))
        yield _case(f"inner networks to {to}", "somebody named it", inner, 1, severity=severity)


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
