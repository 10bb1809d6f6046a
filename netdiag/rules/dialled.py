"""Connections that programs of this host opened, as what it sends to: demands (rules/demands.py) from the socket table.

Who was dialled is wanted; who dialled this host may be an attacker whom somebody shut out on purpose. A connection
counts as dialled where nothing listens on its local port. Pure; nothing can fail.
"""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import numpy as np

from netdiag.index.packet import Query
from netdiag.index.view import HostView
from netdiag.model.distinct import among, distinct
from netdiag.model.finding import subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.sockets import AF_INET, AF_INET6, ESTABLISHED, SYN_SENT
from netdiag.rules.build import HostBuilder
from netdiag.rules.demands import Demand
from netdiag.rules.shape import Example
from netdiag.rules.sockettables import comm_of, endpoint, listening, plain

MOST = 128
"""Connections that are asked about, one for each far end and port."""


def dialled(view: HostView) -> Iterator[Demand]:
    """TCP connections to others that stand or are being opened; busy where bytes wait for an answer."""
    table = view.sockets
    mine = (table.protocol == IPPROTO_TCP) & among(table.family, (AF_INET, AF_INET6))
    mine &= among(table.state, (ESTABLISHED, SYN_SENT))
    mine &= ~among(table.sport, distinct(table.sport[listening(table, IPPROTO_TCP)]).tolist())
    told = set[tuple[str, int]]()
    for position in sorted(np.flatnonzero(mine).tolist(), key=lambda at: int(table.wqueue[at]) == 0):
        row = table.row(position)
        dst, src = str(plain(row.dst)), str(plain(row.src))
        if (dst, row.dport) in told or ip_address(dst).is_loopback or ip_address(dst).is_link_local:
            continue
        told.add((dst, row.dport))
        comm = comm_of(view, row.inode)
        yield Demand(
            query=Query(
                family="inet6" if ":" in dst else "inet",
                dst=dst,
                src=src,
                oif=row.ifindex or None,
                mark=int(table.mark[position]),
                uid=row.uid,
                ip_proto=IPPROTO_TCP,
                sport=row.sport,
                dport=row.dport,
            ),
            words=f"{comm + chr(39) + 's' if comm else 'a'} connection to {endpoint(dst, row.dport)}",
            kind="connection",
            busy=bool(table.wqueue[position]),
            suffers=(subject("socket", netid=row.netid, src=row.src, sport=row.sport),),
        )
        if len(told) >= MOST:
            return


def marked(view: HostView) -> Iterator[Demand]:
    """Those with a mark of their own (SO_MARK) whose bytes nobody answers; none is busy: they may be meant to end."""
    for demand in dialled(view):
        if demand.busy and demand.query.mark:
            yield replace(demand, busy=False)


def refused_marked() -> Iterator[Example]:
    """For rule-terminal-unreachable: what a program marked."""

    def case(name: str, why: str, severity: Any, rule: dict[str, Any] | None = None, **fields: Any) -> Example:
        host = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").route("default", via="10.0.0.2", dev="eth0")
        host.rule(100, action="unreachable", **({"fwmark": 1} if rule is None else rule))
        ends = {"src": "10.0.0.1", "sport": 40000, "dst": "203.0.113.9", "dport": 443}
        host.socket(**(ends | {"state": 1, "wqueue": 100, "mark": 1} | fields))
        name = f"a program's marked connection: {name}"
        return Example(name=name, why=why, tables=host.build(), fires=1, severity=severity)

    yield case("it waits for an answer", "its route is there, and not asked", "warning")
    yield case("it has nothing to send", "nobody knows of whom", "info", wqueue=0)
    yield case("it has another mark", "it is not refused", "info", mark=2)
    yield case("it has none", "likewise", "info", mark=0)
