"""Sockets as columns, from sock_diag(7) (include/uapi/linux/{inet_diag,packet_diag,tcp}.h), or from /proc/net.

What moves within a second stands in a second set of columns (``later_...``): the same socket, known by its cookie, at
the second look. Who holds a socket open is a table of its own, because only processes that may be looked into tell.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from netdiag.model.protocols import IPPROTO_RAW, IPPROTO_TCP, IPPROTO_UDP

AF_INET, AF_INET6, AF_PACKET = 2, 10, 17
ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING = range(
    1, 12
)
STATES = {
    1: "ESTAB",
    2: "SYN-SENT",
    3: "SYN-RECV",
    4: "FIN-WAIT-1",
    5: "FIN-WAIT-2",
    6: "TIME-WAIT",
    7: "UNCONN",
    8: "CLOSE-WAIT",
    9: "LAST-ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "SYN-RECV",
}
"""As ``ss`` shows them (include/net/tcp_states.h)."""
TOLD_SKMEM, TOLD_INFO, TOLD_BACKLOG = 1, 2, 4
"""Bits of ``told``: which groups of columns the kernel filled; without its bit a zero there means nothing."""

U1: TypeAlias = npt.NDArray[np.uint8]
U2: TypeAlias = npt.NDArray[np.uint16]
U4: TypeAlias = npt.NDArray[np.uint32]


class Socket(msgspec.Struct, frozen=True, kw_only=True):
    """One socket made readable."""

    netid: str
    """``tcp``, ``udp``, ``raw`` or ``packet``."""
    family: str
    state: str
    """As ``ss`` shows it; LISTEN of TCP, UNCONN of what is not connected."""
    src: str
    """Local address; ``0.0.0.0``, ``::`` or empty (packet): any."""
    sport: int
    """Local port; of a raw socket the IP protocol, of a packet socket the Ethernet protocol."""
    dst: str
    dport: int
    ifindex: int
    """Interface that it is bound to; 0: none."""
    inode: int
    uid: int


@dataclass(frozen=True, kw_only=True)
class Sockets:
    """Every TCP, UDP, raw and packet socket of the namespace. All columns have the same length n."""

    family: U1
    protocol: U1
    """6 TCP, 17 UDP, 255 raw; 0 for packet sockets."""
    state: U1
    told: U1
    """TOLD_* bits."""
    v6only: U1
    """1: an IPv6 socket that takes no IPv4."""
    shutdown: U1
    timer: U1
    """Which timer runs: 1 retransmission, 2 keepalive, 3 TIME_WAIT, 4 zero window probe."""
    retrans: U1
    """Retransmissions under way without an answer (or probes, by ``timer``)."""
    probes: U1
    """Zero window probes in a row, answered or not (net/ipv4/tcp_timer.c tcp_probe_timer(), tcp_output.c
    tcp_send_probe0()). Where the retransmission timer runs, how often its wait has been doubled (tcpi_backoff): fewer
    times than ``retrans`` where ICMP said that the peer cannot be reached (RFC 6069, tcp_ld_RTO_revert())."""
    src: U1
    """Shape (n, 16), network order; IPv4 in the first four bytes, the rest zero."""
    dst: U1
    sport: U2
    dport: U2
    ifindex: npt.NDArray[np.int32]
    rqueue: U4
    """Bytes that wait to be read; of a LISTEN socket, connections that wait to be accepted."""
    wqueue: U4
    """Bytes not yet acknowledged; of a LISTEN socket, the most that may wait."""
    uid: U4
    inode: U4
    mark: U4
    cookie: npt.NDArray[np.uint64]
    """The kernel's own number of the socket, never used twice since boot; 0: not told."""
    cgroup: npt.NDArray[np.uint64]
    """Id of its cgroup (the inode of the cgroup2 folder); 0: not told."""
    rmem: U4
    """Bytes of memory that received packets take (SK_MEMINFO_RMEM_ALLOC)."""
    rcvbuf: U4
    wmem: U4
    sndbuf: U4
    backlog: U4
    """Bytes that wait because a process holds the socket's lock."""
    drops: U4
    """Packets dropped at this socket since it was made."""
    snd_mss: U4
    unacked: U4
    retrans_out: U4
    total_retrans: U4
    data_segs_out: U4
    last_data_sent: U4
    """Milliseconds, as all tcp_info times but rtt."""
    last_data_recv: U4
    pmtu: U4
    rtt: U4
    """Microseconds."""
    snd_cwnd: U4
    received: U4
    """Bytes received, modulo 2**32 (tcpi_bytes_received)."""
    notsent: U4
    snd_wnd: U4
    """Window that the peer grants, in bytes (Linux 5.4)."""
    later: U1
    """1: the socket was there at a second look too; the columns below are what it said then."""
    later_state: U1
    later_rqueue: U4
    later_wqueue: U4
    later_drops: U4
    later_received: U4
    later_total_retrans: U4
    later_data_segs_out: U4
    later_last_data_recv: U4
    later_snd_wnd: U4

    COLUMNS: ClassVar[tuple[str, ...]] = ()

    def __len__(self) -> int:
        return len(self.family)

    def row(self, position: int) -> Socket:
        """The socket at one position (0 to n-1), made readable."""
        family, protocol = int(self.family[position]), int(self.protocol[position])
        state = int(self.state[position])
        netid = {IPPROTO_TCP: "tcp", IPPROTO_UDP: "udp", IPPROTO_RAW: "raw"}.get(protocol, "packet")
        return Socket(
            netid=netid,
            family={AF_INET: "inet", AF_INET6: "inet6"}.get(family, "packet"),
            state=STATES.get(state, str(state)),
            src=address_text(family, self.src[position]),
            sport=int(self.sport[position]),
            dst=address_text(family, self.dst[position]),
            dport=int(self.dport[position]),
            ifindex=int(self.ifindex[position]),
            inode=int(self.inode[position]),
            uid=int(self.uid[position]),
        )

    def rows(self, positions: npt.ArrayLike | None = None) -> Iterator[Socket]:
        """Readable sockets at the given positions, or all of them, in dump order."""
        chosen = range(len(self)) if positions is None else np.asarray(positions).tolist()
        return (self.row(position) for position in chosen)

    @classmethod
    def empty(cls) -> "Sockets":
        """A table without rows."""
        return cls(**{name: np.empty((0, width) if width else 0, dtype) for name, (dtype, width) in SHAPES.items()})


def _shape(name: str) -> tuple[type[np.generic], int]:
    narrow = {"family", "protocol", "state", "told", "v6only", "shutdown", "timer", "retrans", "probes", "later"}
    if name in ("src", "dst"):
        return np.uint8, 16
    if name in narrow or name == "later_state":
        return np.uint8, 0
    if name in ("sport", "dport"):
        return np.uint16, 0
    if name in ("cookie", "cgroup"):
        return np.uint64, 0
    return (np.int32, 0) if name == "ifindex" else (np.uint32, 0)


SHAPES: dict[str, tuple[type[np.generic], int]] = {field.name: _shape(field.name) for field in fields(Sockets)}
"""dtype and width of each column; width 0 is one value a row."""
Sockets.COLUMNS = tuple(SHAPES)


def address_text(family: int, octets: npt.NDArray[np.uint8]) -> str:
    """An address of a column as text; empty for a packet socket."""
    if family == AF_INET:
        return str(ipaddress.IPv4Address(octets[:4].tobytes()))
    return str(ipaddress.IPv6Address(octets.tobytes())) if family == AF_INET6 else ""


class SocketOwner(msgspec.Struct, frozen=True, kw_only=True):
    """A process that holds a socket open."""

    inode: int
    """Inode of the socket."""
    pid: int
    """Process id, as seen from where netdiag ran."""
    comm: str
    """Name of the program, up to 15 bytes."""
    state: str = ""
    """State of the process: ``S`` sleeps, ``R`` runs, ``D`` waits for a device, ``T`` is stopped, ``F`` is frozen
    with its cgroup; empty: not known."""


class UnixListener(msgspec.Struct, frozen=True, kw_only=True):
    """A listening Unix socket with a path."""

    path: str
    """Path, as it was bound."""
    inode: int
    """Inode of the socket."""
    waiting: int = 0
    """Connections to it that nobody has accepted yet."""


class RouteListener(msgspec.Struct, frozen=True, kw_only=True):
    """A socket that is told of every change of routes, links or addresses (NETLINK_ROUTE, in a multicast group)."""

    inode: int
    """Inode of the socket."""
    portid: int
    """Its netlink address; mostly the id of the process."""
    drops: int
    """Messages that did not fit into its buffer, since it was made."""
    later_drops: int | None = None
    """The same at a second look; None: there was none, or the socket is gone."""


class SocketOwners(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds the sockets that wait for others, and what else goes with the sockets."""

    owners: tuple[SocketOwner, ...] = ()
    """Of sockets that listen, are not connected, or have something to read: a row a process."""
    complete: bool = False
    """Every process could be looked into: a socket without a row here belongs to the kernel, or to another namespace's
    process."""
    unix: tuple[UnixListener, ...] = ()
    """Listening Unix sockets with a path."""
    route_listeners: tuple[RouteListener, ...] = ()
    """Sockets that follow the kernel's routes: routing daemons and the like."""
    seconds: float | None = None
    """Time between the two looks at the sockets; None: one was taken."""


def sockets_from_rows(rows: list[dict[str, Any]]) -> Sockets:
    """Columns from rows of any of their names, all others 0: for /proc/net, examples and tests.

    ``src`` and ``dst`` are text. Raises ValueError on a bad address, OverflowError on a number that does not fit.
    """
    columns: dict[str, Any] = {}
    for name, (dtype, width) in SHAPES.items():
        if width:
            packed = [ipaddress.ip_address(row.get(name) or "0.0.0.0").packed.ljust(width, b"\0") for row in rows]
            columns[name] = np.frombuffer(b"".join(packed), np.uint8).reshape(len(rows), width)
        else:
            columns[name] = np.array([row.get(name, 0) for row in rows], dtype)
    return Sockets(**columns)


def joined(parts: list[Sockets]) -> Sockets:
    """One table from several, in their order."""
    if not parts:
        return Sockets.empty()
    return Sockets(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in Sockets.COLUMNS})
