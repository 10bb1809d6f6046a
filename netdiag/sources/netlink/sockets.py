"""Netlink sockets: one to talk to the kernel with, and one to hear whether something changed meanwhile.

Facts from net/netlink/af_netlink.c and netlink(7). Opening a netlink protocol whose module is not loaded would load
that module (netlink_create()), so only protocols that the kernel already serves are opened. Raises NetlinkError for
what the kernel refuses and for truncated messages, NetlinkTimeout past the deadline.
"""

import errno
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.messages import HEADER_SIZE, NetlinkError, NetlinkTimeout

BUFFER_SIZE = 64 << 10
REPLY_TIMEOUT = 5.0
"""Seconds to wait for the next reply where the caller gave no deadline."""


class RawSocket(Protocol):
    """What of socket.socket is used here; tests put a scripted one in its place."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...
    def bind(self, address: tuple[int, int], /) -> None: ...
    def getsockname(self) -> tuple[int, int]: ...
    def settimeout(self, seconds: float | None, /) -> None: ...
    def sendto(self, octets: bytes, address: tuple[int, int], /) -> int: ...
    def recvmsg_into(
        self, buffers: list[bytearray], ancillary: int, flags: int, /
    ) -> tuple[int, list[tuple[int, int, bytes]], int, tuple[int, int]]: ...
    def close(self) -> None: ...


def open_raw(protocol: int) -> RawSocket:
    """A fresh AF_NETLINK socket in the network namespace of the calling thread; closed on exec."""
    if protocol not in (nl.NETLINK_ROUTE, nl.NETLINK_GENERIC) and not served(protocol):
        raise NetlinkError(errno.EPROTONOSUPPORT)
    try:
        raw: RawSocket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise NetlinkError(error.errno or errno.EIO) from error
    return raw


def served(protocol: int) -> bool:
    """Whether the kernel serves this netlink protocol now: its own socket (port 0) stands in /proc/net/netlink."""
    try:
        with open("/proc/thread-self/net/netlink", encoding="ascii", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return False
    return any(len(row) > 2 and row[1] == str(protocol) and row[2] == "0" for row in rows)


class Conversation:
    """One open socket with its buffer. Messages of other senders, and those too long for the buffer, never get out."""

    def __init__(self, protocol: int, deadline: float | None, opener: Callable[[int], RawSocket]) -> None:
        self.deadline = deadline
        self.buffer = bytearray(BUFFER_SIZE)
        self.view = memoryview(self.buffer)
        # Any start will do, as long as late messages of an earlier conversation do not look like ours.
        self.seq = time.monotonic_ns() & 0x7FFFFFFF
        self.raw = opener(protocol)
        try:
            for option in (nl.NETLINK_GET_STRICT_CHK, nl.NETLINK_EXT_ACK, nl.NETLINK_CAP_ACK):
                try:
                    self.raw.setsockopt(nl.SOL_NETLINK, option, 1)
                except OSError as error:
                    if error.errno != errno.ENOPROTOOPT:  # Linux 4.20, 4.12, 4.3: without them errors say less
                        raise
            self.raw.bind((0, 0))
            self.port = self.raw.getsockname()[0]
        except OSError as error:
            self.raw.close()
            raise NetlinkError(error.errno or errno.EIO) from error

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the socket back to the system."""
        self.raw.close()

    def next_seq(self) -> int:
        """A sequence number that this conversation has not used yet; never 0, the number of notifications."""
        self.seq = (self.seq + 1) & 0x7FFFFFFF or 1
        return self.seq

    def send(self, octets: bytes) -> None:
        """Hand messages to the kernel; it works through them before this returns."""
        try:
            self.raw.sendto(octets, (0, 0))
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO) from error

    def receive(self) -> int:
        """Wait for the next datagram of the kernel; its length in ``buffer``."""
        while True:
            wait = REPLY_TIMEOUT if self.deadline is None else self.deadline - time.monotonic()
            if wait <= 0:
                raise NetlinkTimeout(errno.ETIMEDOUT)
            try:
                self.raw.settimeout(wait)
                size, _, flags, sender = self.raw.recvmsg_into([self.buffer], 0, 0)
            except TimeoutError:
                raise NetlinkTimeout(errno.ETIMEDOUT) from None
            except OSError as error:
                raise NetlinkError(error.errno or errno.EIO) from error
            if sender[0] != 0:
                continue  # another process may send to us; only port 0 is the kernel
            if flags & socket.MSG_TRUNC:
                raise NetlinkError(errno.EMSGSIZE, f"a message was longer than {BUFFER_SIZE} bytes")
            return size


class Guard:
    """Listens to multicast groups, and can say whether anything was heard."""

    def __init__(self, protocol: int, groups: Sequence[int], opener: Callable[[int], RawSocket]) -> None:
        self.heard = False
        self.raw = opener(protocol) if groups else None
        self.scratch = bytearray(HEADER_SIZE)
        if self.raw is None:
            return
        try:
            self.raw.bind((0, 0))
            for group in groups:
                self.raw.setsockopt(nl.SOL_NETLINK, nl.NETLINK_ADD_MEMBERSHIP, group)
        except OSError as error:
            self.raw.close()
            raise NetlinkError(error.errno or errno.EIO) from error

    def changed(self) -> bool:
        """True when something was announced since the guard was set up, or so much that it overran."""
        if self.raw is None or self.heard:
            return self.heard
        try:
            self.raw.recvmsg_into([self.scratch], 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise NetlinkError(error.errno or errno.EIO) from error
        self.heard = True
        return True

    def close(self) -> None:
        """Give the socket back to the system."""
        if self.raw is not None:
            self.raw.close()
