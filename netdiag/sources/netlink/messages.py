"""The shapes that travel between a caller and the netlink transport, and how a buffer of messages is cut up.

Layouts from include/uapi/linux/netlink.h: struct nlmsghdr (16 bytes: length, type, flags, sequence number, port id) and
struct nlmsgerr; extended acknowledgements from Documentation/userspace-api/netlink/intro.rst. Integers are in the byte
order of the host. Cutting a buffer never raises: what is no message ends the walk, and the walk says where it ended.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple, Protocol, runtime_checkable

from netdiag.model.text import kernel_text
from netdiag.sources.netlink import constants as nl

HEADER = Struct("=IHHII")
"""struct nlmsghdr: nlmsg_len, nlmsg_type, nlmsg_flags, nlmsg_seq, nlmsg_pid."""
HEADER_SIZE = HEADER.size
_ERROR = Struct("=i")
_ATTRIBUTE = Struct("=HH")

NFNL_SUBSYS_CTNETLINK, NFNL_SUBSYS_CTNETLINK_EXP, NFNL_SUBSYS_NFTABLES = 1, 2, 10
_NETFILTER_READS = {
    # linux/netfilter/nfnetlink_conntrack.h: GET, GET_STATS_CPU, GET_STATS, GET_DYING, GET_UNCONFIRMED.
    # Not GET_CTRZERO (3): it sets the counters to zero.
    NFNL_SUBSYS_CTNETLINK: {1, 4, 5, 6, 7},
    NFNL_SUBSYS_CTNETLINK_EXP: {1, 3},
    # linux/netfilter/nf_tables.h: GETTABLE, GETCHAIN, GETRULE, GETSET, GETSETELEM, GETGEN, GETOBJ, GETFLOWTABLE.
    # Not the ..._RESET ones.
    NFNL_SUBSYS_NFTABLES: {1, 4, 7, 10, 13, 16, 19, 23},
}
_SOCK_DIAG_BY_FAMILY = 20
_XFRM_READS = {0x12, 0x15}
"""XFRM_MSG_GETSA and XFRM_MSG_GETPOLICY (linux/xfrm.h)."""


class NetlinkError(OSError):
    """The kernel refused, or the conversation with it broke. ``errno`` as always; ``extack`` is the kernel's own
    sentence.

    ``strerror`` is the meaning of the number, with the kernel's sentence behind it where there is one. ``extack`` can
    quote names that somebody else chose: treat it as hostile text.
    """

    def __init__(self, number: int, extack: str = "") -> None:
        text = os.strerror(number)
        super().__init__(number, f"{text}: {extack}" if extack else text)
        self.extack = extack

    def __reduce__(self) -> tuple[type["NetlinkError"], tuple[int, str]]:
        return type(self), (self.errno or 0, self.extack)


class NetlinkTimeout(NetlinkError, TimeoutError):
    """The deadline passed before the kernel had said everything. Rows that were fed before stay with the sink."""


@dataclass(frozen=True)
class DumpRequest:
    """One question that the kernel answers with a dump (NLM_F_DUMP)."""

    name: str
    """As a person would call it: ``RTM_GETROUTE inet``."""
    protocol: int
    """NETLINK_ROUTE, NETLINK_GENERIC, ..."""
    type: int
    """nlmsg_type."""
    body: bytes
    """What follows the nlmsghdr: the family's own header, then attributes."""
    guard_groups: tuple[int, ...] = ()
    """Multicast groups held open during the dump: anything heard there means that the table changed while it was read.
    """

    @property
    def key(self) -> str:
        """Stable text that tells this request from every other: a recording files its reply under it. One line."""
        return f"{self.name} protocol={self.protocol} type={self.type} {self.body.hex()}"


@dataclass(frozen=True)
class DumpResult:
    """How a dump went; the rows are in the sink."""

    consistent: bool
    """False: the table changed during every attempt; rows may be missing, doubled or older than others."""
    attempts: int = 1
    """How often the dump was started."""
    octets: int = 0
    """Bytes of the last attempt."""
    detail: str = ""
    """Why it is not consistent; else empty."""
    messages: int | None = None
    """Messages of the last attempt without NLMSG_DONE; None where the sink read the headers itself."""


@dataclass(frozen=True)
class Reply:
    """The answer to one request of a batch: whole messages, or an error number with the kernel's sentence."""

    octets: bytes
    """Netlink messages with their headers; empty on error."""
    errno: int = 0
    text: str = ""
    """Extended acknowledgement: the kernel's reason (may stand beside errno 0 as a warning)."""


class Sink(Protocol):
    """Where a dump goes."""

    def feed(self, buffer: memoryview) -> None:
        """One or more whole messages with their headers, without NLMSG_DONE. Valid only during the call."""

    def reset(self) -> None:
        """The dump starts again: forget everything that was fed."""


@runtime_checkable
class HeaderReadingSink(Sink, Protocol):
    """A sink that looks at the flags of every message itself, many at once, so that the transport need not."""

    def interrupted(self) -> bool:
        """True when NLM_F_DUMP_INTR stood on any message since the last reset."""


class Message(NamedTuple):
    """One message inside a buffer: its header, and where its payload starts and ends there."""

    type: int
    flags: int
    seq: int
    pid: int
    start: int
    end: int


def walk_messages(buffer: bytes | bytearray | memoryview, end: int | None = None) -> Iterator[Message]:
    """Cut ``buffer[:end]`` into messages. Stops without a word at the first header that cannot be true."""
    position, limit = 0, len(buffer) if end is None else end
    unpack = HEADER.unpack_from
    while position + HEADER_SIZE <= limit:
        length, kind, flags, seq, pid = unpack(buffer, position)
        if length < HEADER_SIZE or position + length > limit:
            return
        yield Message(kind, flags, seq, pid, position + HEADER_SIZE, position + length)
        position += (length + 3) & ~3


def pack_message(kind: int, flags: int, seq: int, body: bytes) -> bytes:
    """One message as sent to the kernel, padded to four bytes."""
    length = HEADER_SIZE + len(body)
    return HEADER.pack(length, kind, flags, seq, 0) + body + bytes(-length % 4)


def error_of(buffer: bytes | bytearray | memoryview, message: Message) -> tuple[int, str]:
    """The positive errno and the kernel's sentence in an NLMSG_ERROR or an NLMSG_DONE; (0, "") where there is none."""
    start = message.start
    if message.end - start < _ERROR.size:
        return 0, ""
    (code,) = _ERROR.unpack_from(buffer, start)
    if not message.flags & nl.NLM_F_ACK_TLVS:
        return max(-code, 0), ""
    position = start + _ERROR.size
    if (
        message.type == nl.NLMSG_ERROR
    ):  # the request's header stands between, and all of the request unless it was capped
        if message.end - position < HEADER_SIZE:
            return max(-code, 0), ""
        length = HEADER.unpack_from(buffer, position)[0]
        position += HEADER_SIZE if message.flags & nl.NLM_F_CAPPED else max((length + 3) & ~3, HEADER_SIZE)
    while position + 4 <= message.end:
        length, kind = _ATTRIBUTE.unpack_from(buffer, position)
        if length < 4 or position + length > message.end:
            break
        if kind & nl.NLA_TYPE_MASK == nl.NLMSGERR_ATTR_MSG:
            return max(-code, 0), kernel_text(buffer[position + 4 : position + length])
        position += (length + 3) & ~3
    return max(-code, 0), ""


def refuse_writes(protocol: int, kind: int, *, dump: bool) -> None:
    """Raise ValueError unless this message type can only read.

    rtnetlink numbers its types in blocks of four, NEW DEL GET SET (rtnetlink_rcv_msg() in net/core/rtnetlink.c). A
    generic netlink *dump* reaches only the family's dumpit (net/netlink/genetlink.c); without the dump flag any
    command could change something, so those are refused, and so is CTRL_CMD_GETFAMILY by name, which loads modules.
    """
    allowed = {
        nl.NETLINK_ROUTE: kind >= nl.NLMSG_MIN_TYPE and kind & 3 == 2,
        nl.NETLINK_GENERIC: kind >= nl.NLMSG_MIN_TYPE and dump,
        nl.NETLINK_XFRM: kind in _XFRM_READS and dump,
        nl.NETLINK_SOCK_DIAG: kind == _SOCK_DIAG_BY_FAMILY,
        nl.NETLINK_NETFILTER: kind & 0xFF in _NETFILTER_READS.get(kind >> 8, ()),
    }
    if not allowed.get(protocol, False):
        raise ValueError(f"netlink protocol {protocol} type {kind} is not known to be read-only")
