"""Tracked connections that live on with a translation that nobody would give them now. Pure.

Groups are made over the columns, so a hundred thousand entries cost a few NumPy calls; rules and routes are asked once
for each group.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from netdiag.index.nftverdict import Translation
from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.conntrack import ConntrackEntry
from netdiag.model.neighbour import NTF_PROXY
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP
from netdiag.rules.translations import NUD_KNOWN, new_packet

SYN_SENT = 1
"""TCP_CONNTRACK_SYN_SENT."""
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


def stale_sources(view: HostView, *, ruleless: bool = False) -> Iterator[Group]:
    """Connections that live, whose source is rewritten to an address that is not this host's any more.

    Only where the rules would now do otherwise: masquerade, or another address; ``ruleless``: also where no rule gives
    any now, and somebody else may know why it was done. UDP entries are gone within two
    minutes without a packet, so those that are there are in use; of TCP those count that were refreshed just now.
    """
    table, state = view.conntrack, view.conntrack_state
    recent = state.settings.get("tcp_timeout_established", 432000) - 120
    live = (table.proto == IPPROTO_UDP) | (
        (table.proto == IPPROTO_TCP) & (table.tcp_state == 3) & (table.timeout >= max(recent, 300))
    )
    live |= (table.proto == IPPROTO_TCP) & (table.tcp_state == SYN_SENT)
    keep = (table.reply_dst != table.orig_src).any(axis=1) & live
    keep &= _foreign(view, keep)
    for group in groups(view, keep, ("family", "reply_dst", "orig_dst", "orig_dport", "proto")):
        entry = group.entry
        if _translates_otherwise(view, entry) or (ruleless and not _given(view, entry)):
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


def _given(view: HostView, entry: ConntrackEntry) -> tuple[Translation, ...]:
    """What the rules would do with the connection's source now."""
    ends = (entry.orig_src, entry.orig_sport, entry.orig_dst, entry.orig_dport)
    packet = new_packet(view, entry.proto, ends)
    return view.netfilter.hook("postrouting", replace(packet, oif=None)).translations


def _translates_otherwise(view: HostView, entry: ConntrackEntry) -> bool:
    given = _given(view, entry)
    # Without a rule, or with a pool, somebody else may know why.
    if not given or any(one.kind == "snat" and one.addr is None for one in given):
        return False
    return all(one.addr != entry.reply_dst for one in given) or nobody_answers(view, entry) is not None


def nobody_answers(view: HostView, entry: ConntrackEntry) -> tuple[str, int | None] | None:
    """The link of this host on which the source that a rule gives is asked for, and the length of its prefix, where
    nobody answers for it; None where somebody may.

    Only of connections that began lately and have no answer: what began before may be left over from a failover, whose
    address another host has now. An address that is routed here need not be on any interface.
    """
    address, family = entry.reply_dst, entry.family
    lately = entry.proto == IPPROTO_UDP or entry.tcp_state == "syn_sent"
    if entry.replied or not lately or all(one.addr != address for one in _given(view, entry)):
        return None
    answer = view.lookup(Query(family=family, dst=address))
    if len(answer.hops) != 1 or answer.hops[0].gateway is not None:
        return None
    link, whole = view.link(answer.hops[0].oif), 32 if family == "inet" else 128
    if link is None or answer.prefixlen == whole or link.inet_conf.get("proxy_arp"):
        return None
    table = view.neighbours
    own = np.frombuffer(ipaddress.ip_address(address).packed.ljust(16, b"\0"), np.uint8)
    known = (table.dst == own).all(axis=1) & ((table.flags & NTF_PROXY != 0) | (table.state & NUD_KNOWN != 0))
    return None if known.any() else (link.ifname, answer.prefixlen)
