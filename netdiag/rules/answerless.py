"""Forwarded packets that leave by an interface on which their answers are not taken. Pure; nothing can fail."""

import socket

import numpy as np

from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.conntrack import TCP_STATES
from netdiag.model.link import Link
from netdiag.rules.waysout import by_mark

MOST_FLOWS = 256
"""Tracked connections that are looked at."""
ABROAD = ("203.0.113.99", "198.18.0.99", "8.8.8.8")
"""What no narrower route than the default one leads to all at once."""


def half_open(view: HostView, guests: list[Link], link: Link) -> str | None:
    """A connection that a guest of one of these interfaces opened by the interface, and whose answer came in (before it
    is routed, connection tracking has seen it) but did not get to the guest, while packets for others were refused."""
    names, table = {one.ifindex: one.ifname for one in guests}, view.conntrack
    if not names or not view.latest.snmp.get("Ip.InAddrErrors"):
        return None
    opening = (table.family == socket.AF_INET) & (table.tcp_state == TCP_STATES.index("syn_recv"))
    for entry in (table.row(position) for position in np.flatnonzero(opening)[:MOST_FLOWS].tolist()):
        behind = names.get(view.lookup(Query(family="inet", dst=entry.orig_src)).oif or 0)
        if behind is None:
            continue
        way = view.lookup(Query(family="inet", dst=entry.reply_src, src=entry.orig_src, iif=behind))
        if way.type == "unicast" and {hop.oif for hop in way.hops} == {link.ifindex}:
            ends = f"{entry.orig_src} behind {behind} to {entry.orig_dst} port {entry.orig_dport}"
            return f"the connection of {ends} was answered, and the answer did not get through"
    return None


def led_out(view: HostView, link: Link, dead: set[int]) -> str | None:
    """A policy rule by which what a network behind another interface sends leaves by this one, wherever it goes.
    ``dead``: interfaces that do not forward."""
    for rule in view.rules:
        source = rule.src or ""
        if rule.family != "inet" or not rule.table or not rule.src_len or rule.invert or by_mark(rule):
            continue
        behind = view.link(view.lookup(Query(family="inet", dst=source)).oif or 0)
        if behind is None or behind.ifindex in dead or behind.loopback or view.local.is_local("inet", source):
            continue
        ways = [view.lookup(Query(family="inet", dst=dst, src=source, iif=behind.ifname)) for dst in ABROAD]
        if all(way.type == "unicast" and {hop.oif for hop in way.hops} == {link.ifindex} for way in ways):
            return f"rule {rule.priority} leads what {source}/{rule.src_len} behind {behind.ifname} sends out there"
    return None
