"""``show softirq``: a line a CPU, then a line an interrupt of a network device, then a line an interface's queues.

From model.Softirqs. Percentages and counts are what came between two looks where there were two, else totals since
boot.
"""

from collections.abc import Iterator
from typing import Any

from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import without_nothing


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """``dev`` keeps the queues of one interface."""
    table = snapshot.tables.softirq
    first, second = table.first, table.second
    if filters.dev is None:
        yield from _cpus(first, second)
        moved = {row.irq: sum(row.counts) for row in first.irqs}
        later = {row.irq: sum(row.counts) for row in second.irqs} if second else {}
        for irq in table.irqs:
            count = later[irq.irq] - moved.get(irq.irq, 0) if irq.irq in later else moved.get(irq.irq)
            yield without_nothing(
                {
                    "type": "irq",
                    "name": str(irq.irq),
                    "label": irq.label,
                    "affinity": irq.affinity,
                    "effective": irq.effective,
                    "count": count,
                }
            )
    for device in first.queues:
        if filters.dev in (None, device.ifname):
            yield without_nothing(
                {
                    "type": "queues",
                    "name": device.ifname,
                    "rps_cpus": list(device.rps_cpus),
                    "xps_cpus": list(device.xps_cpus),
                    "rps_flow_cnt": list(device.rps_flow_cnt),
                    "threaded": device.threaded,
                    "tx_timeouts": sum(device.tx_timeouts),
                    "irqs": list(device.irqs),
                }
            )


def _cpus(first: Any, second: Any) -> Iterator[Row]:
    before = {row.cpu: row for row in first.cpus}
    for now in (second or first).cpus:
        was = before.get(now.cpu) if second else None
        busy, idle, softirq = now.busy, now.idle, now.softirq
        net_rx, net_tx = now.net_rx, now.net_tx
        if was is not None:
            busy, idle, softirq = busy - was.busy, idle - was.idle, softirq - was.softirq
            net_rx, net_tx = net_rx - was.net_rx, net_tx - was.net_tx
        whole = busy + idle
        yield {
            "type": "cpu",
            "name": str(now.cpu),
            "busy": round(100 * busy / whole, 1) if whole > 0 else None,
            "softirq": round(100 * softirq / whole, 1) if whole > 0 else None,
            "net_rx": net_rx,
            "net_tx": net_tx,
        }


VIEW = View(
    collector="softirq",
    filters=("dev",),
    rows=rows,
    columns=(
        Column("type"),
        Column("name"),
        Column("busy", right=True),
        Column("softirq", right=True),
        Column("net_rx", 1, right=True),
        Column("net_tx", 1, right=True),
        Column("label", 1),
        Column("affinity", 1),
        Column("effective", 3),
        Column("count", 1, right=True),
        Column("rps_cpus", 2),
        Column("xps_cpus", 3),
        Column("threaded", 3),
        Column("tx_timeouts", 2, right=True),
    ),
)
