"""Whether the neighbour of a BGP session is there at all, and whether the kernel's routes lead to it. Pure."""

import msgspec
import numpy as np

from netdiag.index.view import HostView
from netdiag.model.distinct import among
from netdiag.model.finding import Draft
from netdiag.rules.bgpsessions import Session, entries, touched, way
from netdiag.rules.silentneighbours import failing

NO_WAY = "Socket: No route to host"
"""What connect() says when nobody answered for the neighbour's address (EHOSTUNREACH)."""


def _silence(view: HostView, session: Session) -> str:
    """What shows that a neighbour next door is not there at all; empty: nothing does, or it is not next door."""
    answer = way(view, session)
    if answer is None or not answer.hops or any(hop.gateway for hop in answer.hops):
        return ""
    known = failing(view)
    asked = any((hop.oif, str(session.address)) in known for hop in answer.hops)
    if not asked and session.error == NO_WAY:  # BIRD has just called once more, and so the kernel asks
        asked = any(state in ("incomplete", "failed") for _, state, _ in entries(view, session))
    six = answer.query.family == "inet6"
    return f"it does not answer {'neighbour solicitation' if six else 'ARP'}" if asked else ""


def led_to(view: HostView, session: Session) -> int:
    """How many routes of the kernel, alone or as one of several next hops, lead to the neighbour."""
    address = session.address
    if address is None:
        return 0
    routes = view.routes("inet" if address.version == 4 else "inet6")
    if address.version == 4:
        alone = routes.gateway == int(address)
    else:
        alone = (routes.gateway == np.frombuffer(address.packed, np.uint8)).all(axis=1)
    legs = [
        number
        for number, extra in enumerate(routes.extras)
        if str(address) in (extra.via, *(hop.gateway for hop in extra.multipath))
    ]
    return int((alone | among(routes.extra, legs)).sum())


def unreachable(view: HostView, session: Session) -> str:
    """What shows that nobody is there, of a neighbour to which routes of the kernel lead: what they carry is lost."""
    return _silence(view, session) if led_to(view, session) else ""


def as_cause(view: HostView, session: Session, draft: Draft) -> Draft:
    """A finding about a neighbour that is not there is why its entry is missed: nothing but what names it can be the
    cause of that. Others stay as they are."""
    if not unreachable(view, session):
        return draft
    lost = [thing for thing in touched(view, session, way(view, session)) if thing["kind"] == "neighbour"]
    return msgspec.structs.replace(draft, breaks=(*draft.breaks, *lost), own_cause=True)
