"""What it checks
  Connections that went away without TIME_WAIT while netdiag looked, because there are net.ipv4.tcp_max_tw_buckets of
  them already (TcpExt.TCPTimeWaitOverflow).

Why it matters
  TIME_WAIT keeps late segments of an old connection out of a new one with the same ports, and answers a lost last ACK.
  Without it peers see resets, and the kernel logs "time wait bucket table overflow".

Confirm
  nstat -az TcpExtTCPTimeWaitOverflow, twice
  ss -s; sysctl net.ipv4.tcp_max_tw_buckets

Fix
  sysctl -w net.ipv4.tcp_max_tw_buckets=262144: about 200 bytes of kernel memory each. Better: keep connections open.

Not flagged
  A large number of TIME_WAIT below the limit. Overflows of the past.

References
  net/ipv4/inet_timewait_sock.c inet_twsk_alloc(), net/ipv4/tcp_minisocks.c tcp_time_wait()
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.counted import counted
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="tcp-timewait-bucket-overflow",
    title="there is no room for connections in TIME_WAIT",
    severity="warning",
    reads=("deltas", "sysctls"),
)
COUNTER = "TcpExt.TCPTimeWaitOverflow"


def check(view: HostView) -> Iterator[Draft]:
    lost = view.deltas.snmp(COUNTER) or 0
    if not lost:
        return
    limit = view.sysctl("net.ipv4.tcp_max_tw_buckets")
    yield RULE.found(
        subject=subject("sysctl", name="net.ipv4.tcp_max_tw_buckets"),
        message=f"{lost} connections ended without TIME_WAIT in {view.deltas.seconds:.1f} s: there are already "
        f"{limit or 'as many as may be'} of them",
        evidence=[
            ("overflows between the looks", lost, f"/proc/net/netstat {COUNTER}"),
            ("in TIME_WAIT now", view.deltas.second.sockstat.get("TCP.tw"), "/proc/net/sockstat TCP tw"),
            ("tcp_max_tw_buckets", limit, "/proc/sys/net/ipv4/tcp_max_tw_buckets"),
        ],
        confirm=["nstat -az TcpExtTCPTimeWaitOverflow", "sysctl net.ipv4.tcp_max_tw_buckets", "ss -s"],
        fix="sysctl -w net.ipv4.tcp_max_tw_buckets=262144",
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, fires: int, moved: int, *, tw: int = 5) -> Example:
        host = HostBuilder().sysctl("net.ipv4.tcp_max_tw_buckets", 5)
        tables: Any = counted({COUNTER: moved}, host).build()
        return Example(name=name, why=f"{why}, with {tw} of them", tables=tables, fires=fires)

    yield case("one overflow", "the plain fault", 1, 1)
    yield case("none now", "those of the past", 0, 0)
    yield case("went back", "a reset", 0, -1)
    yield Example(name="not counted", why="an old kernel", tables=counted({}).build())
