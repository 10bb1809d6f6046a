"""Whether what is sent, or was a moment ago, has no way: shared by the signs that a default route was meant. Pure."""

import numpy as np
import numpy.typing as npt

from netdiag.index.fib import Fib
from netdiag.index.packet import Query
from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_HW_OFFLOAD, IPS_OFFLOAD, TCP_STATES
from netdiag.model.policyrule import PolicyRule
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.sockets import Socket

TRACKED = TCP_STATES.index("established")
LATELY = 300
"""Seconds since the last packet of a tracked connection that is taken to be in use."""
LONG = 100
"""How much longer what is established must stay than what is not acknowledged, so that the one is told by its time."""


def ended(view: HostView) -> npt.NDArray[np.bool_]:
    """Which tracked connections are established TCP of which nothing was seen lately: they stay for days.

    One whose data nobody acknowledges has only minutes from its last packet on (net/netfilter/nf_conntrack_proto_tcp.c,
    TCP_CONNTRACK_UNACK): where the others stay that much longer, hardly any entry with so little left is an old one.
    """
    table, settings = view.conntrack, view.conntrack_state.settings if view.read_whole("conntrack_state") else {}
    quiet = (table.tcp_state == TRACKED) & (table.status & (IPS_OFFLOAD | IPS_HW_OFFLOAD) == 0)
    full, left = settings.get("tcp_timeout_established"), table.timeout.astype(np.int64)
    if full is None:
        return np.asarray(quiet, np.bool_)
    unacknowledged = settings.get("tcp_timeout_unacknowledged", LATELY)
    quiet &= left < full - LATELY
    return np.asarray(quiet & (left > unacknowledged) if full >= LONG * unacknowledged else quiet, np.bool_)


def covered(fib: Fib, address: str) -> bool:
    """Whether a route of any table leads to an address."""
    whole = f"{address}/{32 if ':' not in address else 128}"
    return any(len(fib.routes_covering(number, whole)) for number in fib.tables())


def stranded(view: HostView, query: Query) -> bool:
    """Whether no rule leads this very packet to a route, and no mark, owner or other property that is not known of it
    may lead it to one; nor is one left in a table without a rule."""
    answer, fib = view.lookup(query), view.fib(query.family)
    if query.iif is None and not (query.src and view.local.owners(query.src)):
        return False  # its address has gone: a failover, or another fault
    if answer.rule is not None:
        return False
    leading = dict[int | None, list[PolicyRule]]()
    for rule in view.rules:
        if rule.family == query.family:
            leading.setdefault(rule.table, []).append(rule)
    whole = f"{query.dst}/{32 if query.family == 'inet' else 128}"
    tables = [number for number in fib.tables() if len(fib.routes_covering(number, whole))]
    return all(number in leading and all(_plain(rule) for rule in leading[number]) for number in tables)


def _plain(rule: PolicyRule) -> bool:
    """Whether a rule selects by what is known of a packet: its ends, its interface, its ports."""
    hidden = (rule.fwmark, rule.fwmask, rule.uid_start, rule.dscp, rule.tun_id)
    return all(value is None for value in hidden) and not (rule.tos or rule.unknown)


def sent_by(row: Socket, family: str, near: str, far: str) -> Query:
    """What a TCP socket sends."""
    return Query(family=family, dst=far, src=near, uid=row.uid, ip_proto=IPPROTO_TCP, sport=row.sport, dport=row.dport)
