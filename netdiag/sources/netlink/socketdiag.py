"""Sockets by sock_diag: requests that ask for them, and their messages into columns.

Formats: include/uapi/linux/inet_diag.h (struct inet_diag_req_v2, 56 bytes; struct inet_diag_msg, 72; INET_DIAG_*),
linux/packet_diag.h, linux/sock_diag.h (SK_MEMINFO_*), linux/tcp.h (struct tcp_info). A request for a family or protocol
whose module is not loaded would load it (net/core/sock_diag.c sock_load_diag_module(), net/ipv4/inet_diag.c
inet_diag_lock_handler()): whether to ask is the caller's decision. Damaged attributes are left out and counted.
"""

from collections.abc import Mapping
from struct import pack

import numpy as np

from netdiag.model.sockets import SHAPES, TOLD_BACKLOG, TOLD_INFO, TOLD_SKMEM, Sockets
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.columns import At, Attribute, Columns, ColumnSink, Matrix
from netdiag.sources.netlink.messages import DumpRequest

SOCK_DIAG_BY_FAMILY = 20
INET_DIAG_MEMINFO, INET_DIAG_INFO, INET_DIAG_SKMEMINFO, INET_DIAG_SHUTDOWN = 1, 2, 7, 8
INET_DIAG_SKV6ONLY, INET_DIAG_MARK, INET_DIAG_CGROUP_ID = 11, 15, 21
_IGNORED = {0, 1, 3, 4, 5, 6, 9, 10, 12, 13, 14, 16, 17, 18, 19, 20, 22}
"""Known, and not asked or not needed: congestion control, TOS, peers and addresses of SCTP, padding, ULP, socket
options."""
ALL_STATES = 0xFFF
TIMER_RETRANSMIT = 1
TIMER_PROBE = 4
"""idiag_timer: the peer has closed its window and is asked again and again."""
PACKET_SHOW_INFO, PACKET_SHOW_MEMINFO = 0x01, 0x20
PACKET_DIAG_UID, PACKET_DIAG_MEMINFO = 5, 6

_SKMEM = {"rmem": 0, "rcvbuf": 1, "wmem": 2, "sndbuf": 3, "backlog": 7, "drops": 8}
"""Positions in the array of SK_MEMINFO_*, in words."""
_TCP_INFO = {
    "snd_mss": 4,
    "unacked": 6,
    "retrans_out": 9,
    "last_data_sent": 11,
    "last_data_recv": 13,
    "pmtu": 15,
    "rtt": 17,
    "snd_cwnd": 20,
    "total_retrans": 25,
    "received": 32,
    "notsent": 36,
    "data_segs_out": 39,
    "snd_wnd": 57,
}
"""Positions in struct tcp_info, in words; the low half of 64-bit counters. An older kernel's struct is shorter."""
_SHAPES: Mapping[str, tuple[type[np.generic], int]] = {
    name: shape for name, shape in SHAPES.items() if not name.startswith("later")
}


def inet_sockets(family: str, protocol: int, *, states: int = ALL_STATES) -> DumpRequest:
    """Every socket of ``inet`` or ``inet6`` and of one IPPROTO_*, in the states whose bits are set."""
    wanted = 1 << (INET_DIAG_SKMEMINFO - 1)
    if protocol == 6:
        wanted |= 1 << (INET_DIAG_INFO - 1)
    number = nl.AF_INET if family == "inet" else nl.AF_INET6
    body = pack("=BBBBI48x", number, protocol, wanted, 0, states)
    names = {6: "tcp", 17: "udp", 255: "raw"}
    return DumpRequest(
        f"SOCK_DIAG {family} {names.get(protocol, protocol)}", nl.NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, body
    )


def packet_sockets() -> DumpRequest:
    """Every packet socket: tcpdump, DHCP clients, LLDP daemons and the like."""
    body = pack("=BBHII8x", 17, 0, 0, 0, PACKET_SHOW_INFO | PACKET_SHOW_MEMINFO)
    return DumpRequest("SOCK_DIAG packet", nl.NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, body)


class _SocketSink(ColumnSink):
    """What the two message formats have in common."""

    def __init__(self, families: frozenset[int], header_size: int) -> None:
        super().__init__(SOCK_DIAG_BY_FAMILY, families, header_size)
        self.columns = Columns(_SHAPES)

    def forget(self) -> None:
        self.columns = Columns(_SHAPES)

    def take_rows(self, count: int) -> int:
        return self.columns.take(count)

    def finish(self) -> Sockets:
        """The sockets, in dump order, with nothing in the ``later`` columns. The sink is used up."""
        self.flush()
        self.columns.resize(self.columns.rows)
        rows = self.columns.rows
        later = {name: np.zeros(rows, dtype) for name, (dtype, _) in SHAPES.items() if name.startswith("later")}
        return Sockets(**self.columns.arrays, **later)

    def skmem(self, matrix: Matrix, attribute: Attribute, at: At) -> bool:
        """SK_MEMINFO: False where it is too short for the oldest of its numbers."""
        words = attribute.size // 4
        if words < 4:
            return False
        for name, position in _SKMEM.items():
            if position < words:
                self.columns.arrays[name][at] = matrix.words[:, attribute.word + position]
        self.columns.arrays["told"][at] |= TOLD_SKMEM
        return True


class InetSockets(_SocketSink):
    """Sink for dumps of TCP, UDP or raw sockets of one family; finish() is the table."""

    def __init__(self, protocol: int) -> None:
        super().__init__(frozenset({nl.AF_INET, nl.AF_INET6}), 72)
        self.protocol = protocol

    def store(self, matrix: Matrix, at: At) -> None:
        arrays, octets, words = self.columns.arrays, matrix.octets, matrix.words
        header = 4  # words of struct nlmsghdr
        for position, name in enumerate(("family", "state", "timer", "retrans")):
            arrays[name][at] = octets[:, header * 4 + position]
        arrays["protocol"][at] = self.protocol
        arrays["told"][at] = TOLD_BACKLOG
        ports = octets.view(">u2")
        arrays["sport"][at] = ports[:, 10]
        arrays["dport"][at] = ports[:, 11]
        arrays["src"][at] = octets[:, 24:40]
        arrays["dst"][at] = octets[:, 40:56]
        arrays["ifindex"][at] = words[:, 14].view(np.int32)
        arrays["cookie"][at] = words[:, 15].astype(np.uint64) | words[:, 16].astype(np.uint64) << np.uint64(32)
        for position, name in enumerate(("rqueue", "wqueue", "uid", "inode")):
            arrays[name][at] = words[:, 18 + position]
        for attribute in matrix.attributes:
            if not self._attribute(matrix, attribute, at):
                self.malformed += len(matrix)

    def _attribute(self, matrix: Matrix, attribute: Attribute, at: At) -> bool:
        """Decode one attribute; False: it has not the size that its type asks for."""
        arrays, (kind, word, size) = self.columns.arrays, attribute
        if kind == INET_DIAG_SKMEMINFO:
            return self.skmem(matrix, attribute, at)
        if kind == INET_DIAG_INFO:
            if size < 104:
                return self.protocol != 6
            for name, position in _TCP_INFO.items():
                if position < size // 4:
                    arrays[name][at] = matrix.words[:, word + position]
            # tcpi_probes begins anew with each answer; tcpi_backoff counts every probe until the window opens.
            waits = np.isin(arrays["timer"][at], (TIMER_RETRANSMIT, TIMER_PROBE))
            asks = np.where(waits, matrix.octets[:, word * 4 + 4], 0)
            arrays["probes"][at] = np.maximum(matrix.octets[:, word * 4 + 3], asks)
            arrays["told"][at] |= TOLD_INFO
        elif kind == INET_DIAG_MARK:
            if size != 4:
                return False
            arrays["mark"][at] = matrix.words[:, word]
        elif kind == INET_DIAG_CGROUP_ID:
            if size != 8:
                return False
            low, high = (matrix.words[:, word + half].astype(np.uint64) for half in (0, 1))
            arrays["cgroup"][at] = low | high << np.uint64(32)
        elif kind in (INET_DIAG_SHUTDOWN, INET_DIAG_SKV6ONLY):
            if size != 1:
                return False
            name = "shutdown" if kind == INET_DIAG_SHUTDOWN else "v6only"
            arrays[name][at] = matrix.octets[:, word * 4]
        elif kind not in _IGNORED:
            self.count_unknown(kind, len(matrix))
        return True


class PacketSockets(_SocketSink):
    """Sink for the dump of packet sockets; finish() is the table. ``sport`` is the Ethernet protocol."""

    def __init__(self) -> None:
        super().__init__(frozenset({17}), 16)

    def store(self, matrix: Matrix, at: At) -> None:
        arrays, words = self.columns.arrays, matrix.words
        arrays["family"][at] = 17
        arrays["state"][at] = 7
        arrays["sport"][at] = words.view(np.uint16)[:, 9]
        arrays["inode"][at] = words[:, 5]
        arrays["cookie"][at] = words[:, 6].astype(np.uint64) | words[:, 7].astype(np.uint64) << np.uint64(32)
        for attribute in matrix.attributes:
            kind, word, size = attribute
            if kind == 0 and size >= 4:  # struct packet_diag_info: pdi_index first
                arrays["ifindex"][at] = words[:, word].view(np.int32)
            elif kind == PACKET_DIAG_MEMINFO and not self.skmem(matrix, attribute, at):
                self.malformed += len(matrix)
            elif kind == PACKET_DIAG_UID and size == 4:
                arrays["uid"][at] = words[:, word]
        arrays["rqueue"][at] = arrays["rmem"][at]
