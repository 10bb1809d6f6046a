"""Channels of established BGP sessions, and those of the same kind that one may be held against.

A count of zero is a fault or a wish; only a second session of the same kind that does better tells. Facts: the counters
are those of channel_show_stats() in nest/proto.c of BIRD; a filter's name is REJECT for ``none``, ACCEPT for ``all``,
``(unnamed)`` for one written in place. Pure; nothing can fail.
"""

from collections.abc import Iterator
from typing import NamedTuple

from netdiag.index.view import HostView
from netdiag.model.bird import BirdChannel
from netdiag.rules.bgpsessions import Session, sessions

SETTLED = 1.0
"""Seconds after which an established session has begun to tell its routes."""
NOTHING, IN_PLACE = "REJECT", "(unnamed)"
NAMELESS = (NOTHING, "ACCEPT", IN_PLACE, None)


class Standing(NamedTuple):
    """A channel of an established session."""

    session: Session
    channel: BirdChannel

    @property
    def internal(self) -> bool:
        """Inside one autonomous system."""
        return (self.session.protocol.session or "").startswith("internal")


def standing(view: HostView) -> Iterator[Standing]:
    """Every channel that is up, of sessions that are established and have settled; no route server's clients."""
    for session in sessions(view):
        age = session.age()
        young = age is not None and age < SETTLED
        if not session.up or young or "route-server" in (session.protocol.session or ""):
            continue
        for channel in session.protocol.channels:
            if channel.state in ("UP", None):
                yield Standing(session, channel)


def carried(one: Standing) -> tuple[str, str, str | None, bool]:
    """What channels must share to be held against each other: daemon, family, table, and whether it is one AS."""
    table = one.channel.table or one.session.protocol.table
    return one.session.daemon.socket, one.channel.name, table, one.internal


def before(view: HostView, session: Session, name: str) -> BirdChannel | None:
    """The session's channel of that name at the time of the baseline, where it was up, on a host that was in service,
    as it is now."""
    old = view.baseline
    if old is None or not old.read_whole("bird") or old.meta.drained or view.meta.drained:
        return None
    own = (session.daemon.socket, session.name, session.protocol.neighbor_as)
    for one in sessions(old):
        if one.up and (one.daemon.socket, one.name, one.protocol.neighbor_as) == own:
            return next((channel for channel in one.protocol.channels if channel.name == name), None)
    return None


def siblings(view: HostView, one: Standing, direction: str) -> list[Standing]:
    """Channels of the same family and table, this one included: to the same neighbouring AS, or with the same filter by
    name. ``direction``: ``input`` or ``output``."""

    def policy(of: Standing) -> str | None:
        return of.channel.input_filter if direction == "input" else of.channel.output_filter

    def same(other: Standing) -> bool:
        if policy(other) == policy(one) and policy(one) not in NAMELESS:
            return True
        asn = one.session.protocol.neighbor_as
        return not one.internal and asn is not None and other.session.protocol.neighbor_as == asn

    return [other for other in standing(view) if carried(other) == carried(one) and same(other)]
