"""What it checks
  A prefix that this host is meant to announce is in no export of a BGP session: [[announce]] of the intent names
  prefix and sessions; or the host announces other addresses of its lo (or of a dummy, or a bridge without ports) and
  not this one; or it was announced at the time of the baseline; or none of its family is announced, a service listens
  on this very address, and BIRD runs a direct protocol, which would take it from lo, or static routes that go to
  nobody; or one listens on all addresses (DNS, HTTP, HTTPS), and the direct protocol takes none of any interface; or
  the same ports are open at an address of the other family, which is announced, and none of this family is.

Why it matters
  The address is here and the service runs, so every check on the host is green; but no router leads anybody to it. With
  anycast the region is served from far away, or, where it was the last one, not at all.

Confirm
  birdc show route export SESSION
  birdc show route PREFIX all

Fix
  Make BIRD have the route (a static route, or the direct protocol with the interface "lo") and let the session's export
  filter pass it; then birdc configure.

Not flagged
  A drained host: the label drained = true, a static or direct protocol of BIRD that is switched off (and was not at the
  time of the baseline), one of the sessions that the intent names for the prefix switched off. Sessions that the intent
  names and that carry the other family alone. Sessions that are not established, which have rules of their own. Where
  only its services tell, a host whose sessions are inside the AS or are told nothing by name ("export none"). A prefix
  covered by an aggregate that is announced, where only the host's other addresses or its services tell. Lists longer
  than netdiag reads: named under "not evaluated". Addresses on lo of a host that announces none of them, where no
  service is bound to one or no direct protocol runs: without an intent nobody can tell that it should. A router's own:
  the source of a BGP session, a router id, or an address out of another block (/24, /64) than the announced ones,
  without a service. Inner addresses (RFC 1918, ULA) beside public ones, or that only a service speaks for.

References
  BIRD user's guide: protocols static and direct; nest/rt-table.c
"""

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, NamedTuple

from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute
from netdiag.model.finding import Draft, Severity, Unjudged, subject
from netdiag.model.intent import IntendedAnnouncement
from netdiag.rules.anycastcases import meant_for_both, service_examples
from netdiag.rules.bgp_bird.bgp_announced_service_down import PUBLIC
from netdiag.rules.bgpsessions import Session, bird_name, sessions
from netdiag.rules.bgpsiblings import NOTHING
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.expected import since, untold
from netdiag.rules.givenroutes import private
from netdiag.rules.localports import listeners
from netdiag.rules.servicesigns import holds_addresses
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bgp-anycast-missing-announce",
    title="a prefix that this host is meant to announce is announced to nobody",
    severity="critical",
    reads=("bird", "bird_routes", "addresses", "links", "routes"),
    consults=("intent.announce", "baseline", "sockets"),
    explains=("bgp-prefix-announced-nowhere", "bgp-asym-announce-drift"),
    own_cause=True,
)
MAKERS = ("Static", "Direct")
IGP = ("OSPF", "RIP", "Babel")


class Told(NamedTuple):
    """What a session announces; None: too many to read."""

    session: Session
    nets: set[str] | None


def exports(view: HostView) -> list[Told]:
    """Every established session with its networks."""
    found = []
    lists = {(d.socket, e.protocol): e.routes for d in view.bird_routes for e in d.exports}
    for session in sessions(view):
        if session.up:
            routes = lists.get((session.daemon.socket, session.name))
            found.append(Told(session, None if routes is None else {_canonical(row.net) for row in routes}))
    return found


@lru_cache(maxsize=65_536)  # the same prefixes go to every session
def _canonical(net: str) -> str:
    try:
        return str(ipaddress.ip_network(net))
    except ValueError:
        return net


def drained(view: HostView) -> bool:
    """Whether somebody took this host out of service; a protocol that was off at the time of the baseline as well, when
    the host announced addresses of its own, is no sign of it."""
    old, then = view.baseline, set[tuple[str, str]]()
    if old is not None and old.read_whole("bird_routes") and not old.meta.drained and _siblings(old, exports(old)):
        then = switched_off(old)
    return view.meta.drained or bool(switched_off(view) - then)


def switched_off(view: HostView) -> set[tuple[str, str]]:
    """Protocols that make routes and are off: daemon's socket and name."""
    return {
        (daemon.socket, row.name)
        for daemon in view.bird.daemons
        for row in daemon.protocols
        if row.proto in MAKERS and row.state == "down"
    }


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    yield from _nothing_told(view)
    if drained(view):
        return
    told = exports(view)
    said: set[str] = set()
    for want in view.intent.announce or ():
        said.add(want.prefix)
        yield from _meant(view, want, told)
    if view.baseline is not None and view.baseline.read_whole("bird_routes"):
        yield from _since(view, view.baseline, told, said)
    if view.intent.announce is None:
        yield from _guessed(view, told, said)
        yield from _served(view, told, said)


def _nothing_told(view: HostView) -> Iterator[Unjudged]:
    if not _siblings(view, exports(view)):
        yield from untold(view, "announce")


def _meant(view: HostView, want: IntendedAnnouncement, told: list[Told]) -> Iterator[Draft | Unjudged]:
    matching = [row for row in sessions(view) if fnmatchcase(row.name, want.session) and _of_family(row, want.prefix)]
    if any(session.switched_off for session in matching):
        return  # drained by hand
    if not matching:
        yield _draft(
            want.prefix, [], f"no session {want.session} carries its family", "critical", "intent [[announce]]"
        )
        return
    up = [row for row in told if row.session in matching]
    unread = [row.session.name for row in up if row.nets is None]
    if unread:
        yield Unjudged(reason=f"{want.prefix}: the routes sent to {', '.join(unread)} were not read")
    lacking = [row.session for row in up if row.nets is not None and want.prefix not in row.nets]
    if lacking:
        nowhere = len(lacking) == len(up)
        others = "" if nowhere else f"; {len(up) - len(lacking)} other sessions have it"
        severity: Severity = "critical" if nowhere else "warning"
        names = ", ".join(session.name for session in lacking[:4])
        yield _draft(want.prefix, lacking, f"not to {names}{others}", severity, "intent [[announce]]")


def _of_family(session: Session, prefix: str) -> bool:
    """Whether the session carries routes of the prefix's family; of BIRD 1.6 the daemon's family is not known."""
    carried = {channel.name for channel in session.protocol.channels} & {"ipv4", "ipv6"}
    return not carried or ("ipv6" if ":" in prefix else "ipv4") in carried


def _own(view: HostView) -> list[str]:
    """Host addresses of lo and its like that could be announced, as prefixes; not those from which this host speaks
    BGP: such a one is the router's own, which an inner protocol or a static route of the neighbour makes known."""
    found, loops = [], {link.ifindex for link in view.links if holds_addresses(view, link)}
    speaks = {session.protocol.source_address for session in sessions(view)}
    for row in view.addresses:
        whole = row.prefixlen == (128 if row.family == "inet6" else 32)
        if row.local in speaks:
            continue
        if row.ifindex in loops and whole and not ipaddress.ip_address(row.local).is_loopback:
            found.append(_canonical(f"{row.local}/{row.prefixlen}"))
    return found


def _place(view: HostView, prefix: str) -> str:
    """The interface that has the address: lo, where several do."""
    names = [view.ifname(row.ifindex) for row in view.local.owners(prefix.partition("/")[0])]
    return "lo" if "lo" in names or not names else names[0]


def _siblings(view: HostView, told: list[Told]) -> list[str]:
    """Addresses of lo that are announced, where every list was read."""
    if any(row.nets is None for row in told):
        return []
    announced = {net for row in told for net in row.nets or ()}
    return [prefix for prefix in _own(view) if prefix in announced]


def _guessed(view: HostView, told: list[Told], said: set[str]) -> Iterator[Draft]:
    others, bound = _siblings(view, told), listeners(view)
    announced = {net for row in told for net in row.nets or ()}
    routers = {f"{daemon.router_id}/32" for daemon in view.bird.daemons}
    for prefix in _own(view):
        family = [net for net in others if (":" in net) == (":" in prefix)]
        if prefix in said or not family or _covered(prefix, announced) or prefix in routers:
            continue
        address = prefix.partition("/")[0]
        blocks = [other.replace("/32", "/24").replace("/128", "/64") for other in family]
        beside = any(ipaddress.ip_address(address) in ipaddress.ip_network(block, strict=False) for block in blocks)
        if not (beside or bound.get(address)) or private(prefix) != private(family[0]):
            continue  # the router's own, or an inner address beside a public one: another purpose
        said.add(prefix)
        yield _draft(
            prefix,
            [row.session for row in told],
            f"it is on {_place(view, prefix)}, as {family[0]}, which is announced",
            "warning",
            f"birdc show route export {told[0].session.name}",
            likely=True,
        )


def _open(row: Told) -> bool:
    """Whether a session is not told nothing by name ("export none")."""
    return any(channel.output_filter != NOTHING for channel in row.session.protocol.channels)


def _served(view: HostView, told: list[Told], said: set[str]) -> Iterator[Draft]:
    """Addresses of a host that announces none, on which a service of their own listens, beside a direct protocol: it
    leaves lo out, or a filter refuses what it brings."""
    outward = [row for row in told if row.session.protocol.neighbor_as != row.session.protocol.local_as and _open(row)]
    if not outward or any(row.nets is None for row in told):
        return
    taken = any(row.proto == "Direct" for daemon in view.bird.daemons for row in daemon.protocols)
    announced = {net for row in told for net in row.nets or ()}
    bound, names = listeners(view), {daemon.router_id for daemon in view.bird.daemons}
    others = _siblings(view, told)
    for prefix in _own(view):
        carried = any(_carries(row, prefix) for row in outward)
        twin = _twin(prefix, others, bound) if carried else None
        family = "ipv6" if ":" in prefix else "ipv4"
        direct = taken or (not others and carried and _unused(view, family))
        mute = carried and not any((":" in net) == (":" in prefix) for net in announced)
        if twin is None and (not direct or (others and not mute)):
            continue
        address = prefix.partition("/")[0]
        open_to_all = bound.get("", set()) if _takes_nothing(view, family) else set()
        ports = sorted(bound.get(address, ())) or sorted(open_to_all & PUBLIC)
        if prefix in said or not ports or address in names or private(prefix) or _covered(prefix, announced):
            continue
        said.add(prefix)
        maker = "direct" if taken else "static"
        yield _draft(
            prefix,
            [row.session for row in outward],
            f"it is on {_place(view, prefix)}, port {ports[0]} listens on it, and "
            + (f"on {twin}, which is announced" if twin else f"BIRD's {maker} protocol, or a filter, leaves it out"),
            "warning",
            f"inet_diag {address} port {ports[0]}",
            likely=True,
        )


def _takes_nothing(view: HostView, family: str) -> bool:
    """Whether the daemon's direct protocols are on and have no route of the family: they name no interface of this
    host."""
    rows = [row for daemon in view.bird.daemons for row in daemon.protocols if row.proto == "Direct"]
    counts = [channel.imported for row in rows for channel in row.channels if channel.name == family]
    return bool(counts) and not any(counts) and None not in counts and all(row.state == "up" for row in rows)


def _unused(view: HostView, family: str) -> bool:
    """Whether static protocols have routes of the family that no other protocol takes, as far as BIRD tells all."""
    made = {
        (daemon.socket, row.name)
        for daemon in view.bird.daemons
        for row in daemon.protocols
        if row.proto == "Static" and row.state == "up"
        if any(channel.name == family and channel.imported for channel in row.channels)
    }
    if any(row.proto in IGP and row.state == "up" for daemon in view.bird.daemons for row in daemon.protocols):
        return False  # it makes addresses of lo known by itself
    lists = [(each.socket, listed) for each in view.bird_routes for listed in each.exports]
    told = {(socket, route.protocol) for socket, listed in lists for route in listed.routes or ()}
    takers = {
        (daemon.socket, row.name)
        for daemon in view.bird.daemons
        for row in daemon.protocols
        if row.state == "up" and row.proto in ("BGP", "Kernel", "Pipe")
    }
    whole = {(socket, listed.protocol) for socket, listed in lists if listed.routes is not None}
    return bool(made - told) and takers <= whole


def _twin(prefix: str, others: list[str], bound: Mapping[str, Collection[int]]) -> str | None:
    """An announced address of the other family that is the same service's, where none of this family is announced."""
    six = ":" in prefix
    if any((":" in net) == six for net in others):
        return None
    return next((net for net in others if _alike(bound, net, prefix)), None)


def _alike(bound: Mapping[str, Collection[int]], one: str, other: str) -> bool:
    """Whether the same ports are open at both addresses."""
    first, second = (set(bound.get(prefix.partition("/")[0], ())) for prefix in (one, other))
    return first == second


def _carries(row: Told, prefix: str) -> bool:
    """Whether the session has a channel of the prefix's family that is up and is not told nothing by name."""
    wanted = "ipv6" if ":" in prefix else "ipv4"
    channels = row.session.protocol.channels
    return any(one.name == wanted and one.state in ("UP", None) and one.output_filter != NOTHING for one in channels)


def _covered(prefix: str, announced: set[str]) -> bool:
    inner = ipaddress.ip_network(prefix)
    for net in announced:
        try:
            outer = ipaddress.ip_network(net)
        except ValueError:
            continue
        if outer.version == inner.version and outer.prefixlen and inner.subnet_of(outer):  # type: ignore[arg-type]
            return True
    return False


def _since(view: HostView, old: HostView, told: list[Told], said: set[str]) -> Iterator[Draft]:
    if old.meta.drained or switched_off(old) - switched_off(view) or not told or any(row.nets is None for row in told):
        return
    now = {net for row in told for net in row.nets or ()}
    before = {net for row in exports(old) for net in row.nets or ()}
    for prefix in _own(view):
        if prefix in before and prefix not in now and prefix not in said:
            said.add(prefix)
            why = f"it was {since(old)}, and is still on {_place(view, prefix)}"
            yield _draft(prefix, [row.session for row in told], why, "critical", f"birdc, {since(old)}")


def _draft(
    prefix: str, lacking: list[Session], why: str, severity: Severity, source: str, *, likely: bool = False
) -> Draft:
    first = lacking[0] if lacking else None
    name = bird_name(first.name) if first else ""
    return RULE.found(
        subject=subject("prefix", prefix=prefix),
        severity=severity,
        confidence="likely" if likely else None,
        message=f"{prefix} is not announced: {why}",
        evidence=[
            ("meant to be announced", prefix, source),
            *((f"{prefix} among the routes sent to {row.neighbour}", 0, row.source) for row in lacking[:2]),
        ],
        confirm=[first.command(f"show route export {name}"), first.command(f"show route {prefix} all")]
        if first
        else ["birdc show protocols"],
        fix=(first.command("configure") if first else "birdc configure")
        + f"  # once bird.conf makes and exports {prefix}",
        touches=[row.subject for row in lacking],
    )


P, Q = "203.0.113.7/32", "203.0.113.8/32"


def _host(*nets: str, sessions: int = 1, own: tuple[str, ...] = (P, Q), **static: Any) -> BirdHost:
    host = BirdHost().protocol("s1", "Static", **static)
    routes = tuple(BirdRoute(net=net, protocol="s1", best=True, type="blackhole") for net in nets)
    for number in range(1, sessions + 1):
        host.bgp(f"up_{number}").exports(f"up_{number}", routes=routes if number == 1 else ())
    for prefix in own:
        host.address("lo", prefix)
    return host


def _case(name: str, why: str, host: BirdHost, *wanted: IntendedAnnouncement, **expected: Any) -> Example:
    if wanted:
        host.intend(announce=wanted)
    return Example(name=name, why=why, tables=host.build(), **expected)


def examples() -> Iterator[Example]:
    want = IntendedAnnouncement(prefix=P, session="up_*")
    told: dict[str, Any] = {"fires": 1, "subject": subject("prefix", prefix=P)}
    yield _case("announced to nobody", "the region is not served", _host(), want, severity="critical", **told)
    yield _case("announced", "as it should be", _host(P), want)
    yield _case("to one of two", "the other one lacks it", _host(P, sessions=2), want, severity="warning", **told)
    first = IntendedAnnouncement(prefix=P, session="up_1")
    yield _case("to the one that is meant", "the glob names one", _host(P, sessions=2), first)
    other = IntendedAnnouncement(prefix=P, session="ix_*")
    yield _case("no such session", "it is not configured any more", _host(P), other, severity="critical", **told)
    yield _case("static switched off", "drained by hand", _host(state="down"), want)
    off = _host().bgp_down("up_9", bgp_state="Down", state="down")
    yield _case("session switched off", "drained by hand", off, want)
    down = BirdHost().bgp_down("up_1", "Socket: Connection refused")
    yield _case("not established", "another rule speaks", down, want)
    many = BirdHost().bgp("up_1").exports("up_1", routes=None, count=9000)
    yield _case("too many to read", "silence would be a lie", many, want, unjudged=True)
    yield from _untold()


def _untold() -> Iterator[Example]:
    told: dict[str, Any] = {"fires": 1, "subject": subject("prefix", prefix=P), "confidence": "likely"}
    yield _case("its sibling is announced", "two addresses of one kind", _host(Q), severity="warning", **told)
    yield _case("both are announced", "as it should be", _host(P, Q))
    yield _case("none is announced", "nobody said that they should be", _host(), unjudged=True)
    inner: Any = _host(Q, own=("10.9.9.9/32", Q)).socket(src="10.9.9.9", sport=22)
    yield _case("an inner address", "a router's own name beside the public one", inner)
    yield _case("an aggregate covers it", "routers lead here all the same", _host(Q, "203.0.113.0/24"))
    far = _host(Q).bgp("rr", source_address="203.0.113.7", neighbor_address="203.0.113.1").exports("rr", routes=())
    yield _case("the source of a session", "the router's own name, which a multihop session needs", far)
    yield _case("a default route does not", "it leads to the world", _host(Q, "0.0.0.0/0"), **told)
    before, gone = _host(P, own=(P,)).build(), _host(own=(P,))
    since_then: dict[str, Any] = {"tables": gone.build(), "baseline": before}
    yield Example(name="since the baseline", why="it was", fires=1, severity="critical", **since_then)
    beside: dict[str, Any] = {"tables": _host(Q).build(), "baseline": _host(P, Q).build()}
    yield Example(name="it was, beside one", why="that weighs more", fires=1, severity="critical", **beside)
    yield Example(name="the older lists were late", why="nobody knows", late_then=("bird_routes",), **since_then)
    yield Example(name="labelled drained", why="somebody said so", labels={"drained": "true"}, **since_then)
    away = _host(own=())
    yield Example(name="given up since", why="its address is gone too", tables=away.build(), baseline=before)
    for name, why, now, then in (
        ("drained then", "what was there was no state of service", gone, _host(P, own=(P,), state="down")),
        ("no session now", "other rules speak", BirdHost().bgp_down("up_1").address("lo", P), _host(P, own=(P,))),
        ("too many to read now", "it may be among them",
         BirdHost().bgp("up_1").exports("up_1", routes=None, count=9000).address("lo", P), _host(P, own=(P,))),
        ("never announced", "nobody said that it should be", gone, _host(own=(P,))),
        ("announced as before", "nothing has changed", _host(P, own=(P,)), _host(P, own=(P,))),
    ):  # fmt: skip
        yield Example(name=name, why=why, tables=now.build(), baseline=then.build())
    off = _host(own=(P,)).bgp_down("up_9", bgp_state="Down", state="down")
    off.intend(announce=(IntendedAnnouncement(prefix=P, session="up_*"),))
    yield Example(name="drained by hand since", why="the intent has had its say", tables=off.build(), baseline=before)
    v6, w6 = "2001:db8::7/128", "2001:db8::8/128"
    yield _case("IPv6, its sibling is announced", "the same", _host(w6, own=(v6, w6)), fires=1)
    both: Any = _host(v6, w6, own=(v6, w6)).socket(src="::1", sport=53)
    yield _case("IPv6, both are announced", "::1 is no service", both)
    yield _case("only the IPv6 one is announced", "families are apart", _host(v6, own=(P, v6)))
    yield _case("a network of the other family", "it covers nothing of this one", _host(Q, "2001:db8::/32"), **told)
    for own_address, sibling in (("2001:db8:0:1::1", w6), ("198.51.100.1", Q)):
        own = _host(sibling, own=(f"{own_address}/{sibling.rpartition('/')[2]}", sibling))
        yield _case(f"{own_address}, out of another block", "the router's own", own)
        yield _case(f"{own_address}, with a service", "that is for it", own.socket(src=own_address, sport=443), fires=1)  # type: ignore[arg-type]
    router: Any = BirdHost().daemon(router_id="203.0.113.7").bgp("up_1")
    router.exports("up_1", routes=(BirdRoute(net=Q, best=True),)).address("lo", P).address("lo", Q)
    yield _case("a router id beside it", "the router's own", router)
    yield _case("a network on lo", "no single address", _host(P, Q, own=("203.0.113.65/26", P, Q)))
    card: Any = _host(P, Q).link("eth0").address("eth0", "203.0.113.9/32")
    yield _case("an address of a card", "no service's", card)
    kernel = _host(Q).protocol("k9", "Kernel", state="down")
    yield _case("a protocol that makes no routes is off", "that is no drain", kernel, **told)
    yield from service_examples(_case)
    yield from meant_for_both(_case)
    unread = _host(Q, own=(Q,), sessions=1).bgp("up_2").exports("up_2", routes=None, count=9000)
    wanted = IntendedAnnouncement(prefix=P, session="up_*")
    yield _case("one lacks it, one was not read", "each is told", unread, wanted, fires=1, unjudged=True)
