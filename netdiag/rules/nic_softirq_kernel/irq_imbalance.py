"""What it checks
  A card with several queues whose interrupts are all sent to one CPU, while that CPU does little else than network
  softirqs and the others idle.

Why it matters
  The card could spread its packets over many CPUs, and one of them does it all: it becomes the limit of the whole host,
  its softnet backlog and rings overflow while top shows a machine that is mostly idle.

Confirm
  grep IFNAME /proc/interrupts
  grep . /proc/irq/N/smp_affinity_list
  mpstat -P ALL 1 (%soft)

Fix
  systemctl enable --now irqbalance, or by hand: echo CPU > /proc/irq/N/smp_affinity_list for each queue, at once and
  without loss. Where the affinity is managed by the kernel (write answers EIO) look at the number of queues:
  ethtool -l.

Not flagged
  Cards with one queue, as small virtual machines have. A single flow, which can only use one queue: here all
  interrupts must be tied to that CPU. CPUs that are not busy with it. Machines with one CPU. Hosts that spread packets
  by RPS. With --interval 0 this is not evaluated.

References
  Documentation/networking/scaling.rst; Documentation/core-api/irq/irq-affinity.rst
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.softirq import CpuTime, DeviceQueues, Irq, Softirqs, SoftirqSample
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="irq-imbalance",
    title="one CPU serves all queues of a card",
    severity="warning",
    confidence="likely",
    reads=("softirq", "deltas"),
    explains=("softnet-backlog-drop", "softnet-time-squeeze", "nic-ring-drops"),
)
BUSY, CALM = 0.6, 0.2
"""Part of a CPU's time in softirqs: of the one that does it all, at least; of the others on average, at most."""
NO_QUEUE = ("config", "async", "mgmnt", "misc", "aenq", "cmd", "event")
"""Parts of the labels of interrupts that carry no packets."""


def softirq_share(table: Softirqs) -> dict[int, float]:
    """By CPU, the part of the time between the looks that it spent in softirqs."""
    if table.second is None:
        return {}
    before = {row.cpu: row for row in table.first.cpus}
    found: dict[int, float] = {}
    for now in table.second.cpus:
        was = before.get(now.cpu)
        if was is None:
            continue
        whole = now.busy + now.idle - was.busy - was.idle
        if whole > 0 and now.softirq >= was.softirq:
            found[now.cpu] = (now.softirq - was.softirq) / whole
    return found


def check(view: HostView) -> Iterator[Draft]:
    table = view.softirq
    share = softirq_share(table)
    if len(share) < 2:
        return
    worst = max(share, key=lambda cpu: share[cpu])
    calm = sum(part for cpu, part in share.items() if cpu != worst) / (len(share) - 1)
    if share[worst] < BUSY or calm > CALM:
        return
    irqs = {row.irq: row for row in table.irqs}
    for device in table.first.queues:
        mine = [irqs[number] for number in device.irqs if number in irqs]
        queues = [row for row in mine if not any(word in row.label.lower() for word in NO_QUEUE)]
        tied = all((row.effective or row.affinity) == str(worst) for row in queues)
        if len(queues) < 2 or not tied or any(mask.strip("0,") for mask in device.rps_cpus):
            continue
        yield RULE.found(
            subject=subject("link", ifname=device.ifname),
            message=f"all {len(queues)} interrupts of {device.ifname} go to CPU {worst}, which spends "
            f"{share[worst]:.0%} of its time in softirqs while the others idle",
            evidence=[
                (f"softirq time of CPU {worst}", f"{share[worst]:.0%}", "/proc/stat"),
                ("softirq time of the others", f"{calm:.0%}", "/proc/stat"),
                ("interrupts", ", ".join(str(row.irq) for row in queues[:8]), "/proc/irq/N/smp_affinity_list"),
            ],
            confirm=[f"grep . /proc/irq/{queues[0].irq}/smp_affinity_list", "cat /proc/interrupts"],
            fix="systemctl enable --now irqbalance  # or a CPU of its own for each in /proc/irq/N/smp_affinity_list",
            breaks=[subject("host")],
        )


def _case(name: str, why: str, fires: int = 0, *, soft: float = 0.6, other: float = 0.0, **more: Any) -> Example:
    labels = more.get("labels", ("eth0-0", "eth0-1"))
    cpus = more.get("cpus", ("1", "1"))
    before = [CpuTime(cpu=cpu, busy=0, idle=0, softirq=0) for cpu in range(more.get("count", 2))]
    after = [CpuTime(cpu=row.cpu, busy=0.7, idle=0.3, softirq=soft if row.cpu == 1 else other) for row in before]
    device = DeviceQueues(ifindex=2, ifname="eth0", irqs=(30, 31), rps_cpus=more.get("rps", ("00", "00")))
    table = Softirqs(
        irqs=tuple(Irq(irq=30 + n, label=label, effective=cpus[n]) for n, label in enumerate(labels)),
        first=SoftirqSample(at=1.0, cpus=tuple(before), queues=(device,)),
        second=SoftirqSample(at=2.0, cpus=tuple(after)),
    )
    tables = HostBuilder().link("eth0").counters(before={}, after={}).build()
    return Example(name=name, why=why, tables=replace(tables, softirq=table), fires=fires)


def examples() -> Iterator[Example]:
    yield _case("all on CPU 1", "the plain fault", 1)
    yield _case("not quite busy", "it has room", soft=0.59)
    yield _case("the others as well", "the load is spread", soft=0.9, other=0.21)
    yield _case("a fifth elsewhere", "still one does most", 1, soft=0.9, other=0.2)
    yield _case("two CPUs", "one flow made one of them busy", cpus=("0", "1"))
    yield _case("may go anywhere", "not tied", cpus=("0-1", "0-1"))
    yield _case("one queue", "a small virtual machine", labels=("virtio2-input.0",))
    yield _case(
        "one queue and a config interrupt", "that carries nothing", labels=("virtio2-input.0", "virtio2-config")
    )
    yield _case("RPS", "packets are spread after the interrupt", rps=("03", "03"))
    yield _case("one CPU", "there is no other", count=1)
    made = _case("", "").tables
    softirq = made.softirq
    rows = [msgspec.structs.replace(row, effective=None, affinity="1") for row in softirq.irqs]
    old = replace(made, softirq=msgspec.structs.replace(softirq, irqs=tuple(rows)))
    yield Example(name="an older kernel", why="it tells where they may go", tables=old, fires=1)
    assert softirq.second is not None
    for name, row, fires in (
        ("a CPU that came", CpuTime(cpu=2, busy=1.0, idle=1.0, softirq=0.0), 1),
        ("a CPU that stood still", CpuTime(cpu=0, busy=0.0, idle=0.0, softirq=0.0), 0),
        ("a CPU whose softirq time went back", CpuTime(cpu=0, busy=0.5, idle=0.5, softirq=-1.0), 0),
    ):
        cpus = (*(one for one in softirq.second.cpus if one.cpu != row.cpu), row)
        second = msgspec.structs.replace(softirq.second, cpus=cpus)
        tables = replace(made, softirq=msgspec.structs.replace(softirq, second=second))
        yield Example(name=name, why="nothing to compare with for it", tables=tables, fires=fires)
