"""What it checks
  A CPU whose network softirq ran out of its budget often between two looks, with packets left to fetch (time_squeeze).

Why it matters
  Nothing is lost, but what is left waits for the next round or for ksoftirqd: latency comes in steps. Together with
  drops it says that this CPU has more packets than it can carry.

Confirm
  cat /proc/net/softnet_stat, twice: the third column, hexadecimal, grows
  sysctl net.core.netdev_budget net.core.netdev_budget_usecs

Fix
  sysctl -w net.core.netdev_budget=600 net.core.netdev_budget_usecs=8000: for the whole machine, at once; longer rounds
  take time from everything else on that CPU. Better is to spread the load over more queues and CPUs.

Not flagged
  Never more than an info: it is no loss. Below a hundred a second a CPU is merely busy. Totals since boot. With
  --interval 0 this is not evaluated.

References
  net/core/dev.c net_rx_action(); Documentation/admin-guide/sysctl/net.rst netdev_budget
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.counters import SoftnetCpu
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule
from netdiag.rules.softnet import moves

RULE = Rule(
    id="softnet-time-squeeze",
    title="network softirqs run out of their budget",
    severity="info",
    reads=("deltas", "sysctls"),
)
OFTEN = 100.0
"""Times a second, on one CPU."""


def check(view: HostView) -> Iterator[Draft]:
    seconds = view.deltas.seconds
    squeezed = {cpu: m.squeezed for cpu, m in moves(view.deltas).items() if m.squeezed >= OFTEN * seconds}
    if not squeezed:
        return
    worst = max(squeezed, key=lambda cpu: squeezed[cpu])
    yield RULE.found(
        subject=subject("host"),
        message=f"CPU {worst} ran out of its network budget {squeezed[worst]} times in {seconds:.1f} s: packets wait "
        "for the next round",
        evidence=[("time_squeeze between two looks", squeezed[worst], "/proc/net/softnet_stat column 3")],
        confirm=["cat /proc/net/softnet_stat"],
        fix="spread the load over more queues and CPUs, or sysctl -w net.core.netdev_budget=600",
    )


def _case(name: str, why: str, squeezed: int, fires: int = 0, **more: Any) -> Example:
    rows = [SoftnetCpu(cpu=3, processed=n, dropped=0, time_squeeze=1000 + n) for n in (0, squeezed)]
    host = HostBuilder().counters(before={"softnet": (rows[0],)}, after={"softnet": (rows[1],)})
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    yield _case("a hundred a second", "latency in steps", 100, 1, subject=subject("host"), severity="info")
    yield _case("ninety-nine", "a busy CPU", 99)
    yield _case("the past", "a thousand since boot mean nothing", 0)
