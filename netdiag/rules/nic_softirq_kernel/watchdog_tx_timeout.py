"""What it checks
  A transmit queue of a network card that the kernel's watchdog found stuck between two looks (tx_timeout).

Why it matters
  The card took packets and did not send them for seconds ("NETDEV WATCHDOG: transmit queue timed out"). The driver then
  resets it: everything in its rings is lost, the link may flap, and broken firmware or hardware does it again.

Confirm
  grep . /sys/class/net/IFNAME/queues/tx-*/tx_timeout
  dmesg | grep -i -A2 'NETDEV WATCHDOG'

Fix
  Newer firmware and driver for the card; look for PCIe errors (dmesg, AER) and for flow control: a switch that sends
  pause frames without end stops the queue too (ethtool -A IFNAME rx off). A card that keeps on doing it is replaced.

Not flagged
  Timeouts of the past. Cards whose driver reset itself without the watchdog. Where /sys shows another namespace there
  is nothing to be seen, and with --interval 0 this is not evaluated.

References
  net/sched/sch_generic.c dev_watchdog(); Documentation/ABI/testing/sysfs-class-net-queues tx_timeout
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.softirq import DeviceQueues, Softirqs, SoftirqSample
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="watchdog-tx-timeout",
    title="a transmit queue is stuck",
    severity="critical",
    reads=("softirq", "deltas"),
    explains=("carrier-flap",),
)


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    table = view.softirq
    if not table.sysfs:
        yield Unjudged(reason="softirq: /sys/class/net shows another network namespace")
        return
    if table.second is None:
        return
    before = {(row.ifindex, row.ifname): row.tx_timeouts for row in table.first.queues}
    for now in table.second.queues:
        was = before.get((now.ifindex, now.ifname), ())
        if len(was) != len(now.tx_timeouts):
            continue
        stuck = {queue: b - a for queue, (a, b) in enumerate(zip(was, now.tx_timeouts, strict=True)) if b > a}
        if stuck:
            yield RULE.found(
                subject=subject("link", ifname=now.ifname),
                message=f"{now.ifname}: the watchdog found transmit queue {', '.join(map(str, stuck))} stuck "
                f"{sum(stuck.values())} times, the card loses what is in its rings",
                evidence=[
                    (f"timeouts of tx-{queue}", count, f"/sys/class/net/{now.ifname}/queues/tx-{queue}/tx_timeout")
                    for queue, count in list(stuck.items())[:3]
                ],
                confirm=[f"grep . /sys/class/net/{quoted(now.ifname)}/queues/tx-0/tx_timeout"],
                fix="update the card's firmware and driver; look for PCIe errors and endless pause frames",
            )


def _case(name: str, why: str, before: tuple[int, ...], after: tuple[int, ...], fires: int = 0, **more: Any) -> Example:
    queues = [DeviceQueues(ifindex=2, ifname="eth0", tx_timeouts=counts) for counts in (before, after)]
    table = Softirqs(
        first=SoftirqSample(at=1.0, queues=(queues[0],)),
        second=SoftirqSample(at=2.0, queues=(queues[1],)),
        sysfs=more.pop("sysfs", True),
    )
    tables = HostBuilder().link("eth0").counters(before={}, after={}).build()
    return Example(name=name, why=why, tables=replace(tables, softirq=table), fires=fires, **more)


def examples() -> Iterator[Example]:
    about = subject("link", ifname="eth0")
    yield _case("a queue is stuck", "the plain fault", (0, 3), (0, 4), 1, subject=about, says=("queue 1",))
    yield _case("the past", "nothing has moved", (7, 7), (7, 7))
    yield _case("went back", "the driver was loaded anew", (7,), (1,))
    yield _case("other queues", "their number was changed", (7,), (7, 1))
    yield _case("another namespace's /sys", "nothing can be known", (), (), sysfs=False, unjudged=True)
