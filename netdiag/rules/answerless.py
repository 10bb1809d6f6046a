"""Forwarded packets that leave by an interface on which their answers are not taken. Pure; nothing can fail."""

import socket
from ipaddress import ip_interface, ip_network

import numpy as np

from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.conntrack import TCP_STATES
from netdiag.model.link import IFF_LOWER_UP, Link
from netdiag.rules.invited import translated
from netdiag.rules.waysout import by_mark

MOST_FLOWS = 256
"""Tracked connections that are looked at."""
SHARED = 30
"""Bits of the longest prefix of a subnet with room for somebody else."""
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
    """A network behind another interface, what of it leaves by this one, wherever it goes, and why that is meant: a
    policy rule for it, or a translation of its addresses there. ``dead``: interfaces that do not forward."""
    for rule in view.rules:
        source = rule.src or ""
        if rule.family != "inet" or not rule.table or not rule.src_len or rule.invert or by_mark(rule):
            continue
        behind = view.link(view.lookup(Query(family="inet", dst=source)).oif or 0)
        if behind is not None and behind.ifindex not in dead and _leaves(view, source, behind, link):
            return f"rule {rule.priority} leads what {source}/{rule.src_len} behind {behind.ifname} sends out there"
    for row in view.addresses:
        behind, prefix = view.link(row.ifindex), str(ip_interface(f"{row.local}/{row.prefixlen}").network)
        if row.family != "inet" or row.scope or row.prefixlen > SHARED or behind is None or behind.ifindex in dead:
            continue
        source = next(str(ip) for ip in ip_network(prefix).hosts() if str(ip) != row.local)
        if translated(view, "inet", prefix, link) and _leaves(view, source, behind, link):
            return f"what {prefix} behind {behind.ifname} sends leaves there under another address"
    return None


def _leaves(view: HostView, source: str, behind: Link, link: Link) -> bool:
    """Whether all that somebody behind an interface sends abroad leaves by the link."""
    if behind is link or behind.loopback or not behind.flags & IFF_LOWER_UP or view.local.is_local("inet", source):
        return False
    ways = [view.lookup(Query(family="inet", dst=dst, src=source, iif=behind.ifname)) for dst in ABROAD]
    return all(way.type == "unicast" and {hop.oif for hop in way.hops} == {link.ifindex} for way in ways)
