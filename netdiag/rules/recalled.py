"""What a BGP session announced and took back since it stands, though this host still has it: its filter was changed.

BIRD counts per channel what it let through and took back (channel_show_stats() in nest/proto.c); the counts start anew
with the channel, and a new filter is fed all routes again without that. Pure; nothing can fail.
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute, UpdateCounts
from netdiag.rules.bgpsiblings import NOTHING, Standing, carried, standing
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.shape import Example

BEARERS = ("Kernel", "Device", "BFD")
"""Protocols whose routes, where they bring any, are others'."""


def makers(one: Standing, kinds: tuple[str, ...]) -> bool:
    """Whether protocols of these kinds brought routes into the channel's table."""
    of, table = one.channel.name, carried(one)[2]
    return any(
        row.proto in kinds and row.state == "up" and each.imported
        for row in one.session.daemon.protocols
        for each in row.channels
        if each.name == of and (each.table or row.table) == table
    )


def other_halves(view: HostView, one: Standing) -> list[Standing]:
    """Channels of the same session's other families that announce routes, where this one did too since it stands, and
    nothing has left its table meanwhile."""
    counts = one.channel.export_updates
    if one.internal or one.channel.output_filter == NOTHING or counts is None or not counts.accepted:
        return []
    if not _kept(one):
        return []
    return [other for other in standing(view) if _same_session(one, other) and other.channel.exported]


def _same_session(one: Standing, other: Standing) -> bool:
    place = one.session.daemon.socket, one.session.name
    return place == (other.session.daemon.socket, other.session.name) and other.channel.name != one.channel.name


def _kept(one: Standing) -> bool:
    """Whether every protocol that has to do with the table is up and has taken nothing out of it."""
    of, table = one.channel.name, carried(one)[2]
    for row in one.session.daemon.protocols:
        for each in row.channels:
            if table not in (each.table or row.table, each.peer_table) or row.name == one.session.name:
                continue
            back = each.import_withdraws
            gone = back is None or back.accepted is None or back.accepted > 0
            if each.name != of or row.state != "up" or (gone and row.proto not in BEARERS):
                return False
    return True


def recalled_cases(zero: dict[str, Any], told: dict[str, Any]) -> Iterator[Example]:
    """One session for both families, whose filters refuse by other names; ``zero``: of a channel at zero."""
    some, none = UpdateCounts(accepted=2, filtered=1), UpdateCounts(accepted=0)

    def host(*, mine: dict[str, Any] | None = None, maker: dict[str, Any] | None = None, **more: Any) -> BirdHost:
        refuses: dict[str, Any] = {"name": "ipv6", "output_filter": "a", "export_updates": some} | zero | (mine or {})
        announces = channel(**{"exported": 3, "output_filter": "b", **more})
        made = BirdHost().bgp("up1", session="external AS4", channels=(channel(**refuses), announces))
        given: dict[str, Any] = {"name": "ipv6", "imported": 1, "import_withdraws": none} | (maker or {})
        state = given.pop("proto_state", "up")
        return made.protocol("s6", given.pop("proto", "Static"), state=state, channels=(channel(**given),))

    def case(name: str, why: str, one: BirdHost, **expected: Any) -> Example:
        return Example(name=f"took back its IPv6, {name}", why=why, tables=one.build(), **expected)

    info: dict[str, Any] = {"fires": 1, "severity": "info"}
    took = UpdateCounts(accepted=1)
    yield case("and keeps IPv4", "its filter was changed", host(), says=("while up1 announces 3 of ipv4",), **told)
    yield case("and IPv4", "drained: somebody wants it so", host(exported=0), **info)
    never = host(mine={"export_updates": UpdateCounts(accepted=0, filtered=2)})
    yield case("never announced", "it may never have been meant", never, **info)
    yield case("a route went", "that may be why", host(maker={"import_withdraws": took}), **info)
    yield case("withdrawals not told", "some may have gone", host(maker={"import_withdraws": None}), **info)
    yield case("its maker is off", "a health check does so", host(maker={"proto_state": "down"}), **info)
    other = host(maker={"table": "t6", "import_withdraws": took})
    yield case("a route of another table went", "it was no concern of this one", other, **told)
    scan = host(maker={"proto": "Kernel", "import_withdraws": None})
    yield case("a kernel protocol tells none", "it takes routes and brings none", scan, **told)
    pipe = host().protocol("p", "Pipe", channels=(channel(name="main", table="t6", peer_table="master6"),))
    yield case("a pipe leads there", "what came by it is not told", pipe, **info)
    two = host().bgp("up2", session="external AS4", neighbor_as=1, channels=(channel(exported=3),))
    yield case("beside another session", "the same session counts", two, **told)
    apart = host(exported=0).bgp("up2", session="external AS4", neighbor_as=1, channels=(channel(exported=3),))
    yield case("another session announces", "this one may be drained", apart, **info)
    inside = BirdHost().bgp(
        "up1", session="internal AS4", channels=host().build().bird.daemons[0].protocols[0].channels
    )
    yield case("inside the AS", "what they tell each other is theirs", inside)


def none_cases(zero: dict[str, Any]) -> Iterator[Example]:
    """``export none`` beside a session that is given what is made here, or alone."""
    info: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "possible"}
    refuses = zero | {"output_filter": NOTHING}

    def host(kind: str = "Static", imported: int = 1, session: str = "external AS4") -> BirdHost:
        made = BirdHost().protocol("s1", kind, channels=(channel(imported=imported),))
        return made.bgp("up1", session=session, channels=(channel(**refuses),))

    def case(name: str, why: str, one: BirdHost, **expected: Any) -> Example:
        return Example(name=f"export none, {name}", why=why, tables=one.build(), **expected)

    yield case("the only session", "what is made here goes nowhere", host(), says=('"export none"',), **info)
    yield case("nothing is made here", "it only listens", host(imported=0))
    yield case("routes of others alone", "it only listens", host("BGP"))
    yield case("the only session, inside the AS", "it may be for listening", host(session="internal AS4"))
    mate = {"session": "external AS4", "neighbor_as": 65009}
    route = (BirdRoute(net="203.0.113.7/32", protocol="s1", best=True),)
    gives = host().bgp("up2", channels=(channel(exported=1, output_filter="b"),), **mate).exports("up2", routes=route)
    yield case("beside one that is given what is made here", "worth knowing", gives, **info)
    both = host().bgp("up2", channels=(channel(**refuses),), **mate)
    yield case("and so has the other", "drained: somebody wants it so", both)
    others = host().bgp("up2", channels=(channel(exported=1, output_filter="b"),), **mate)
    yield case("beside one that is given others'", "nothing of this host is told", others)
