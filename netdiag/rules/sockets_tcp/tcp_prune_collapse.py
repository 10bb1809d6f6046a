"""What it checks
  Segments that were dropped after they had arrived, while netdiag looked, because a TCP receive buffer was full
  (TcpExt.RcvPruned, TCPRcvQDrop, OfoPruned).

Why it matters
  The data crossed the network and is thrown away: the peer sends it again and slows down. The buffer is smaller than
  what a peer may have under way, small packets fill it with overhead, or the program does not read.

Confirm
  nstat -az TcpExtRcvPruned TcpExtTCPRcvQDrop TcpExtOfoPruned TcpExtPruneCalled, twice
  ss -tmn: r near rb

Fix
  sysctl -w net.ipv4.tcp_rmem="4096 131072 33554432" and take SO_RCVBUF out of programs that set it low: it turns the
  kernel's own tuning off. A program that does not read has to be mended itself.

Not flagged
  As more than a note: PruneCalled alone, where the kernel made room without a loss. Drops of the past.

References
  net/ipv4/tcp_input.c tcp_prune_queue(), tcp_try_rmem_schedule(); tcp(7) tcp_rmem
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.counted import counted
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="tcp-prune-collapse",
    title="TCP receive buffers are full and drop what arrived",
    severity="warning",
    reads=("deltas",),
)
LOST = ("TcpExt.RcvPruned", "TcpExt.TCPRcvQDrop", "TcpExt.OfoPruned")
CALLED = "TcpExt.PruneCalled"


def check(view: HostView) -> Iterator[Draft]:
    moved = {name: view.deltas.snmp(name) or 0 for name in (*LOST, CALLED)}
    lost = sum(moved[name] for name in LOST)
    if not any(moved.values()):
        return
    yield RULE.found(
        subject=subject("host"),
        severity="warning" if lost else "info",
        message=f"TCP receive buffers were full {moved[CALLED] or lost} times in {view.deltas.seconds:.1f} s"
        + (f" and dropped {lost} segments that had arrived" if lost else ", and the kernel made room without a loss"),
        evidence=[
            (name.partition(".")[2], count, f"/proc/net/netstat {name}") for name, count in moved.items() if count
        ],
        confirm=["nstat -az TcpExtRcvPruned TcpExtTCPRcvQDrop TcpExtOfoPruned TcpExtPruneCalled", "ss -tmn"],
        fix='sysctl -w net.ipv4.tcp_rmem="4096 131072 33554432"  # and do not set SO_RCVBUF; or mend who does not read',
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, says: Any, moved: dict[str, int]) -> Example:
        tables = counted(moved, others=(*LOST, CALLED)).build()
        return Example(name=name, why=why, tables=tables, fires=0 if says is None else 1, severity=says)

    for name in LOST:
        yield case(name, "data was thrown away", "warning", {name: 1, CALLED: 4})
    yield case("room was made", "nothing was lost", "info", {CALLED: 4})
    yield case("none now", "those of the past", None, {})
    yield case("went back", "a reset", None, {LOST[0]: -1})
