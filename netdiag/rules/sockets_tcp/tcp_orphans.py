"""What it checks
  TCP connections that no process holds any more (sockstat TCP orphan) against net.ipv4.tcp_max_orphans.

Why it matters
  Above the limit the kernel resets connections when a program closes them, with data still to be sent: answers arrive
  cut off. The kernel counts an orphan double or fourfold while it looks bad, so trouble starts at a quarter to a half.

Confirm
  grep TCP: /proc/net/sockstat; sysctl net.ipv4.tcp_max_orphans
  ss -tan state fin-wait-1: peers that do not acknowledge

Fix
  See whose peers vanished without a word (fin-wait-1, last-ack). sysctl -w net.ipv4.tcp_orphan_retries=2 lets go of
  them sooner; tcp_max_orphans takes up to 64 KiB of kernel memory each. Both for the whole machine.

Not flagged
  Fewer than half of the limit. A namespace that has no such setting: it is judged in the initial one.

References
  include/net/tcp.h tcp_too_many_orphans(); net/ipv4/tcp.c tcp_check_oom(); tcp(7)
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="tcp-orphans",
    title="too many TCP connections without a process",
    severity="critical",
    reads=("counters", "sysctls"),
)


def check(view: HostView) -> Iterator[Draft]:
    limit = view.sysctl_int("net.ipv4.tcp_max_orphans")
    orphans = view.latest.sockstat.get("TCP.orphan")
    if not limit or orphans is None or orphans * 2 <= limit:
        return
    yield RULE.found(
        subject=subject("sysctl", name="net.ipv4.tcp_max_orphans"),
        severity="critical" if orphans > limit else "warning",
        message=f"{orphans} TCP connections belong to no process, of {limit} that may: "
        "the next that are closed are reset",
        evidence=[
            ("orphans", orphans, "/proc/net/sockstat TCP orphan"),
            ("tcp_max_orphans", limit, "/proc/sys/net/ipv4/tcp_max_orphans"),
        ],
        confirm=["grep TCP: /proc/net/sockstat", "sysctl net.ipv4.tcp_max_orphans", "ss -s"],
        fix="sysctl -w net.ipv4.tcp_orphan_retries=2  # and see whose peers vanished: ss -tan state fin-wait-1",
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, fires: int, orphans: int | None, limit: int | None = 100, **more: Any) -> Example:
        host = HostBuilder()
        if limit is not None:
            host.sysctl("net.ipv4.tcp_max_orphans", limit)
        stat = {} if orphans is None else {"TCP.orphan": orphans}
        host.counters(before={"sockstat": {"TCP.orphan": 0}}, after={"sockstat": stat})
        return Example(name=name, why=why, tables=host.build(), fires=fires, **more)

    yield case("more than half", "the kernel counts them double", 1, 51, severity="warning")
    yield case("as many as may be", "one more is too many", 1, 100, severity="warning")
    yield case("more than all", "worse", 1, 101, severity="critical")
    yield case("half", "at the mark", 0, 50)
    yield case("not told", "nothing to compare", 0, None)
    yield case("no limit here", "a namespace of its own", 0, 999, None)
