"""Neighbours that do not answer: resolution failed, or is going on for longer than one question takes.

Used by rules about who is behind a gateway or a tunnel end. Pure; nothing can fail.
"""

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.neighbour import NTF_PROXY, NUD_FAILED, NUD_INCOMPLETE, Neighbour

FRESH = 1.0
"""Seconds: the first retransmission of a solicitation (RetransTimer of RFC 4861, and of ARP in Linux)."""
NEVER_CONFIRMED = 60.0
"""Seconds: a new entry starts as if confirmed twice base_reachable_time ago (___neigh_create())."""

Key = tuple[int, str | None]
"""ifindex and address."""


def failing(view: HostView) -> dict[Key, Neighbour]:
    """Neighbours that do not answer, but for those that were asked a moment ago."""
    table = view.neighbours
    fresh = (table.updated < FRESH) & ~(table.confirmed >= NEVER_CONFIRMED + FRESH)
    bad = (table.state == NUD_FAILED) | ((table.state == NUD_INCOMPLETE) & ~fresh)
    rows = table.rows(np.flatnonzero(bad & (table.flags & NTF_PROXY == 0)))
    return {(row.ifindex, row.dst): row for row in rows}
