"""Ports of this host: those that it calls from, and those on which something listens. Pure."""

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP
from netdiag.model.sockets import CLOSE, LISTEN

ANY = ("0.0.0.0", "::", "")
"""Local addresses of sockets that take packets to any."""
UNTOUCHED = (32768, 60999)
"""net.ipv4.ip_local_port_range where nobody changed it."""


def callers(view: HostView) -> tuple[int, int]:
    """Two of the ports that this host calls from, as good as any."""
    words = (view.sysctl("net.ipv4.ip_local_port_range") or "").split()
    low, high = (int(words[0]), int(words[1])) if len(words) == 2 else UNTOUCHED
    return low + (high - low) // 3, low + (high - low) * 2 // 3


def listeners(view: HostView) -> dict[str, set[int]]:
    """Ports by local address; those for all addresses under the empty text."""
    table = view.sockets
    chosen = (table.protocol == IPPROTO_TCP) & (table.state == LISTEN)
    chosen |= (table.protocol == IPPROTO_UDP) & (table.state == CLOSE) & (table.sport != 0)
    found: dict[str, set[int]] = {}
    for row in table.rows(np.flatnonzero(chosen)[:4096]):
        found.setdefault("" if row.src in ANY else row.src, set()).add(row.sport)
    return found
