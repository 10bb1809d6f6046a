"""Neighbours that do not answer: resolution failed, is going on for longer than one question takes, or is switched off
on a link that needs it.

Used by rules about who is behind a gateway or a tunnel end. Pure; nothing can fail.
"""

from collections.abc import Iterator

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.distinct import among
from netdiag.model.neighbour import NTF_PROXY, NUD_FAILED, NUD_INCOMPLETE, NUD_NOARP, Neighbour

ARPHRD_ETHER = 1
ASKING = frozenset({None, "veth", "bridge", "bond", "team", "vlan", "macvlan", "tun"})
"""Kinds of links whose frames need a hardware address."""

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
    rows = [*table.rows(np.flatnonzero(bad & (table.flags & NTF_PROXY == 0))), *_unasked(view)]
    return {(row.ifindex, row.dst): row for row in rows}


def _unasked(view: HostView) -> Iterator[Neighbour]:
    """Neighbours on Ethernet where IFF_NOARP was set: frames for them bear this host's own hardware address
    (arp_constructor(), ndisc_constructor())."""
    table = view.neighbours
    deaf = {link.ifindex: link for link in view.links if link.noarp and link.up and link.kind in ASKING}
    deaf = {ifindex: link for ifindex, link in deaf.items() if link.type == ARPHRD_ETHER and not link.loopback}
    for row in table.rows(np.flatnonzero((table.state == NUD_NOARP) & among(table.ifindex, list(deaf)))):
        if row.lladdr == deaf[row.ifindex].address:
            yield row


def of_many(lladdr: str | None) -> bool:
    """Whether a hardware address is a multicast one of Ethernet: six octets, the low bit of the first."""
    return lladdr is not None and len(lladdr) == len("01:00:5e:00:00:01") and bool(int(lladdr[:2], 16) & 1)
