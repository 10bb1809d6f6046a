"""What it checks
  SYN cookies that were sent while netdiag looked (TcpExt.SyncookiesSent, TCPReqQFullDoCookies): a listener's queue of
  half-open connections was full.

Why it matters
  Connections still come about, but without window scaling or selective acknowledgements where timestamps are off, and
  the kernel logs "Possible SYN flooding on port". With cookies turned off they would fail.

Confirm
  nstat -az TcpExtSyncookiesSent TcpExtTCPReqQFullDoCookies, twice
  ss -tan state syn-recv

Fix
  sysctl -w net.ipv4.tcp_max_syn_backlog=4096 net.core.somaxconn=4096 and a larger backlog in the program, which takes
  it at listen(). Under a real flood: that is what cookies are for.

Not flagged
  As more than a note: cookies on a host with room for at least 128 half-open connections. That is a burst or a flood
  from outside, which no setting of this host mends. Cookies of the past.

References
  net/ipv4/tcp_input.c tcp_conn_request(), tcp_syn_flood_action(); tcp(7) tcp_max_syn_backlog, tcp_syncookies
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.counted import counted
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="tcp-syncookies-sent",
    title="a queue of half-open connections is full",
    severity="warning",
    reads=("deltas", "sysctls"),
)
SENT, FULL = "TcpExt.SyncookiesSent", "TcpExt.TCPReqQFullDoCookies"
ROOM = 128
"""tcp_max_syn_backlog of the smallest machine (net/ipv4/tcp.c tcp_init())."""


def check(view: HostView) -> Iterator[Draft]:
    sent = view.deltas.snmp(SENT) or 0
    full = view.deltas.snmp(FULL) or 0
    if not (sent or full) or view.sysctl("net.ipv4.tcp_syncookies") == "2":
        return
    room = view.sysctl_int("net.ipv4.tcp_max_syn_backlog")
    somaxconn = view.sysctl_int("net.core.somaxconn")
    small = [
        name
        for name, value in (("net.ipv4.tcp_max_syn_backlog", room), ("net.core.somaxconn", somaxconn))
        if value is not None and value < ROOM
    ]
    yield RULE.found(
        subject=subject("host"),
        severity="warning" if small else "info",
        message=f"{max(sent, full)} SYN cookies were sent in {view.deltas.seconds:.1f} s: "
        + (
            f"{small[0]} leaves room for few half-open connections"
            if small
            else "more callers than a listener's backlog holds"
        ),
        evidence=[
            ("cookies sent between the looks", sent, f"/proc/net/netstat {SENT}"),
            ("tcp_max_syn_backlog", room, "/proc/sys/net/ipv4/tcp_max_syn_backlog"),
            ("somaxconn", somaxconn, "/proc/sys/net/core/somaxconn"),
        ],
        confirm=[
            "nstat -az TcpExtSyncookiesSent TcpExtTCPReqQFullDoCookies",
            "sysctl net.ipv4.tcp_max_syn_backlog net.core.somaxconn",
        ],
        fix="sysctl -w net.ipv4.tcp_max_syn_backlog=4096 net.core.somaxconn=4096  # then restart the listener",
    )


def examples() -> Iterator[Example]:
    def case(
        name: str, why: str, says: Any, moved: dict[str, int], *, room: int = 4096, somaxconn: int = 4096, mode: int = 1
    ) -> Example:
        host = HostBuilder().sysctl("net.ipv4.tcp_max_syn_backlog", room).sysctl("net.core.somaxconn", somaxconn)
        host.sysctl("net.ipv4.tcp_syncookies", mode)
        tables = counted(moved, host, others=(SENT, FULL)).build()
        return Example(name=name, why=why, tables=tables, fires=0 if says is None else 1, severity=says)

    yield case("a small queue", "the plain fault", "warning", {SENT: 3, FULL: 3}, room=127)
    yield case("a small somaxconn", "it caps the queue too", "warning", {SENT: 3}, somaxconn=127)
    yield case("counted by the other", "cookies that could not be sent", "warning", {FULL: 1}, room=1)
    yield case("a burst", "enough room, many callers", "info", {SENT: 300}, room=128, somaxconn=128)
    bare = counted({SENT: 3}, HostBuilder(), others=(SENT, FULL)).build()
    yield Example(name="no limit was told", why="a sandbox shows none", tables=bare, fires=1, severity="info")
    yield case("none now", "those of the past", None, {}, room=1)
    yield case("went back", "a reset", None, {SENT: -1}, room=1)
    yield case("always by cookie", "somebody wants it so", None, {SENT: 5}, room=1, mode=2)
