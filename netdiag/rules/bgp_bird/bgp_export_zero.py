"""What it checks
  An established BGP session announces nothing (0 exported), routes were offered to it and its output filter refused
  them, while another session of the same kind announces some: one to the same neighbouring AS, or one with the same
  filter by name, of the same family and table. Or an external one that is given what this host itself makes, where the
  filter that refuses is written in place, or its name and the other's say the same but for the session: to_as1 and
  to_as2, up_one_out and up_two_out of the sessions up_one and up_two. Or one to a neighbouring AS that is told of every
  service address of this host (alone in its prefix, on lo) in the other family, where there is one of this family too,
  and the filters go together by their names (out4 and out6) or this one is written in place. Or it announced routes
  since it stands, nothing has left its table, and the same session announces routes of the other family: its filter was
  changed. Or it announced routes at the time of the baseline whose makers still have them.

Why it matters
  The session looks well and attracts no traffic: the neighbour has no route to what this host serves over it. As long
  as the other session stands nothing is lost; when it goes, everything is. Hence a warning.

Confirm
  birdc show protocols all NAME
  birdc show route export NAME
  birdc show route noexport NAME

Fix
  Repair the export filter in BIRD's configuration, then "birdc configure". The session is not restarted; BIRD feeds
  all routes to the new filter, and the neighbour gets what it accepts.

Not flagged
  A session without a sibling that announces something: a collector, a looking glass, a drained host whose sessions are
  all at zero. One family alone, where some address on lo is announced in neither: it is the router's own. A channel to
  which nothing was offered, or whose routes all came from that neighbour. Clients of a route server. A session
  established less than a second ago. With no sibling and no baseline to compare with: sessions inside the AS, and
  those with "export none" where this host makes no routes of its own, or tells none of several sessions of them. Told
  as info: another external one with "export none", or with a filter that refuses everything.

References
  nest/proto.c channel_show_stats(), nest/rt-table.c export_filter() of BIRD
"""

import re
from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bird import BirdProtocol, BirdRoute, UpdateCounts
from netdiag.model.finding import Draft, subject
from netdiag.rules.bgpsessions import bird_name
from netdiag.rules.bgpsiblings import IN_PLACE, NOTHING, Standing, before, carried, siblings, standing
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.recalled import makers, none_cases, other_halves, recalled_cases
from netdiag.rules.shape import Example, Rule
from netdiag.rules.zerocases import Direction, beside_siblings, silent

RULE = Rule(
    id="bgp-export-zero",
    title="an established BGP session announces nothing",
    severity="warning",
    reads=("bird",),
    consults=("bird_routes", "links", "addresses", "routes", "baseline"),
    explains=("bgp-prefix-announced-nowhere", "bgp-anycast-missing-announce"),
    own_cause=True,
)


MAKERS = ("Static", "Direct")
FAMILIES = ("ipv4", "ipv6")
"""Names of BIRD's channels."""
ALL = "ACCEPT"
"""What BIRD calls "export all"."""


def refused(one: Standing) -> int:
    """Routes that the output filter refused, where none is announced; 0 where some are, or none was offered."""
    counts = one.channel.export_updates
    return 0 if one.channel.exported != 0 or counts is None else counts.filtered or 0


def _mates(view: HostView, one: Standing) -> list[Standing]:
    """Other external sessions that let through what this host itself makes, where the filter is not one that somebody
    chose by name for something else."""
    if one.channel.output_filter in (NOTHING, ALL, None):
        return []
    return [o for o in _given(view, one) if one.channel.output_filter == IN_PLACE or _stem(one) == _stem(o)]


def _given(view: HostView, one: Standing) -> list[Standing]:
    """Other external sessions that are given what this host itself makes."""
    if one.internal:
        return []
    made = {(d.socket, row.name) for d in view.bird.daemons for row in d.protocols if row.proto in MAKERS}
    gives = {
        (d.socket, listed.protocol)
        for d in view.bird_routes
        for listed in d.exports
        if any((d.socket, route.protocol) in made for route in listed.routes or ())
    }
    return [
        other
        for other in standing(view)
        if carried(other) == carried(one)
        and other.channel.exported
        and (other.session.daemon.socket, other.session.name) in gives
    ]


def _wanted(view: HostView, one: Standing) -> bool:
    """Whether somebody may miss what a session with "export none" does not announce: this host makes routes, and tells
    another of them, or there is no other that it could tell; unless it is drained, or announced nothing at the time of
    the baseline."""
    then = before(view, one.session, one.channel.name)
    if view.meta.drained or (then is not None and not then.exported):
        return False
    alone = sum(carried(other) == carried(one) for other in standing(view)) == 1
    return not one.internal and makers(one, MAKERS) and (alone or bool(_given(view, one)))


def _twins(view: HostView, one: Standing) -> list[Standing]:
    """Sessions of the other family to the same neighbouring AS that announce service addresses of this host (those on
    lo, alone in their prefixes), where this host has service addresses of this family as well, and a filter refused
    all. Where one of the other family is announced to nobody, it is the host's own, and so may be that of this one."""
    asn, family = one.session.protocol.neighbor_as, one.channel.name
    if one.internal or asn is None or one.channel.output_filter in (NOTHING, ALL, None) or family not in FAMILIES:
        return []
    served = [row for row in view.addresses if (at := view.link(row.ifindex)) and at.loopback and row.scope == 0]
    own = {f"{row.local}/{row.prefixlen}" for row in served if row.prefixlen == (32 if row.family == "inet" else 128)}
    theirs = {prefix for prefix in own if (":" in prefix) != (family == "ipv6")}
    told = {
        (d.socket, listed.protocol): {route.net for route in listed.routes or ()} & theirs
        for d in view.bird_routes
        for listed in d.exports
    }
    gives = {session for session, nets in told.items() if nets}
    if own == theirs or theirs - set().union(*told.values()):
        return []
    return [
        other
        for other in standing(view)
        if other.session.protocol.neighbor_as == asn
        and other.channel.name in FAMILIES
        and other.channel.name != family
        and (one.channel.output_filter == IN_PLACE or _stem(one) == _stem(other))
        and other.channel.exported
        and (other.session.daemon.socket, other.session.name) in gives
    ]


def _stem(one: Standing) -> str:
    """The output filter's name without what tells one session's from another's: the session's name, and numbers."""
    return re.sub(r"\d+", "#", (one.channel.output_filter or "").replace(one.session.name, "@"))


def announced(view: HostView, one: Standing) -> int:
    """Routes that the channel announced at the time of the baseline, where one of those who made them still has some:
    a route that is gone, or whose protocol was switched off, was taken back."""
    old, then = view.baseline, before(view, one.session, one.channel.name)
    if old is None or then is None or not then.exported:
        return 0
    place = one.session.daemon.socket, one.session.name
    lists = {(d.socket, listed.protocol): listed.routes for d in old.bird_routes for listed in d.exports}
    makers = {row.name: row for row in one.session.daemon.protocols if row.state == "up"}
    kept = [route for route in lists.get(place) or () if _has(view, makers.get(route.protocol or ""), route)]
    return then.exported if kept else 0


def _has(view: HostView, maker: BirdProtocol | None, route: BirdRoute) -> bool:
    """Whether a protocol still has routes; of a direct one, whether the address is still here."""
    if maker is None:
        return False
    if maker.proto == "Direct":
        return bool(view.local.owners(route.net.partition("/")[0]))
    return any(channel.imported for channel in maker.channels)


def check(view: HostView) -> Iterator[Draft]:
    for one in standing(view):
        count = refused(one)
        if not count:
            continue
        better = [other for other in siblings(view, one, "output") if other.channel.exported] or _mates(view, one)
        better = better or _twins(view, one)
        halves = [] if better else other_halves(view, one)
        better = better or halves
        was = 0 if better else announced(view, one)
        by_name = one.channel.output_filter == NOTHING
        if not better and not was and (one.internal or (by_name and not _wanted(view, one))):
            continue
        session, policy = one.session, one.channel.output_filter
        words = f", while {better[0].session.name} announces {better[0].channel.exported}" if better else ""
        words += f" of {halves[0].channel.name}, and it announced some before" if halves else ""
        words += f" (it announced {was} at the time of the baseline)" if was else ""
        yield RULE.found(
            subject=session.subject,
            message=f"BGP session {session.name} to {session.neighbour} is established and announces no "
            f"{one.channel.name} route{words}: " + ('"export none"' if by_name else f"filter {policy} refuses all"),
            evidence=[
                (f"{one.channel.name} exported", 0, session.source),
                (f"{one.channel.name} export updates filtered", count, session.source),
                *(
                    (f"{o.session.name} {o.channel.name} exported", o.channel.exported, o.session.source)
                    for o in better[:2]
                ),
            ],
            confirm=[session.confirm, session.command(f"show route noexport {bird_name(session.name)}")],
            fix=f"{session.command('configure')}  # after repairing the export filter of {session.name} in bird.conf",
            confidence="likely" if better or was else "possible",
        )


def _zero(**fields: Any) -> dict[str, Any]:
    counts = UpdateCounts(received=9, rejected=2, filtered=7, accepted=0)
    defaults: dict[str, Any] = {"exported": 0, "export_updates": counts, "output_filter": "(unnamed)"}
    return {"session": "external AS4", "channels": (channel(**(defaults | fields)),)}


def _good(**fields: Any) -> dict[str, Any]:
    more = {name: fields.pop(name) for name in ("session", "neighbor_as") if name in fields}
    defaults: dict[str, Any] = {"exported": 3, "output_filter": "(unnamed)"}
    channels = (channel(**(defaults | fields)),)
    return {"session": "external AS4", "neighbor_address": "192.0.2.9", "channels": channels} | more


def _case(name: str, why: str, host: BirdHost, **expected: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), **expected)


WAY = Direction(_zero, _good, _case, "output_filter", "exported")


def examples() -> Iterator[Example]:
    told: dict[str, Any] = {
        "fires": 1,
        "severity": "warning",
        "confidence": "likely",
        "subject": subject("bgp-session", name="up1"),
    }
    for policy in ("(unnamed)", "REJECT"):
        host = BirdHost().bgp("up1", **_zero(output_filter=policy)).bgp("up2", **_good())
        yield _case(
            f"one of two to the same AS, {policy}",
            "the other tells that something is to be announced",
            host,
            says=("announces no ipv4 route, while up2 announces 3", "ipv4 exported 0 "),
            **told,
        )
    yield from beside_siblings(WAY, told)
    yield _case(
        "alone, everything refused",
        "perhaps the service is down and withdrawn: worth knowing and no more",
        BirdHost().bgp("up1", **_zero()),
        fires=1,
        severity="info",
    )
    info: dict[str, Any] = {"fires": 1, "severity": "info"}
    as_given: dict[str, Any]
    for name, protocol, as_given, loud in (
        ("is given what is made here", "s1", {}, True),
        ("is given a neighbour's", "up3", {}, False),
        ("has no filter", "s1", {"output_filter": "ACCEPT"}, True),
        ("has a filter by name", "s1", {"output_filter": "theirs"}, True),
        ("announces nothing", "s1", {"exported": 0}, False),
        ("of the other family", "s1", {"name": "ipv6"}, False),
        ("inside the AS", "s1", {"session": "internal AS4"}, False),
    ):
        host = BirdHost().protocol("s1", "Static").bgp("up3", neighbor_as=65007).bgp("up1", **_zero())
        host.bgp("up2", **_good(neighbor_as=65009, **as_given))
        host.exports("up2", routes=(BirdRoute(net="203.0.113.7/32", protocol=protocol, best=True),))
        seen = told if loud else info
        yield _case(f"another AS {name}", "what is made here is for every upstream", host, **seen)
    inner = BirdHost().protocol("s1", "Static").bgp("up1", **(_zero() | {"session": "internal AS4"}))
    inner.bgp("up2", **_good(neighbor_as=65009, session="internal AS4"))
    inner.exports("up2", routes=(BirdRoute(net="203.0.113.7/32", protocol="s1", best=True),))
    yield _case("both inside the AS", "what they tell each other is theirs", inner)
    named = BirdHost().protocol("s1", "Static").bgp("up1", **_zero(output_filter="drained"))
    named.bgp("up2", **_good(neighbor_as=65009))
    named.exports("up2", routes=(BirdRoute(net="203.0.113.7/32", protocol="s1", best=True),))
    yield _case("a filter by name beside one in place", "somebody chose it", named, **info)
    untold = BirdHost().protocol("s1", "Static").bgp("up1", **_zero(output_filter=None))
    untold.bgp("up2", **_good(neighbor_as=65009, output_filter=None))
    untold.exports("up2", routes=(BirdRoute(net="203.0.113.7/32", protocol="s1", best=True),))
    yield _case("filters not told", "whether they are alike is not known", untold, **info)
    for mine, yours, loud in (
        ("to_as1", "to_as2", True),
        ("up1_out", "up2_out", True),
        ("to_as1", "from_as2", False),
        ("up1_out", "up2", False),
    ):
        host = BirdHost().protocol("s1", "Static").bgp("up1", **_zero(output_filter=mine))
        host.bgp("up2", **_good(neighbor_as=65009, output_filter=yours))
        host.exports("up2", routes=(BirdRoute(net="203.0.113.7/32", protocol="s1", best=True),))
        yield _case(f"{mine} beside {yours}", "a filter for each session", host, **(told if loud else info))
    words = BirdHost().protocol("s1", "Static").bgp("up_one", **_zero(output_filter="up_one_out"))
    words.bgp("up_two", **_good(neighbor_as=65009, output_filter="up_two_out"))
    words.exports("up_two", routes=(BirdRoute(net="203.0.113.7/32", protocol="s1", best=True),))
    yield _case(
        "filters named by their sessions",
        "the same policy",
        words,
        **(told | {"subject": subject("bgp-session", name="up_one")}),
    )
    yield from _of_two_families(told)
    yield from _silent()
    yield from _since()
    zero = _zero()["channels"][0]
    at_zero = {"exported": 0, "export_updates": zero.export_updates}
    yield from recalled_cases({"exported": 0}, told)
    yield from none_cases(at_zero)


def _since() -> Iterator[Example]:
    """One session, which announced something at the time of the baseline."""

    def host(*, out: int = 0, maker: dict[str, Any] | None = None, proto: str = "Static", **fields: Any) -> BirdHost:
        session = {key: fields.pop(key) for key in ("session",) if key in fields}
        given = _good(exported=out, **fields) if out else _zero(**fields) | {"neighbor_address": "192.0.2.9"}
        made = BirdHost().bgp("up1", **(given | session))
        made.protocol("s1", proto, **({"channels": (channel(imported=1),)} | (maker or {})))
        routes = (BirdRoute(net="203.0.113.7/32", protocol="s1", best=True),) if out else ()
        return made.exports("up1", routes=routes)

    told: dict[str, Any] = {"fires": 1, "severity": "warning", "confidence": "likely"}
    info: dict[str, Any] = {"fires": 1, "severity": "info"}
    old, says = host(out=3).build(), ("(it announced 3 at the time of the baseline)",)
    for name, why, now, seen in (
        ("a filter refuses all", "it was wanted", host(), told),
        ("export none", "it was wanted", host(output_filter="REJECT"), told),
        ("inside the AS", "it was wanted", host(session="internal AS4"), told),
        ("its maker is switched off", "drained by hand", host(maker={"state": "down"}), info),
        ("its maker has none", "it was taken back", host(maker={"channels": (channel(imported=0),)}), info),
        ("a direct protocol, and no address", "the service is gone", host(proto="Direct"), info),
    ):
        yield Example(
            name=f"it announced three, {name}",
            why=why,
            tables=now.build(),
            baseline=old,
            **seen,
            says=says if seen is told else (),
        )
    there = host(proto="Direct").address("lo", "203.0.113.7/32")
    yield Example(
        name="it announced three, of an address that is here",
        why="it was wanted",
        tables=there.build(),
        baseline=old,
        says=says,
        **told,
    )
    none: dict[str, Any] = {"tables": host(output_filter="REJECT").build()}
    yield Example(name="it announced nothing then", why="a collector", baseline=host().build(), **none)
    yield Example(name="labelled drained", why="out of service", baseline=old, labels={"drained": "true"}, **none)
    yield Example(
        name="the baseline's BIRD was late", why="nothing is known", baseline=old, late_then=("bird",), **none, **info
    )


def _of_two_families(told: dict[str, Any]) -> Iterator[Example]:
    """A service with an address of each family on lo, and one session a family to the same neighbouring AS."""

    def host(
        service: str = "2001:db8:7::7/128",
        *,
        mine: str = "out6",
        yours: str = "out4",
        net: str = "203.0.113.7/32",
        router: str = "127.0.0.2/8",
        session: dict[str, Any] | None = None,
        other: dict[str, Any] | None = None,
        name: str = "ipv6",
    ) -> BirdHost:
        host = BirdHost().bgp("up1", **(_zero(name=name, output_filter=mine) | (session or {})))
        host.bgp("up2", **_good(output_filter=yours, **(other or {})))
        host.exports("up2", routes=(BirdRoute(net=net, protocol="s1", best=True),))
        host.link("eth0").address("eth0", "2001:db8:1::1/128").address("lo", "203.0.113.7/32", scope=0)
        host.address("lo", service, scope=0).address("lo", router, scope=0)
        return host

    info: dict[str, Any] = {"fires": 1, "severity": "info"}
    yield _case("the service is announced by IPv4", "its IPv6 is not", host(), **told)
    yield _case("the service by IPv4, in place", "its IPv6 is not", host(mine="(unnamed)"), **told)
    for name, why, one in (
        ("no service of IPv6", "a host without one", host("10.0.0.7/32")),
        ("a subnet on lo", "that is no service", host("2001:db8:7::7/64")),
        ("another filter", "somebody chose it", host(mine="drained")),
        ("IPv4 announces something else", "a network behind it", host(net="198.51.100.0/24")),
        ("a loopback of each family", "it is the router's own", host(router="10.255.0.1/32")),
        ("to another AS by IPv4", "another purpose", host(mine="(unnamed)", other={"neighbor_as": 65009})),
        ("no AS known", "it may be another", host(session={"neighbor_as": None}, other={"neighbor_as": None})),
        ("by multicast", "that is no address of a service", host(other={"name": "ipv4-mc"})),
        ("a channel of neither family", "it carries none of them", host(name="vpn6-mpls")),
        ("export all", "BIRD's own word", host(mine="ACCEPT", yours="ACCEPT")),
    ):
        yield _case(name, why, one, **info)
    quiet = host(other={"exported": 0})
    yield _case("nothing is announced by IPv4 either", "drained", quiet, **info)
    inner = host(session={"session": "internal AS4"})
    yield _case("two families inside the AS", "others may announce it", inner)


def _silent() -> Iterator[Example]:
    yield from silent(WAY)
    few = UpdateCounts(received=2, rejected=2, filtered=0, accepted=0)
    yield _case(
        "all came from there",
        "BIRD gives no route back to whom it is from",
        BirdHost().bgp("up1", **_zero(export_updates=few)).bgp("up2", **_good()),
    )
    no = BirdHost().bgp("up1", **_zero(export_updates=None)).bgp("up2", **_good())
    yield _case("counts not told", "nothing was refused, as far as is known", no)
