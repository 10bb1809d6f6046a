"""What it checks
  Listening TCP sockets whose accept queue is full: more connections wait than the backlog allows, at both looks, or
  the kernel counted refused ones in between (TcpExt.ListenOverflows) and the fullest queue is named.

Why it matters
  With a full accept queue the kernel drops the client's SYN, and the last ACK of the handshake too: clients see
  connections that take one, three, seven seconds, or time out, while the host looks idle and everything is "up".

Confirm
  ss -ltn: Recv-Q above Send-Q at the listener
  nstat -az TcpExtListenOverflows, twice

Fix
  Make the program accept: it hangs, is stopped, or has too few workers. If it only falls behind in bursts, raise its
  backlog and net.core.somaxconn, which caps it, and restart it: the backlog is taken when it calls listen().

Not flagged
  A queue that is exactly as long as the backlog: the kernel takes one more. ListenDrops, which counts other drops as
  well. Overflows of the past. A queue that was full at one look and empty at the other, with nothing counted.

References
  include/net/sock.h sk_acceptq_is_full(); net/ipv4/tcp_ipv4.c tcp_v4_syn_recv_sock(), net/ipv4/tcp_input.c
  tcp_conn_request(); listen(2)
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.sockets import TOLD_BACKLOG
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule
from netdiag.rules.sockettables import about, listening, named

RULE = Rule(
    id="tcp-listen-overflow",
    title="a listener's accept queue is full",
    severity="critical",
    reads=("sockets", "counters"),
    explains=("tcp-syncookies-sent",),
)
COUNTER = "TcpExt.ListenOverflows"


def check(view: HostView) -> Iterator[Draft]:
    table = view.sockets
    waiting = listening(table, IPPROTO_TCP) & (table.told & TOLD_BACKLOG != 0)
    over = waiting & (table.rqueue > table.wqueue)
    over_later = waiting & (table.later == 1) & (table.later_rqueue > table.wqueue)
    lost = view.moved(COUNTER) or 0
    looked_twice = bool((table.later == 1).any())
    chosen = np.flatnonzero(over | over_later if lost or not looked_twice else over & over_later)
    for position in chosen.tolist():
        row = table.row(position)
        waits = max(int(table.rqueue[position]), int(table.later_rqueue[position]))
        sure = bool(lost) or bool(over_later[position])
        yield RULE.found(
            subject=about(row),
            severity="critical" if sure else "warning",
            confidence="certain" if sure else "likely",
            message=f"the accept queue of {named(view, row)} is full ({waits} connections wait, its backlog is "
            f"{int(table.wqueue[position])}): new connections are dropped",
            evidence=[
                ("connections that wait", waits, f"SOCK_DIAG tcp sport {row.sport} idiag_rqueue"),
                ("backlog", int(table.wqueue[position]), f"SOCK_DIAG tcp sport {row.sport} idiag_wqueue"),
                ("refused between the looks", lost, f"/proc/net/netstat {COUNTER}"),
            ],
            confirm=[f"ss -ltnp sport = :{row.sport}", "nstat -az TcpExtListenOverflows"],
            fix="make the program accept (it hangs, is stopped, or has too few workers); then raise its backlog and "
            "net.core.somaxconn and restart it",
            breaks=[subject("host")],
        )
    if lost and not len(chosen):
        yield RULE.found(
            subject=subject("host"),
            message=f"{lost} new TCP connections were dropped because an accept queue was full",
            evidence=[("refused between the looks", lost, f"/proc/net/netstat {COUNTER}")],
            confirm=["nstat -az TcpExtListenOverflows", "ss -ltnp"],
            fix="find the listener whose Recv-Q comes near its Send-Q (ss -ltn), and raise its backlog",
        )


def _host(waits: int, backlog: int, later: int | None, before: int | None = 5, after: int | None = 5) -> HostBuilder:
    seen = {} if later is None else {"later": 1, "later_rqueue": later}
    host = HostBuilder().socket(src="::", sport=80, rqueue=waits, wqueue=backlog, comm="web", **seen)
    samples: list[dict[str, Any]] = [{"snmp": {} if n is None else {COUNTER: n}} for n in (before, after)]
    return host.counters(before=samples[0], after=samples[1])


def examples() -> Iterator[Example]:
    listener = subject("socket", netid="tcp", src="::", sport=80)

    def fires(name: str, why: str, host: HostBuilder, **more: Any) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=1, **more)

    yield fires(
        "full at both looks",
        "the plain fault, and nobody tried between the looks",
        _host(6, 5, 6),
        subject=listener,
        severity="critical",
        confidence="certain",
        says=("web's tcp socket [::]:80", "backlog is 5"),
    )
    sure: dict[str, Any] = {"subject": listener, "severity": "critical", "confidence": "certain"}
    yield fires("full, and refused", "counted as well", _host(6, 5, 6, 5, 9), severity="critical")
    yield fires("full at the second look, and refused", "it filled meanwhile", _host(0, 5, 6, 5, 6), **sure)
    yield fires("full at the first, and refused", "the program woke up", _host(6, 5, 0, 5, 6), **sure)
    yield fires("one look", "then it may have been a burst", _host(6, 5, None), severity="warning", confidence="likely")
    yield fires(
        "refused, and no queue is full now",
        "too short a burst to be seen",
        _host(1, 5, 0, 5, 8),
        subject=subject("host"),
        says=("3 new TCP connections",),
    )
    for name, why, host in (
        ("as long as the backlog", "the kernel takes one more", _host(5, 5, 5)),
        ("full at one look only", "the program fell behind for a moment, nothing was lost", _host(6, 5, 5)),
        ("full at the second look only", "the same later", _host(5, 5, 6)),
        ("overflows of the past", "the counter stands still", _host(0, 5, 0, 900, 900)),
        ("counter went back", "a reset", _host(0, 5, 0, 9, 1)),
        ("counter not there", "an old kernel proves nothing", _host(0, 5, 0, None, None)),
        (
            "backlog not told",
            "/proc/net/tcp has no limit to compare with",
            HostBuilder().socket(sport=80, rqueue=3, told=0),
        ),
        (
            "bytes of a connection",
            "Recv-Q of a connection is bytes, not connections",
            HostBuilder().socket(sport=80, dport=9, state=1, rqueue=900, wqueue=0, later=1, later_rqueue=900),
        ),
        (
            "a UDP socket with unread bytes",
            "it has no accept queue",
            HostBuilder().socket(protocol=17, sport=53, rqueue=900, later=1, later_rqueue=900),
        ),
    ):
        yield Example(name=name, why=why, tables=host.build())
