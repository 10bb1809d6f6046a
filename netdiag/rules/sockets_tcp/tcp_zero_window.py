"""What it checks
  Connections on which this host has something to send and the peer grants no window: the kernel only probes, time
  after time, while both ends look established. And the other way round: connections whose receive buffer is full here,
  so that this host grants no window, and of which nothing was read between two looks.

Why it matters
  The peer's program does not read. What this host's program writes is stuck behind it, and with it often a whole pool
  of workers. After tcp_retries2 probes without an answer the connection dies; with answers it can hang for ever.

Confirm
  ss -tnoi: timer:(persist,...) and Send-Q

Fix
  Look at the program on the peer. Here: a write timeout (TCP_USER_TIMEOUT) lets go of such connections. Where the full
  buffer is here: look at the program that holds the connection (ss -tmnp).

Not flagged
  As more than a note: fewer than six probes in a row, some twelve seconds: a consumer that pauses. A full buffer here
  for less than that, or of a client: somebody may be reading page by page; or of a service that reads its other
  connections meanwhile: it holds this one back, as proxies and brokers do. Connections without anything to send.
  Those whose window has room for a segment: this host itself refuses their packets (a route, a filter), and the kernel
  waits as it does for a window.

References
  net/ipv4/tcp_timer.c tcp_probe_timer(); RFC 9293 section 3.8.6.1; idiag_timer 4 of inet_diag
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.sockets import ESTABLISHED, LISTEN, TOLD_INFO, TOLD_SKMEM, Sockets
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule
from netdiag.rules.sockettables import Mask, comm_of, endpoint, listening

RULE = Rule(
    id="tcp-zero-window",
    title="a peer takes nothing any more",
    severity="warning",
    reads=("sockets",),
)
PROBE_TIMER, LONG = 4, 6
FULL = (3, 4)
"""Share of the receive buffer from which on no window is left for a whole segment."""
PAUSE = 12_000
"""Milliseconds: as long as six probes take."""
SHOWN = 5


def check(view: HostView) -> Iterator[Draft]:
    table = view.sockets
    stuck = (table.protocol == IPPROTO_TCP) & (table.state != LISTEN) & (table.timer == PROBE_TIMER)
    stuck &= (table.wqueue > 0) & (np.maximum(table.retrans, table.probes) > 0)
    stuck &= ((table.told & TOLD_INFO) == 0) | (table.snd_wnd < np.maximum(table.snd_mss, 1))
    peers: dict[tuple[str, int], list[int]] = {}
    for position in np.flatnonzero(stuck).tolist():
        row = table.row(position)
        service = (row.dst, row.dport) if row.dport < row.sport else (row.dst, 0)
        peers.setdefault(service, []).append(position)
    ordered = sorted(peers.items(), key=lambda item: (-len(item[1]), item[0]))
    for (dst, dport), positions in ordered[:SHOWN]:
        probes = max(max(int(table.retrans[p]), int(table.probes[p])) for p in positions)
        waiting = sum(int(table.wqueue[p]) for p in positions)
        severity: Severity = "warning" if probes >= LONG else "info"
        place = endpoint(dst, dport) if dport else dst
        yield RULE.found(
            subject=subject("socket", netid="tcp", dst=dst, dport=dport or None),
            severity=severity,
            message=f"{place} has closed its window on {len(positions)} connection{'s' * (len(positions) > 1)}: "
            f"{waiting} bytes wait, after {probes} probes",
            evidence=[
                ("bytes that wait", waiting, "SOCK_DIAG tcp idiag_wqueue"),
                ("probes in a row", probes, "SOCK_DIAG tcp idiag_timer 4, tcpi_backoff, tcpi_probes"),
            ],
            confirm=[f"ss -tnoi dst {dst if ':' not in dst else f'[{dst}]'}"],
            fix="look at the program on the peer, which does not read; here, TCP_USER_TIMEOUT lets go of "
            "such connections",
        )
    yield from _full_here(view)


def full_here(table: Sockets) -> tuple[Mask, Mask]:
    """Connections whose program here leaves the receive buffer full: the window that this host grants is closed. And
    those among them whose program hangs: it serves that port, reads nothing there, and has not for long."""
    full = (table.protocol == IPPROTO_TCP) & (table.state == ESTABLISHED) & (table.told & TOLD_SKMEM != 0)
    full &= (table.rqueue > 0) & (table.rcvbuf > 0) & (table.rmem.astype(np.int64) * FULL[1] >= table.rcvbuf * FULL[0])
    same = (table.later_received == table.received) & (table.later_rqueue == table.rqueue)
    full &= (table.later == 1) & same
    served = set(table.sport[listening(table, IPPROTO_TCP)].tolist())
    read = (table.protocol == IPPROTO_TCP) & (table.later == 1) & (table.later_rqueue == 0)
    at_work = set(table.sport[read & (table.later_received > table.received)].tolist())
    hangs = full & among(table.sport, served - at_work) & (table.told & TOLD_INFO != 0)
    return full, np.asarray(hangs & (table.later_last_data_recv >= PAUSE), np.bool_)


def _full_here(view: HostView) -> Iterator[Draft]:
    table = view.sockets
    full, hanging = full_here(table)
    served = set(table.sport[listening(table, IPPROTO_TCP)].tolist())
    for position in np.flatnonzero(full)[:SHOWN].tolist():
        row, quiet = table.row(position), int(table.later_last_data_recv[position])
        service, known = row.sport in served, bool(table.told[position] & TOLD_INFO)
        comm = comm_of(view, row.inode) or "a program"
        place = {"sport": row.sport} if service else {"dst": row.dst, "dport": row.dport}
        yield RULE.found(
            subject=subject("socket", netid="tcp", comm=comm, **place),
            severity="warning" if hanging[position] else "info",
            message=f"{comm} leaves {table.rqueue[position]} bytes from {endpoint(row.dst, row.dport)} unread: the "
            "receive buffer is full, and the peer may send nothing more",
            evidence=[
                ("memory of the receive queue", int(table.rmem[position]), "SK_MEMINFO_RMEM_ALLOC"),
                ("receive buffer", int(table.rcvbuf[position]), "SK_MEMINFO_RCVBUF"),
                ("read between the looks", "0 bytes", "tcpi_bytes_received, idiag_rqueue"),
                *([("last data came, ms ago", quiet, "tcpi_last_data_recv")] if known else []),
            ],
            confirm=["ss -tmnpi state established"],
            fix=f"look at {comm}, which does not read this connection; restart it where it hangs",
        )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, says: Any, **fields: Any) -> Example:
        row = {"src": "192.0.2.1", "sport": 40000, "dst": "2001:db8::9", "dport": 80, "state": 1, "timer": 4}
        row |= {"wqueue": 900, "retrans": 6, "family": 10, "src": "2001:db8::1"}
        host = HostBuilder().socket(**(row | fields))
        return Example(name=name, why=why, tables=host.build(), fires=0 if says is None else 1, severity=says)

    yield case("six probes", "twelve seconds", "warning")
    yield case("told by tcp_info", "the same number", "warning", retrans=0, probes=6)
    yield case("five probes", "a pause", "info", retrans=5)
    yield case("closing", "FIN waits behind the data", "warning", state=4)
    yield case("no probe yet", "it may just be full", None, retrans=0)
    yield case("nothing to send", "nobody waits", None, wqueue=0)
    told: dict[str, Any] = {"told": TOLD_INFO, "snd_mss": 1400}
    yield case("no room for a segment", "closed but for a crack", "warning", snd_wnd=1399, **told)
    yield case("room for a segment", "a route of this host refuses it", None, snd_wnd=1400, **told)
    yield case("segment size not told", "nothing fits into nothing", "warning", snd_wnd=0, told=TOLD_INFO)
    yield case("retransmissions", "loss, not a closed window", None, timer=1)
    yield case("one byte waits", "as stuck", "warning", wqueue=1)
    yield case("one probe", "it may open again", "info", retrans=1)
    for name, sport, dport in (("a client's window", 80, 40000), ("one port at both ends", 80, 80)):
        one = case(name, "the peer is no service", "warning", sport=sport, dport=dport)
        yield replace(one, says=("2001:db8::9 has closed",))
    yield case("keepalive", "an idle connection", None, timer=2)
    yield from _full_examples()


def _full_examples() -> Iterator[Example]:
    """A receive buffer that nobody empties."""

    def case(name: str, why: str, says: Any, *, listens: bool = True, beside: Any = None, **fields: Any) -> Example:
        row: dict[str, Any] = {"src": "192.0.2.1", "sport": 80, "dst": "192.0.2.9", "dport": 4000, "state": 1}
        row |= {"rqueue": 9000, "rmem": 96, "rcvbuf": 128, "received": 9000, "comm": "web", "told": 7}
        row |= {"later": 1, "later_rqueue": 9000, "later_received": 9000, "later_last_data_recv": 12_000}
        host = HostBuilder().socket(**(row | fields))
        if listens:
            host.socket(src="0.0.0.0", sport=80)
        if beside:
            other = {"dst": "192.0.2.8", "received": 10, "later_received": 20, "later_rqueue": 0}
            host.socket(**(row | other | beside))
        return Example(name=name, why=why, tables=host.build(), fires=0 if says is None else 1, severity=says)

    yield case("a service's buffer is full", "it does not read", "warning")
    yield case("a client's buffer is full", "somebody reads page by page", "info", listens=False)
    yield case("full for eleven seconds", "it may be busy", "info", later_last_data_recv=11_999)
    yield case("times not told", "how long is not known", "info", told=5)
    for what, beside, severity in (
        ("another connection is read", {"rqueue": 0}, "info"),
        ("another one is quiet", {"rqueue": 0, "later_received": 10}, "warning"),
        ("another one is left as well", {"later_rqueue": 9}, "warning"),
        ("one of another service is read", {"sport": 81}, "warning"),
    ):
        yield case(f"full, and {what}", "it holds one back, or hangs", severity, beside=beside)
    yield case("nearly full", "a window is left", None, rmem=95)
    yield case("something was read", "slow", None, later_rqueue=8000)
    yield case("something came", "there was room", None, later_received=9100)
    yield case("one look", "it may be read a moment later", None, later=0)
    yield case("memory not told", "how full it is is not known", None, told=2)
    yield case("nothing to read", "memory of something else", None, rqueue=0, later_rqueue=0)
    yield case("closed by the peer", "it waits for the program, tcp-close-wait-leak", None, state=8)
