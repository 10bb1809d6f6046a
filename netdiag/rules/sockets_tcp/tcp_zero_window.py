"""What it checks
  Connections on which this host has something to send and the peer grants no window: the kernel only probes, time
  after time, while both ends look established.

Why it matters
  The peer's program does not read. What this host's program writes is stuck behind it, and with it often a whole pool
  of workers. After tcp_retries2 probes without an answer the connection dies; with answers it can hang for ever.

Confirm
  ss -tnoi: timer:(persist,...) and Send-Q

Fix
  Look at the program on the peer. Here: a write timeout (TCP_USER_TIMEOUT) lets go of such connections.

Not flagged
  As more than a note: fewer than six probes in a row, some twelve seconds: a consumer that pauses. Connections without
  anything to send.

References
  net/ipv4/tcp_timer.c tcp_probe_timer(); RFC 9293 section 3.8.6.1; idiag_timer 4 of inet_diag
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.sockets import IPPROTO_TCP, LISTEN
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule
from netdiag.rules.sockettables import endpoint

RULE = Rule(
    id="tcp-zero-window",
    title="a peer takes nothing any more",
    severity="warning",
    reads=("sockets",),
)
PROBE_TIMER, LONG = 4, 6
SHOWN = 5


def check(view: HostView) -> Iterator[Draft]:
    table = view.sockets
    stuck = (table.protocol == IPPROTO_TCP) & (table.state != LISTEN) & (table.timer == PROBE_TIMER)
    stuck &= (table.wqueue > 0) & (np.maximum(table.retrans, table.probes) > 0)
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
    yield case("retransmissions", "loss, not a closed window", None, timer=1)
    yield case("one byte waits", "as stuck", "warning", wqueue=1)
    yield case("one probe", "it may open again", "info", retrans=1)
    for name, sport, dport in (("a client's window", 80, 40000), ("one port at both ends", 80, 80)):
        one = case(name, "the peer is no service", "warning", sport=sport, dport=dport)
        yield replace(one, says=("2001:db8::9 has closed",))
    yield case("keepalive", "an idle connection", None, timer=2)
