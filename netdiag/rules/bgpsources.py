"""From which address a BGP session calls, and which one its neighbour likely expects, for bgp-source-addr-mismatch.

Facts: bgp_connect() and bgp_incoming_connection() in proto/bgp/bgp.c of BIRD. Pure; nothing can fail.
"""

from ipaddress import ip_address, ip_network

import numpy as np

from netdiag.index.packet import Lookup
from netdiag.index.source6 import Sources6
from netdiag.index.view import HostView
from netdiag.model.protocols import BGP_PORT, IPPROTO_TCP
from netdiag.model.sockets import AF_INET, AF_INET6, ESTABLISHED, LISTEN
from netdiag.rules.bgpsessions import Session, sessions

RESET = "Socket: Connection reset by peer"
MOST = 64
"""Calls of one direction that are looked at."""
HANGS_UP = ("Socket: Connection closed", RESET)
CALLS_AGAIN = 10.0
"""Seconds after which a neighbour whose daemon ended is called again, and refuses or says nothing."""


def candidates(view: HostView, session: Session) -> list[str]:
    """Own addresses of the neighbour's family and scope."""
    try:
        neighbour = ip_address(session.protocol.neighbor_address or "")
    except ValueError:
        return []
    family = "inet" if neighbour.version == 4 else "inet6"
    return sorted(row.local for row in view.addresses if row.family == family and row.scope == 0)


def near(view: HostView, session: Session) -> list[str]:
    """The host's addresses that are in one subnet with the neighbour."""
    own, neighbour = candidates(view, session), session.address
    rows = [row for row in view.addresses if row.local in own]
    return [row.local for row in rows if neighbour in ip_network(f"{row.local}/{row.prefixlen}", strict=False)]


def refused_again(session: Session) -> bool:
    """Whether the neighbour hung up on a call, and not on a session that stood: since that one ended, BIRD would have
    called again ("connect delay time", 5 seconds by itself)."""
    given = session.protocol.other.get("Connect delay", "").partition("/")[2]
    delay = float(given) if given.isdecimal() else 0.0
    age = session.age()
    return session.error == RESET or (age is not None and age >= max(CALLS_AGAIN, 2 * delay))


def loopback(view: HostView, session: Session, source: str | None) -> str | None:
    """The one address on lo that a session is likely meant to call from: its neighbour is on no subnet of this host,
    inside the AS or called by the same block of names (/24, /64), and the kernel takes another address."""
    row, own, neighbour = session.protocol, candidates(view, session), session.address
    if session.error != RESET or row.local_as is None or neighbour is None or near(view, session):
        return None
    on_lo = [one.local for one in view.addresses if one.local in own and (at := view.link(one.ifindex)) and at.loopback]
    if source in (None, *on_lo):
        return None
    block = ip_network(f"{neighbour}/{24 if neighbour.version == 4 else 64}", strict=False)
    alike = [address for address in on_lo if ip_address(address) in block]
    named = on_lo if row.local_as == row.neighbor_as and len(on_lo) == 1 else alike
    return named[0] if len(named) == 1 else None


def called(view: HostView, session: Session, source: str | None) -> tuple[str, str] | None:
    """The address that this host calls the neighbour from, and another of its own that the neighbour calls."""
    neighbour = session.address
    if neighbour is None:
        return None
    table, raw = view.conntrack, np.frombuffer(neighbour.packed.ljust(16, b"\0"), np.uint8)
    bgp = (table.proto == IPPROTO_TCP) & (table.orig_dport == BGP_PORT)
    bgp &= table.family == (AF_INET if neighbour.version == 4 else AF_INET6)
    to, by = ((bgp & (column == raw).all(axis=1)).nonzero()[0].tolist() for column in (table.orig_dst, table.orig_src))
    ours = [table.row(position) for position in to[:MOST]]
    fresh = [row.orig_src for row in ours if row.tcp_state != "time_wait"]  # an earlier session's end stays longer
    from_ = set(fresh or [row.orig_src for row in ours] or ([source] if source else []))
    to_us = {table.row(position).orig_dst for position in by[:MOST]}
    held = view.sockets
    calls = (held.protocol == IPPROTO_TCP) & (held.sport == BGP_PORT) & (held.state != LISTEN)
    to_us |= {row.src for row in held.rows(calls.nonzero()[0]) if row.dst == str(neighbour)}
    mine = set(candidates(view, session))
    wanted = sorted((to_us & mine) - from_ - _taken(view, session))
    return (min(from_), wanted[0]) if from_ and wanted else None


def chosen(view: HostView, answer: Lookup | None) -> str | None:
    """The source that the kernel takes."""
    if answer is None or not answer.hops:
        return None
    given = answer.prefsrc or next((hop.src for hop in answer.hops), None)
    if given is None and answer.query.family == "inet6":
        return Sources6(view.addresses, view.stack).select(answer.hops[0].oif, answer.query.dst)
    return given


def _taken(view: HostView, session: Session) -> set[str]:
    """Own addresses of sessions that stand with this neighbour."""
    return {one.protocol.source_address or "" for one in sessions(view) if one.address == session.address}


def doomed(view: HostView, session: Session) -> str | None:
    """The source of a session that stands and gets nothing any more: the address was taken away under its socket. That
    the socket is here tells that the daemon is of this namespace."""
    source, other = session.protocol.source_address, session.address
    family = "inet6" if source and ":" in source else "inet"
    if source is None or other is None or any(row.local == source for row in view.addresses):
        return None
    held = view.sockets
    stands = (held.protocol == IPPROTO_TCP) & (held.state == ESTABLISHED)
    stands &= (held.sport == BGP_PORT) | (held.dport == BGP_PORT)
    here = any((row.src, row.dst) == (source, str(other)) for row in held.rows(stands.nonzero()[0]))
    return source if here and not view.local.is_local(family, source) else None
