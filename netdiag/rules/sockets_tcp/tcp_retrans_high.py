"""What it checks
  The share of TCP segments that this host had to send again while netdiag looked (Tcp.RetransSegs of Tcp.OutSegs), and
  the peer most of them went to.

Why it matters
  More than two in a hundred sent again is a path that loses packets, and TCP's throughput falls with the square root
  of that. It is seldom this host's fault, but often its cable, its duplex, its policer or its tunnel.

Confirm
  nstat -az TcpRetransSegs TcpOutSegs, twice
  ss -tin dst PEER: retrans

Fix
  Look at the path to the peer that is named (mtr, ethtool -S, tc -s qdisc): where packets get lost decides.

Not flagged
  Few segments, which say nothing. Retransmissions that turned out needless (TCPSpuriousRTOs, DSACKs received, loss
  probes): those were not lost. SYNs to hosts that are down: they are no segments of a connection that works.

References
  RFC 6298, RFC 8985; net/ipv4/tcp_output.c __tcp_retransmit_skb(); Documentation/networking/snmp_counter.rst
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.rules.build import HostBuilder
from netdiag.rules.counted import counted
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="tcp-retrans-high",
    title="many TCP segments have to be sent again",
    severity="warning",
    confidence="likely",
    reads=("deltas", "sockets"),
)
AGAIN, SENT = "Tcp.RetransSegs", "Tcp.OutSegs"
NEEDLESS = ("TcpExt.TCPSpuriousRTOs", "TcpExt.TCPDSACKRecv", "TcpExt.TCPLossProbes", "TcpExt.TCPSynRetrans")
SHARE, FEWEST, SEGMENTS = 0.02, 10, 200
"""Share from which on it counts, of at least so many retransmissions and segments."""


def worst_peer(view: HostView) -> tuple[str, int] | None:
    """The peer with most retransmissions between the looks among connections that still are there."""
    table = view.sockets
    moved = np.where(table.later == 1, table.later_total_retrans.astype(np.int64) - table.total_retrans, 0)
    moved[(table.protocol != IPPROTO_TCP) | (moved < 0)] = 0
    if not len(moved) or not moved.any():
        return None
    sums: dict[str, int] = {}
    for position in np.flatnonzero(moved).tolist():
        dst = table.row(position).dst
        sums[dst] = sums.get(dst, 0) + int(moved[position])
    peer = max(sorted(sums), key=sums.__getitem__)
    return peer, sums[peer]


def check(view: HostView) -> Iterator[Draft]:
    deltas = view.deltas
    again, sent = deltas.snmp(AGAIN) or 0, deltas.snmp(SENT) or 0
    real = again - sum(deltas.snmp(name) or 0 for name in NEEDLESS)
    total = sent + again  # OutSegs leaves retransmissions out (RFC 4022)
    if real < FEWEST or total < SEGMENTS or real <= SHARE * total:
        return
    peer = worst_peer(view)
    where = f", {peer[1]} of them to {peer[0]}" if peer else ""
    yield RULE.found(
        subject=subject("host"),
        message=f"{100 * real / total:.1f} % of the TCP segments of {deltas.seconds:.1f} s had to be sent again{where}",
        evidence=[
            ("sent again", again, f"/proc/net/snmp {AGAIN}"),
            ("sent", sent, f"/proc/net/snmp {SENT}"),
            (
                "needless or probes",
                again - real,
                f"/proc/net/netstat {' '.join(name.partition('.')[2] for name in NEEDLESS)}",
            ),
        ],
        confirm=["nstat -az TcpRetransSegs TcpOutSegs", f"ss -tin dst {peer[0]}" if peer else "ss -tin"],
        fix="find where packets get lost on the way to that peer: ethtool -S, tc -s qdisc, mtr",
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, fires: int, again: int, sent: int, **more: int) -> Example:
        names = dict(zip(("rto", "dsack", "tlp", "syn"), NEEDLESS, strict=True))
        host = HostBuilder().socket(
            src="192.0.2.1",
            sport=9,
            dst="192.0.2.9",
            dport=80,
            state=1,
            later=1,
            total_retrans=5,
            later_total_retrans=15,
        )
        moved: dict[str, Any] = {AGAIN: again, SENT: sent} | {names[name]: count for name, count in more.items()}
        says = ("10 of them to 192.0.2.9",) if fires else ()
        return Example(name=name, why=why, tables=counted(moved, host, others=NEEDLESS).build(), fires=fires, says=says)

    yield case("one in ten", "the plain fault", 1, 100, 900)
    yield case("just above", "3 of 147", 1, 30, 1400)
    yield case("two in a hundred", "at the mark", 0, 20, 980)
    yield case("nine", "too few to say", 0, 9, 191)
    yield case("ten of 200", "enough to say", 1, 10, 190)
    yield case("ten of 199", "too few segments", 0, 10, 189)
    yield case("needless ones", "they had arrived", 0, 100, 900, dsack=85)
    yield case("probes", "at the tail of a burst", 0, 100, 900, tlp=85)
    yield case("spurious timeouts", "a delay, no loss", 0, 100, 900, rto=85)
    yield case("SYNs to nowhere", "a host that is down", 0, 100, 900, syn=85)
    yield case("none", "a quiet host", 0, 0, 5000)
