"""What it checks
  Packets that the flow limit dropped between two looks: the 11th column of /proc/net/softnet_stat.

Why it matters
  Where net.core.flow_limit_cpu_bitmap is set, a single flow that fills more than half of the packets of a CPU's input
  queue is cut once that queue is half full, so that small flows get through. One big transfer, one tunnel or one NAT
  gateway behind a single address is such a flow too, and it is then throttled without a trace in any link counter.

Confirm
  cat /proc/net/softnet_stat, twice: the 11th column, hexadecimal, grows
  cat /proc/sys/net/core/flow_limit_cpu_bitmap

Fix
  Spread that flow's work (RPS over more CPUs does not split one flow; more tunnels do), raise
  net.core.netdev_max_backlog, or switch the limit off: echo 0 > /proc/sys/net/core/flow_limit_cpu_bitmap, for the
  whole machine and at once.

Not flagged
  A flow limit that is off (the default), or on and not hit. Drops of the past. With --interval 0 not evaluated.

References
  net/core/dev.c skb_flow_limit(); Documentation/networking/scaling.rst "RPS Flow Limit"
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
    id="flow-limit-drops",
    title="the flow limit drops packets of a big flow",
    severity="warning",
    reads=("deltas",),
    explains=("tcp-retrans-high",),
)


def check(view: HostView) -> Iterator[Draft]:
    limited = {cpu: move.flow_limited for cpu, move in moves(view.deltas).items() if move.flow_limited}
    if limited:
        total, cpus = sum(limited.values()), ", ".join(str(cpu) for cpu in sorted(limited))
        yield RULE.found(
            subject=subject("host"),
            message=f"{total} packets of big flows were dropped on CPU {cpus} in {view.deltas.seconds:.1f} s by the "
            "flow limit",
            evidence=[("dropped between two looks", total, "/proc/net/softnet_stat column 11")],
            confirm=["cat /proc/net/softnet_stat"],
            fix="sysctl -w net.core.flow_limit_cpu_bitmap=0  # whole machine; or spread the flow over several",
        )


def _case(name: str, why: str, before: int, after: int, fires: int = 0, **more: Any) -> Example:
    rows = [SoftnetCpu(cpu=1, processed=9, dropped=n, time_squeeze=0, flow_limit_count=n) for n in (before, after)]
    host = HostBuilder().counters(before={"softnet": (rows[0],)}, after={"softnet": (rows[1],)})
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    yield _case("one flow is cut", "the plain fault", 5, 6, 1, subject=subject("host"), severity="warning")
    yield _case("the past", "nothing has moved", 5000, 5000)
    yield _case("off", "the usual state", 0, 0)
    yield _case("went back", "the CPU was offline", 9, 1)
