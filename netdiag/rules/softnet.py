"""What moved in /proc/net/softnet_stat between two looks, by the CPU's number (net/core/net-procfs.c)."""

from typing import NamedTuple

from netdiag.index.view import Deltas


class Move(NamedTuple):
    """One CPU, packets; ``squeezed`` counts how often the budget was used up."""

    processed: int
    dropped: int
    squeezed: int
    flow_limited: int


def moves(deltas: Deltas) -> dict[int, Move]:
    """By CPU; one that came, went or began to count anew is left out."""
    before = {row.cpu: row for row in deltas.first.softnet}
    found: dict[int, Move] = {}
    for now in deltas.second.softnet:
        was = before.get(now.cpu)
        if was is None:
            continue
        move = Move(
            now.processed - was.processed,
            now.dropped - was.dropped,
            now.time_squeeze - was.time_squeeze,
            now.flow_limit_count - was.flow_limit_count,
        )
        if min(move) >= 0:
            found[now.cpu] = move
    return found
