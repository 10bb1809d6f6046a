"""Tracked connections that live on with a translation that nobody would give them now. Pure.

Groups are made over the columns, so a hundred thousand entries cost a few NumPy calls; rules and routes are asked once
for each group.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.conntrack import ConntrackEntry
from netdiag.rules.translations import new_packet

UDP, TCP = 17, 6
MOST_GROUPS = 512


@dataclass(frozen=True)
class Group:
    """Entries that were translated alike; one of them, and how many there are."""

    entry: ConntrackEntry
    count: int


def groups(view: HostView, keep: "np.typing.NDArray[np.bool_]", names: tuple[str, ...]) -> Iterator[Group]:
    """Entries in ``keep``, those with the same values in the columns ``names`` together."""
    table = view.conntrack
    rows = np.flatnonzero(keep)
    if not len(rows):
        return
    parts = [getattr(table, name)[rows].reshape(len(rows), -1).view(np.uint8).reshape(len(rows), -1) for name in names]
    _, first, count = np.unique(np.concatenate(parts, axis=1), axis=0, return_index=True, return_counts=True)
    for position, number in sorted(zip(rows[first].tolist(), count.tolist(), strict=True))[:MOST_GROUPS]:
        yield Group(table.row(position), number)


def stale_sources(view: HostView) -> Iterator[Group]:
    """Connections that live, whose source is rewritten to an address that is not this host's any more.

    Only where the rules would now do otherwise: masquerade, or another address. UDP entries are gone within two
    minutes without a packet, so those that are there are in use; of TCP those count that were refreshed just now.
    """
    table, state = view.conntrack, view.conntrack_state
    recent = state.settings.get("tcp_timeout_established", 432000) - 120
    live = (table.proto == UDP) | ((table.proto == TCP) & (table.tcp_state == 3) & (table.timeout >= max(recent, 300)))
    keep = (table.reply_dst != table.orig_src).any(axis=1) & live
    keep &= _foreign(view, keep)
    for group in groups(view, keep, ("family", "reply_dst", "orig_dst", "orig_dport", "proto")):
        entry = group.entry
        if _translates_otherwise(view, entry):
            yield group


def _foreign(view: HostView, keep: "np.typing.NDArray[np.bool_]") -> "np.typing.NDArray[np.bool_]":
    """Entries whose answers go to an address that is not this host's; asked once for each address."""
    table = view.conntrack
    strange = np.zeros(len(table), np.bool_)
    rows = np.flatnonzero(keep)
    if len(rows):
        words = np.ascontiguousarray(table.reply_dst[rows]).view("V16").reshape(-1)
        _, first, which = np.unique(words, return_index=True, return_inverse=True)
        for number, position in enumerate(rows[first].tolist()[:MOST_GROUPS]):
            entry = table.row(position)
            if not view.local.is_local(entry.family, entry.reply_dst):
                strange[rows[which == number]] = True
    return strange


def _translates_otherwise(view: HostView, entry: ConntrackEntry) -> bool:
    ends = (entry.orig_src, entry.orig_sport, entry.orig_dst, entry.orig_dport)
    packet = new_packet(view, entry.proto, ends)
    found = view.netfilter.hook("postrouting", replace(packet, oif=None))
    given = found.translations
    # Without a rule, or with a pool, somebody else may know why.
    return bool(given) and not any(one.kind == "snat" and one.addr in (None, entry.reply_dst) for one in given)
