"""Connection tracking: the entries as columns, and how full and how busy the table is.

From ctnetlink (include/uapi/linux/netfilter/nfnetlink_conntrack.h), /proc/net/stat/nf_conntrack and
/proc/sys/net/netfilter. A connection has two tuples, one for each direction; they differ where addresses were
translated.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

IPS_SEEN_REPLY = 0x2
IPS_ASSURED = 0x4
IPS_CONFIRMED = 0x8
IPS_SRC_NAT = 0x10
IPS_DST_NAT = 0x20
IPS_SRC_NAT_DONE = 0x80
IPS_DST_NAT_DONE = 0x100
IPS_OFFLOAD = 0x4000
IPS_HW_OFFLOAD = 0x8000
NO_STATE = 255
TCP_STATES = (
    "none",
    "syn_sent",
    "syn_recv",
    "established",
    "fin_wait",
    "close_wait",
    "last_ack",
    "time_wait",
    "close",
    "syn_sent2",
)
"""enum tcp_conntrack."""


class ConntrackEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One connection made readable."""

    family: str
    proto: int
    orig_src: str
    orig_dst: str
    orig_sport: int
    """For ICMP: the id."""
    orig_dport: int
    """For ICMP: type * 256 + code."""
    reply_src: str
    reply_dst: str
    reply_sport: int
    reply_dport: int
    status: int
    """IPS_* bits."""
    timeout: int
    """Seconds until it goes, if no packet comes."""
    mark: int
    zone: int
    tcp_state: str | None

    @property
    def replied(self) -> bool:
        """Whether a packet was seen in the other direction."""
        return bool(self.status & IPS_SEEN_REPLY)

    @property
    def snat(self) -> bool:
        """Whether the source was translated."""
        return bool(self.status & IPS_SRC_NAT)

    @property
    def dnat(self) -> bool:
        """Whether the destination was translated."""
        return bool(self.status & IPS_DST_NAT)


@dataclass(frozen=True, kw_only=True)
class Conntrack:
    """Every entry of both families, up to a cap. All columns have the same length n."""

    family: npt.NDArray[np.uint8]
    """AF_INET 2 or AF_INET6 10."""
    proto: npt.NDArray[np.uint8]
    orig_src: npt.NDArray[np.uint8]
    """Shape (n, 16), network order; IPv4 in the first four bytes, the rest zero."""
    orig_dst: npt.NDArray[np.uint8]
    reply_src: npt.NDArray[np.uint8]
    reply_dst: npt.NDArray[np.uint8]
    orig_sport: npt.NDArray[np.uint16]
    orig_dport: npt.NDArray[np.uint16]
    reply_sport: npt.NDArray[np.uint16]
    reply_dport: npt.NDArray[np.uint16]
    status: npt.NDArray[np.uint32]
    timeout: npt.NDArray[np.uint32]
    """Seconds; 0 also for what is offloaded."""
    mark: npt.NDArray[np.uint32]
    zone: npt.NDArray[np.uint16]
    tcp_state: npt.NDArray[np.uint8]
    """Position in TCP_STATES; 255: no TCP."""
    helper: npt.NDArray[np.uint8]
    """One more than the position in the table conntrack_helpers; 0: none."""

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "family",
        "proto",
        "orig_src",
        "orig_dst",
        "reply_src",
        "reply_dst",
        "orig_sport",
        "orig_dport",
        "reply_sport",
        "reply_dport",
        "status",
        "timeout",
        "mark",
        "zone",
        "tcp_state",
        "helper",
    )

    def __len__(self) -> int:
        return len(self.family)

    def row(self, position: int) -> ConntrackEntry:
        """The entry at one position (0 to n-1), made readable."""
        v4 = int(self.family[position]) == 2

        def text(column: npt.NDArray[np.uint8]) -> str:
            raw = column[position].tobytes()
            return str(ipaddress.IPv4Address(raw[:4]) if v4 else ipaddress.IPv6Address(raw))

        state = int(self.tcp_state[position])
        return ConntrackEntry(
            family="inet" if v4 else "inet6",
            proto=int(self.proto[position]),
            orig_src=text(self.orig_src),
            orig_dst=text(self.orig_dst),
            reply_src=text(self.reply_src),
            reply_dst=text(self.reply_dst),
            orig_sport=int(self.orig_sport[position]),
            orig_dport=int(self.orig_dport[position]),
            reply_sport=int(self.reply_sport[position]),
            reply_dport=int(self.reply_dport[position]),
            status=int(self.status[position]),
            timeout=int(self.timeout[position]),
            mark=int(self.mark[position]),
            zone=int(self.zone[position]),
            tcp_state=TCP_STATES[state] if state < len(TCP_STATES) else None,
        )

    def rows(self, positions: npt.ArrayLike | None = None) -> Iterator[ConntrackEntry]:
        """Readable entries at the given positions, or all of them, in dump order."""
        chosen = range(len(self)) if positions is None else np.asarray(positions).tolist()
        return (self.row(position) for position in chosen)

    @classmethod
    def empty(cls) -> "Conntrack":
        """A table without rows."""
        return conntrack_from_rows([])


SHAPES: dict[str, tuple[type[np.generic], int]] = {
    **dict.fromkeys(("family", "proto", "tcp_state", "helper"), (np.uint8, 0)),
    **dict.fromkeys(("orig_src", "orig_dst", "reply_src", "reply_dst"), (np.uint8, 16)),
    **dict.fromkeys(("orig_sport", "orig_dport", "reply_sport", "reply_dport", "zone"), (np.uint16, 0)),
    **dict.fromkeys(("status", "timeout", "mark"), (np.uint32, 0)),
}
"""Dtype and width of each column."""


def conntrack_from_rows(rows: list[ConntrackEntry]) -> Conntrack:
    """Columns from readable rows: for examples and tests. Raises ValueError on a bad address."""
    states = {name: number for number, name in enumerate(TCP_STATES)}
    columns: dict[str, Any] = {}
    for name, (dtype, width) in SHAPES.items():
        if width:
            raw = b"".join(ipaddress.ip_address(getattr(row, name)).packed.ljust(16, b"\0") for row in rows)
            columns[name] = np.frombuffer(raw, np.uint8).reshape(len(rows), 16)
        elif name == "family":
            columns[name] = np.array([2 if row.family == "inet" else 10 for row in rows], np.uint8)
        elif name == "tcp_state":
            columns[name] = np.array([states.get(row.tcp_state or "", NO_STATE) for row in rows], np.uint8)
        elif name == "helper":
            columns[name] = np.zeros(len(rows), np.uint8)
        else:
            columns[name] = np.array([getattr(row, name) for row in rows], dtype)
    return Conntrack(**columns)


class ConntrackState(msgspec.Struct, frozen=True, kw_only=True):
    """How full the table is, and what it did, in one or two samples."""

    count: int = 0
    """Entries of this namespace."""
    max: int = 0
    """Entries that the namespace may have; set in the initial namespace for all."""
    buckets: int = 0
    """Buckets of the hash table, which all namespaces share."""
    expectations: int = 0
    """Connections that helpers wait for."""
    settings: dict[str, int] = {}
    """net.netfilter.nf_conntrack_* by their last part: ``tcp_be_liberal``, ``udp_timeout`` ..."""
    at: float = 0.0
    """CLOCK_BOOTTIME of the first sample, in seconds."""
    second_at: float | None = None
    """The same of the second; null: one sample only."""
    first: dict[str, int] = {}
    """Counters since the namespace was made, summed over the CPUs: ``insert_failed``, ``drop``, ``early_drop``,
    ``invalid``, ``clashres`` ..."""
    second: dict[str, int] = {}
    """The same, later."""

    def chains_too_long(self) -> int:
        """New connections that were dropped between the samples because their chain was too long (chaintoolong of
        conntrack -S). The kernel counts them among insert_failed as well, and heads the column "chainlength"."""
        return self.moved("chainlength") or self.moved("chaintoolong") or 0

    def moved(self, counter: str) -> int | None:
        """How far a counter moved between the samples; None where it is missing, went back, or there is one sample."""
        before, after = self.first.get(counter), self.second.get(counter)
        return None if before is None or after is None or after < before else after - before
