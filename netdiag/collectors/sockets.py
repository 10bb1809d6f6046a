"""TCP, UDP, raw and packet sockets, what moves in them within a second, and who holds them open.

Source: NETLINK_SOCK_DIAG dumps (see netdiag.sources.netlink.socketdiag) and /proc/PID/fd. Needs no privilege; marks
need CAP_NET_ADMIN, processes of other users CAP_SYS_PTRACE. A dump whose kernel module is not loaded would load it, so
such a table is read from /proc/net instead (net/ipv4/tcp_ipv4.c tcp4_seq_show() and its kin): without tcp_info,
buffers, cookies and the backlog's limit, which makes the table partial only where such a file could not be read whole.
"""

from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from netdiag.collectors import Collected, Options, verdict_of
from netdiag.model.protocols import IPPROTO_RAW, IPPROTO_TCP, IPPROTO_UDP
from netdiag.model.sockets import (
    CLOSE,
    CLOSE_WAIT,
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    LISTEN,
    RouteListener,
    SocketOwner,
    SocketOwners,
    Sockets,
    UnixListener,
    joined,
    sockets_from_rows,
)
from netdiag.model.text import kernel_text
from netdiag.sources import procsockets
from netdiag.sources.netlink.messages import DumpRequest, DumpResult
from netdiag.sources.netlink.socketdiag import InetSockets, PacketSockets, inet_sockets, packet_sockets
from netdiag.sources.protocol import Source, Unreadable

FAMILIES = ("inet", "inet6")
MODULES = {IPPROTO_TCP: "tcp_diag", IPPROTO_UDP: "udp_diag", IPPROTO_RAW: "raw_diag"}
AGAIN = sum(1 << state for state in (ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LISTEN))
"""States of TCP that the second look asks for: those in which something can wait to be read."""
LATER = (
    "state",
    "rqueue",
    "wqueue",
    "drops",
    "received",
    "total_retrans",
    "data_segs_out",
    "last_data_recv",
    "snd_wnd",
)
OWNERS_KEPT = 5000
UNIX_KEPT = 500


class Answering:
    """Which dumps the kernel answers without loading a module for them."""

    def __init__(self, source: Source) -> None:
        self.everything = False
        self.names: set[str] = set()
        try:
            loaded = source.read("/proc/modules")
        except Unreadable as error:
            # A kernel without CONFIG_MODULES has no such file, and nothing that it could load.
            self.everything = error.why == "absent"
            return
        self.names = {line.split()[0] for line in loaded.decode("ascii", "replace").splitlines() if line.strip()}
        release = source.uname()[1]
        try:
            builtin = source.read(f"/lib/modules/{release}/modules.builtin").decode("ascii", "replace")
        except Unreadable:
            return
        self.names |= {line.rpartition("/")[2].partition(".")[0].replace("-", "_") for line in builtin.splitlines()}

    def __call__(self, *modules: str) -> bool:
        return self.everything or self.names.issuperset(modules)


class Reader:
    """One look after the other at the same host."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.answering = Answering(source)
        self.results: list[DumpResult] = []
        self.malformed = 0
        self.troubles: list[str] = []

    def _dumped(self, request: DumpRequest, sink: InetSockets | PacketSockets) -> Sockets:
        self.results.append(self.source.dump(request, sink))
        table = sink.finish()
        self.malformed += sink.malformed
        return table

    def _by_file(self, name: str, parse: Callable[[bytes], list[dict[str, int | str]]]) -> Sockets:
        try:
            return sockets_from_rows(parse(self.source.read(f"/proc/self/net/{name}")))
        except Unreadable as error:
            if error.why != "absent":  # no IPv6, no packet sockets
                self.troubles.append(error.detail)
            return Sockets.empty()

    def inet(self, family: str, protocol: int, states: int = 0xFFF) -> Sockets:
        """The sockets of one family and protocol, by the best way that loads nothing."""
        if self.answering("inet_diag", MODULES[protocol]):
            try:
                return self._dumped(inet_sockets(family, protocol, states=states), InetSockets(protocol))
            except Unreadable as error:
                if error.why not in ("absent", "failed"):
                    raise
        name = {IPPROTO_TCP: "tcp", IPPROTO_UDP: "udp", IPPROTO_RAW: "raw"}[protocol]
        return self._by_file(
            name + ("6" if family == "inet6" else ""), lambda raw: procsockets.parse_inet(raw, family, protocol)
        )

    def packet(self) -> Sockets:
        """The packet sockets."""
        if self.answering("af_packet_diag"):
            try:
                return self._dumped(packet_sockets(), PacketSockets())
            except Unreadable as error:
                if error.why not in ("absent", "failed"):
                    raise
        return self._by_file("packet", procsockets.parse_packet)

    def everything(self) -> Sockets:
        """All kinds of sockets."""
        protocols = (IPPROTO_TCP, IPPROTO_UDP, IPPROTO_RAW)
        return joined([self.inet(family, number) for number in protocols for family in FAMILIES] + [self.packet()])

    def again(self) -> Sockets:
        """What the second look needs."""
        tcp = [self.inet(family, IPPROTO_TCP, AGAIN) for family in FAMILIES]
        return joined(tcp + [self.inet(family, IPPROTO_UDP) for family in FAMILIES])


def with_later(first: Sockets, second: Sockets) -> Sockets:
    """The first look with what the second said of the same sockets, known by cookie or else by protocol and inode."""
    if not len(first) or not len(second):
        return first
    here, there = _identity(first), _identity(second)
    order = np.argsort(there)
    place = np.minimum(np.searchsorted(there, here, sorter=order), len(there) - 1)
    match = order[place]
    same = (there[match] == here) & (here != 0)
    columns = {name: getattr(first, name) for name in Sockets.COLUMNS}
    columns["later"] = same.astype(np.uint8)
    for name in LATER:
        values = getattr(second, name)[match]
        columns[f"later_{name}"] = np.where(same, values, 0).astype(values.dtype)
    return Sockets(**columns)


def _identity(table: Sockets) -> npt.NDArray[np.uint64]:
    by_inode = table.inode.astype(np.uint64) | table.protocol.astype(np.uint64) << np.uint64(56)
    by_inode[table.inode == 0] = 0
    # Cookies come from a counter far below the bit that is set here.
    return np.where(table.cookie != 0, table.cookie, by_inode | np.uint64(1 << 63) * (by_inode != 0))


def waiting(table: Sockets) -> npt.NDArray[np.bool_]:
    """Sockets whose process is worth knowing: they listen, take from anybody, or have something to read."""
    tcp = table.protocol == IPPROTO_TCP
    listening = tcp & (table.state == LISTEN)
    unconnected = ~tcp & (table.state == CLOSE)
    found: npt.NDArray[np.bool_] = listening | unconnected | (table.rqueue > 0) | (tcp & (table.state == CLOSE_WAIT))
    return found


def owners_of(source: Source, table: Sockets, more: set[int]) -> tuple[tuple[SocketOwner, ...], bool]:
    """Processes that hold the sockets that wait, or one of ``more`` by inode, and whether all could be looked into."""
    wanted = set(table.inode[waiting(table)].tolist()) | more
    wanted -= {0}
    try:
        answer = source.fetch("owners", "sockets")
    except Unreadable:
        return (), False
    rows: list[SocketOwner] = []
    complete = False
    for line in answer.split(b"\n"):
        words = line.split(b" ", 3)
        if words[0] == b"end":
            complete = words[1:] == [b"complete"]
        elif len(words) == 4 and words[0].isdigit() and words[1].isdigit() and int(words[0]) in wanted:
            rows.append(
                SocketOwner(
                    inode=int(words[0]),
                    pid=int(words[1]),
                    comm=kernel_text(words[3]),
                    state=words[2].decode("ascii", "replace"),
                )
            )
    return tuple(rows[:OWNERS_KEPT]), complete and len(rows) <= OWNERS_KEPT


def unix_listeners(source: Source) -> tuple[UnixListener, ...]:
    """Listening Unix sockets with a path (/proc/net/unix needs no module; net/unix/af_unix.c unix_seq_show())."""
    try:
        found = procsockets.parse_unix(source.read("/proc/self/net/unix"))
    except Unreadable:
        return ()
    return tuple(
        UnixListener(path=kernel_text(path), inode=inode, waiting=waiting) for path, inode, waiting in found[:UNIX_KEPT]
    )


def route_listeners(source: Source, first: tuple[RouteListener, ...] | None = None) -> tuple[RouteListener, ...]:
    """Sockets that follow the kernel's routes; with ``first`` those of the first look, and what they dropped since."""
    try:
        found = procsockets.parse_netlink(source.read("/proc/self/net/netlink"))
    except Unreadable:
        return first or ()
    if first is None:
        return tuple(RouteListener(inode=inode, portid=portid, drops=drops) for inode, portid, drops in found)[
            :UNIX_KEPT
        ]
    later = {inode: drops for inode, _, drops in found}
    return tuple(msgspec.structs.replace(row, later_drops=later.get(row.inode)) for row in first)


def collect(source: Source, options: Options) -> Collected:
    """All sockets, and unless ``options.interval`` is 0 those that can move once more."""
    reader = Reader(source)
    started = source.clock("boottime")
    table = reader.everything()
    followers = route_listeners(source)
    seconds = None
    if options.interval > 0:
        source.wait(options.interval)
        seconds = round(source.clock("boottime") - started, 3)
        table = with_later(table, reader.again())
        followers = route_listeners(source, followers)
    owners, complete = owners_of(source, table, {row.inode for row in followers})
    status, detail = verdict_of(reader.results, reader.malformed)
    if reader.troubles:
        status, detail = "partial", "; ".join(sorted(set(reader.troubles)))
    names = SocketOwners(owners=owners, complete=complete, unix=unix_listeners(source), seconds=seconds)
    names = msgspec.structs.replace(names, route_listeners=followers)
    return Collected(tables={"sockets": table, "socket_owners": names}, rows=len(table), status=status, detail=detail)
