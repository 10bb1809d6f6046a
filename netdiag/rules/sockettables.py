"""What rules about sockets share: who listens where, how a socket is named, and which names are asked of whom.

Pure; nothing can fail.
"""

import ipaddress

import numpy as np
import numpy.typing as npt

from netdiag.index.view import HostView
from netdiag.model.finding import Subject, subject
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP
from netdiag.model.sockets import AF_INET, AF_INET6, CLOSE, LISTEN, Socket, Sockets

Mask = npt.NDArray[np.bool_]
FIRST = 200
"""Milliseconds: the shortest retransmission timeout (TCP_RTO_MIN)."""


def endpoint(address: str, port: int) -> str:
    """``192.0.2.1:53``, ``[::1]:53``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address of a socket, without its zone; IPv4 also where a socket of IPv6 carries it (``::ffff:192.0.2.1``)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


def about(row: Socket) -> Subject:
    """A socket that waits for others, by what stays the same from night to night."""
    return subject("socket", netid=row.netid, src=row.src, sport=row.sport)


def comm_of(view: HostView, inode: int) -> str | None:
    """Name of a program that holds the socket; None: not known, or the kernel's own."""
    return next((owner.comm for owner in view.socket_owners.owners if owner.inode == inode), None)


def named(view: HostView, row: Socket) -> str:
    """``nginx's tcp socket 0.0.0.0:80``."""
    comm = comm_of(view, row.inode)
    who = f"{comm}'s " if comm else ""
    return f"{who}{row.netid} socket {endpoint(row.src, row.sport)}"


def any_address(table: Sockets) -> Mask:
    """Sockets whose local address is the wildcard."""
    return np.asarray(~table.src.any(axis=1), np.bool_)


def listening(table: Sockets, protocol: int) -> Mask:
    """TCP sockets in LISTEN, or UDP sockets that take from anybody."""
    state = LISTEN if protocol == IPPROTO_TCP else CLOSE
    return np.asarray((table.protocol == protocol) & (table.state == state) & (table.sport != 0), np.bool_)


def packed(address: str) -> tuple[int, npt.NDArray[np.uint8]]:
    """Family number and the 16 bytes of a column for an address; a zone is dropped."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    raw = np.frombuffer(ip.packed.ljust(16, b"\0"), np.uint8)
    return (AF_INET if ip.version == 4 else AF_INET6), raw


def at_address(table: Sockets, address: str) -> Mask:
    """Sockets bound to exactly this address."""
    family, raw = packed(address)
    return np.asarray((table.family == family) & (table.src == raw).all(axis=1), np.bool_)


def takes(table: Sockets, address: str) -> Mask:
    """Sockets that packets to this address of the host can reach: bound to it, or to the wildcard.

    The wildcard of IPv6 takes IPv4 too unless the socket is IPv6 only; where the kernel did not tell, it counts.
    """
    family, _ = packed(address)
    wild = any_address(table) & (table.family == family)
    if family == AF_INET:
        wild |= any_address(table) & (table.family == AF_INET6) & (table.v6only == 0)
    return np.asarray(at_address(table, address) | wild, np.bool_)


def served(view: HostView, address: str, port: int, protocol: int = IPPROTO_UDP) -> bool:
    """Whether something waits at this address and port."""
    table = view.sockets
    return bool((listening(table, protocol) & takes(table, address) & (table.sport == port)).any())


def stalled_for(table: Sockets, position: int) -> int:
    """Milliseconds for which a connection has sent the same segment again without an answer, at least: each wait was
    twice the one before. By the doublings, not by the retransmissions: where ICMP says that the peer cannot be reached,
    the kernel sends again without waiting longer (RFC 6069)."""
    doubled = min(int(table.retrans[position]), int(table.probes[position]), 20)
    return FIRST * ((1 << doubled) - 1)


def on_network(view: HostView) -> bool:
    """Whether the host is on any network: an address for more than the link on an interface that is up."""
    for address in view.addresses:
        link = view.link(address.ifindex)
        if link is not None and link.up and not link.loopback and address.scope == 0:
            return True
    return False


def in_use(table: Sockets) -> Mask:
    """TCP sockets that hold a local port towards somebody: connected ones, and those in TIME_WAIT."""
    tcp = table.protocol == IPPROTO_TCP
    return np.asarray(tcp & (table.state != CLOSE) & (table.state != LISTEN), np.bool_)
