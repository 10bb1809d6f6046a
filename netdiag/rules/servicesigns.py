"""By what an address of this host shows that a service belongs to it, or not: connections and calls, ports that the
packet filter opens or sends elsewhere. Which port a service should have is not known and never guessed. Pure; nothing
can fail.
"""

from dataclasses import replace

import numpy as np

from netdiag.index.nftpacket import Packet
from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_SEEN_REPLY, TCP_STATES
from netdiag.model.distinct import distinct
from netdiag.model.link import Link
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP
from netdiag.model.sockets import SYN_SENT
from netdiag.rules.localports import UNTOUCHED
from netdiag.rules.sockettables import at_address, in_use, packed

INFRASTRUCTURE = frozenset({20, 22, 68, 123, 161, 179, 323, 546, 3784, 3785, 4784, 51820})
"""Ports that say nothing about a service."""
TAKEN = ("dnat", "redirect", "tproxy")
EPHEMERAL = range(UNTOUCHED[0], UNTOUCHED[1] + 1)
CLIENTS = 8
"""Addresses that call one port within the seconds that tracking remembers a refused call: no scan of one address."""


def serves(port: int) -> bool:
    """Whether a socket on that port of a single address is most likely a service's, and no client's of UDP."""
    return port not in INFRASTRUCTURE and port not in EPHEMERAL


def forwarded(view: HostView, address: str) -> bool:
    """Whether packets for the address, as for others, may be sent elsewhere by the packet filter."""
    family = "inet6" if ":" in address else "inet"
    packet = Packet(family=family, iif=None, daddr=address, daddr_type="local")
    asked = (view.netfilter.hook("prerouting", replace(packet, proto=proto)) for proto in (IPPROTO_TCP, IPPROTO_UDP))
    return any(one.kind in TAKEN for said in asked for one in said.translations)


def opened(view: HostView, address: str, ports: frozenset[int]) -> tuple[str, int] | None:
    """Protocol and port that the packet filter opens for the address, and not for another one of this host."""
    family = "inet6" if ":" in address else "inet"
    own = [row for row in view.addresses if row.family == family and row.scope == 0 and row.local != address]
    other, link = next(((row.local, link) for row in own if (link := _wire(view, row.ifindex))), ("", None))
    if link is None:
        return None
    by = Packet(family=family, iif=link.ifname, iifindex=link.ifindex, daddr=address, daddr_type="local")
    for word, proto in (("tcp", IPPROTO_TCP), ("udp", IPPROTO_UDP)):
        for number in sorted(ports):
            packet = replace(by, proto=proto, dport=number)
            there = view.netfilter.hook("input", replace(packet, daddr=other))
            if there.passes == "no" and view.netfilter.hook("input", packet).passes != "no":
                return word, number
    return None


def holds_addresses(view: HostView, link: Link) -> bool:
    """Whether an interface is there to hold addresses: lo, a dummy that is up, or a bridge that has no port."""
    if link.loopback or not link.up:
        return link.loopback
    return link.kind == "dummy" or (link.kind == "bridge" and not view.stack.ports(link.ifindex))


def _wire(view: HostView, ifindex: int) -> Link | None:
    """An interface by which packets come in."""
    link = view.link(ifindex)
    return None if link is None or link.loopback or link.kind == "dummy" else link


def left_over(view: HostView, address: str, served: set[int]) -> int | None:
    """A port of an own address to which connections are left, at their end (TIME_WAIT) or under way, and at which
    nothing waits for more; not one that is ``served`` for all addresses. What is far at a port from which nobody calls
    was called from here, by NFS from a port below 1024 for instance."""
    table = view.sockets
    came = (table.state != SYN_SENT) & (table.dport >= EPHEMERAL.start)
    rows = np.flatnonzero(at_address(table, address) & in_use(table) & came)
    numbers = (number for number in distinct(table.sport[rows]).tolist() if serves(number) and number not in served)
    return min(numbers, default=None)


def called(view: HostView, address: str, served: set[int]) -> tuple[int, int] | None:
    """A port of an own address that many call in vain, and how many do: of TCP, calls that were reset, of UDP, those
    without an answer. Not where the packet filter sends them elsewhere, nor one that is ``served`` for all addresses:
    a call may be reset at its end. Of an address at which nothing listens: who serves one port is called at others as
    well, by browsers, scanners and floods."""
    if not view.read_whole("conntrack"):
        return None
    table, (family, raw) = view.conntrack, packed(address)
    vain = (table.proto == IPPROTO_TCP) & (table.tcp_state == TCP_STATES.index("close"))
    vain |= (table.proto == IPPROTO_UDP) & (table.status & IPS_SEEN_REPLY == 0)
    vain &= (table.family == family) & (table.orig_dst == raw).all(axis=1)
    vain &= (table.reply_src == raw).all(axis=1) & (table.reply_sport == table.orig_dport)
    rows = np.flatnonzero(vain)
    best: tuple[int, int] | None = None
    for number in distinct(table.orig_dport[rows]).tolist():
        here = rows[table.orig_dport[rows] == number]
        count = len(np.unique(table.orig_src[here], axis=0))
        if count >= CLIENTS and serves(number) and number not in served and (best is None or count > best[1]):
            best = number, count
    return best
