"""What moved in queueing disciplines between two looks, and which of them a packet was really lost in."""

from collections.abc import Iterable, Iterator

from netdiag.model.tc import Qdisc, Tc

AQM = frozenset({"fq_codel", "codel", "cake", "pie", "fq_pie", "red", "gred", "choke", "sfb", "dualpi2"})
"""Drop to tell the sender that it is too fast, long before the queue is full: that is how they work."""
SHAPERS = frozenset({"tbf", "htb", "hfsc", "cbq"})
"""Hold back what is above a rate that somebody chose."""
FIFOS = frozenset({"pfifo", "bfifo", "pfifo_fast", "pfifo_head_drop"})


def drops(table: Tc) -> dict[tuple[int, int, int], tuple[int, int]]:
    """(ifindex, handle, parent) of each qdisc to packets dropped and passed; counters that went back are left out."""
    before = {(row.ifindex, row.handle, row.parent): row for row in table.qdiscs}
    found: dict[tuple[int, int, int], tuple[int, int]] = {}
    for now in table.second:
        key = (now.ifindex, now.handle, now.parent)
        was = before.get(key)
        if now.of_class or was is None or was.kind != now.kind:
            continue
        lost, passed = now.stats.drops - was.stats.drops, now.stats.packets - was.stats.packets
        if lost >= 0 and passed >= 0:
            found[key] = (lost, passed)
    return found


def losing(table: Tc) -> Iterator[tuple[Qdisc, int, int]]:
    """The lowest qdisc of each branch that dropped something, with what it dropped and passed.

    A classful qdisc counts what is lost below it; where a leaf of its own accounts for that, the leaf is named.
    """
    moved = drops(table)
    rows = {(row.ifindex, row.handle, row.parent): row for row in table.qdiscs}
    for key, (lost, passed) in moved.items():
        if not lost:
            continue
        ifindex, handle, _ = key
        below = sum(
            other_lost
            for (other, _, parent), (other_lost, _) in moved.items()
            if other == ifindex and handle and parent >> 16 == handle >> 16 and parent < 0xFFFF0000
        )
        if below < lost:
            yield rows[key], lost, passed


def share(lost: int, passed: int) -> float:
    """Part of what came that was dropped."""
    return lost / max(1, lost + passed)


def by_interface(rows: Iterable[Qdisc]) -> dict[int, list[Qdisc]]:
    """Qdiscs of each interface."""
    found: dict[int, list[Qdisc]] = {}
    for row in rows:
        found.setdefault(row.ifindex, []).append(row)
    return found
