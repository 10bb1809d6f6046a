"""What it checks
  The memory that all TCP sockets of the kernel take (sockstat TCP mem, in pages) against net.ipv4.tcp_mem, and whether
  connections were killed for lack of it while netdiag looked (TcpExt.TCPAbortOnMemory, TCPMemoryPressures).

Why it matters
  Above the second number of tcp_mem every TCP socket of the machine gets smaller buffers and drops what waits out of
  order; above the third, nothing can be sent and connections are reset. It is one account for all namespaces and
  containers: a leak in one stalls TCP in all.

Confirm
  cat /proc/net/sockstat; sysctl net.ipv4.tcp_mem (both in pages, getconf PAGESIZE)
  nstat -az TcpExtTCPAbortOnMemory TcpExtTCPMemoryPressures, twice
  ss -tanm sorted by skmem: who holds it

Fix
  Find the sockets with large queues that nobody reads (a hung process) and end it. If the load is honest:
  sysctl -w net.ipv4.tcp_mem="LOW PRESSURE HIGH", in the initial namespace, at once for all.

Not flagged
  Memory below the pressure mark. Aborts and pressures of the past. A namespace that has no tcp_mem to compare with and
  in which nothing was aborted: it is judged in the initial one.

References
  net/ipv4/tcp.c tcp_enter_memory_pressure(), tcp_check_oom(); net/core/sock.c __sk_mem_raise_allocated(); tcp(7)
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="tcp-mem-pressure",
    title="TCP's memory is used up",
    severity="critical",
    reads=("counters", "sysctls"),
    explains=("tcp-prune-collapse", "tcp-zero-window"),
)
ABORTS, PRESSURES = "TcpExt.TCPAbortOnMemory", "TcpExt.TCPMemoryPressures"


def check(view: HostView) -> Iterator[Draft]:
    words = (view.sysctl("net.ipv4.tcp_mem") or "").split()
    limits = [int(word) for word in words if word.isdigit()]
    pages = view.latest.sockstat.get("TCP.mem")
    aborted, pressed = view.moved(ABORTS) or 0, view.moved(PRESSURES) or 0
    severity: Severity | None = None
    orphans, most = view.latest.sockstat.get("TCP.orphan"), view.sysctl_int("net.ipv4.tcp_max_orphans")
    few = orphans is None or not most or orphans * 4 < most
    if len(limits) == 3 and pages is not None and pages > limits[1]:
        severity = "critical"
        over = 2 if pages > limits[2] else 1
        mark = ("pressure mark", "limit")[over - 1]
        what = f"all TCP sockets take {pages} pages, above the {mark} of {limits[over]}"
    elif aborted and few:
        severity, what = "critical", f"{aborted} TCP connections were reset for lack of memory"
    elif pressed:
        severity, what = "warning", "TCP ran short of memory while netdiag looked"
    if severity is None:
        return
    yield RULE.found(
        subject=subject("sysctl", name="net.ipv4.tcp_mem"),
        severity=severity,
        message=f"{what}: TCP stalls in all namespaces of this machine",
        evidence=[
            ("TCP memory in pages", pages, "/proc/net/sockstat TCP mem"),
            ("tcp_mem", " ".join(words) or "not told in this namespace", "/proc/sys/net/ipv4/tcp_mem"),
            ("aborted between the looks", aborted, f"/proc/net/netstat {ABORTS}"),
            ("times of pressure between the looks", pressed, f"/proc/net/netstat {PRESSURES}"),
        ],
        confirm=[
            "grep TCP: /proc/net/sockstat",
            "nstat -az TcpExtTCPAbortOnMemory TcpExtTCPMemoryPressures",
            "ss -tanm",
        ],
        fix='find the process whose sockets hold it (ss -tanmp); sysctl -w net.ipv4.tcp_mem="LOW PRESSURE HIGH" in the '
        "initial namespace if the load is honest",
        breaks=[subject("host")],
    )


def examples() -> Iterator[Example]:
    def case(
        name: str,
        why: str,
        says: Any,
        mem: int,
        moved: dict[str, int] | None = None,
        *,
        limits: str | None = "100\t200\t300",
        orphans: int = 0,
    ) -> Example:
        host = HostBuilder().sysctl("net.ipv4.tcp_max_orphans", 100)
        if limits is not None:
            host.sysctl("net.ipv4.tcp_mem", limits)
        base = {ABORTS: 7, PRESSURES: 7}
        after = {name: value + (moved or {}).get(name, 0) for name, value in base.items()}
        stat = {"TCP.mem": mem, "TCP.orphan": orphans}
        host.counters(before={"snmp": base, "sockstat": stat}, after={"snmp": after, "sockstat": stat})
        return Example(name=name, why=why, tables=host.build(), fires=0 if says is None else 1, severity=says)

    yield case("above the pressure mark", "the plain fault", "critical", 201)
    yield case("above the limit", "worse", "critical", 301)
    yield case("at the pressure mark", "the kernel asks for more than it", None, 200)
    yield case("connections reset", "the limit was met between the looks", "critical", 150, {ABORTS: 1})
    yield case(
        "in a namespace without tcp_mem", "its own connections were reset", "critical", 150, {ABORTS: 1}, limits=None
    )
    yield case("pressure that is over", "it came and went", "warning", 150, {PRESSURES: 1})
    yield case("aborts of the past", "the counters stand still", None, 150)
    yield case("counters went back", "a reset", None, 150, {ABORTS: -3, PRESSURES: -3})
    yield case("a namespace without tcp_mem", "nothing to compare with", None, 999, limits=None)
    yield case("too many orphans", "counted as the same, and another rule's", None, 150, {ABORTS: 1}, orphans=90)
    yield case("a quarter of the orphans", "as many as count as pressure", None, 150, {ABORTS: 1}, orphans=25)
    yield case("just below a quarter", "memory, then", "critical", 150, {ABORTS: 1}, orphans=24)
    yield case("garbled", "nothing to compare with", None, 999, limits="100 x 300")
    yield case("two numbers", "nothing to compare with", None, 999, limits="100 200")
    base = {ABORTS: 7, PRESSURES: 7}
    for name, stat, most in (("orphans not told", {"TCP.mem": 1}, 100), ("no limit told", {"TCP.orphan": 99}, None)):
        host = HostBuilder().sysctl("net.ipv4.tcp_mem", "100 200 300")
        host = host.sysctl("net.ipv4.tcp_max_orphans", most) if most else host
        host.counters(before={"snmp": base, "sockstat": stat}, after={"snmp": base | {ABORTS: 8}, "sockstat": stat})
        yield Example(name=name, why="an abort all the same", tables=host.build(), fires=1, severity="critical")
