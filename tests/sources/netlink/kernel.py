"""A kernel made of paper: crafted messages, and a socket that plays a script instead of asking a real kernel.

Layouts from include/uapi/linux/netlink.h. The script of a dump is a list of datagrams; each is a list of (type, flags,
payload) that gets the sequence number and port of the request, or an exception that recvmsg raises.
"""

from __future__ import annotations

import errno
import os
import socket
from struct import pack, unpack_from

from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.requests import attribute

PORT = 4711
Part = tuple[int, int, bytes]


class Raw:
    """A datagram as it is: bytes, flags of recvmsg, and who sent it."""

    def __init__(self, octets: bytes, flags: int = 0, sender: int = 0) -> None:
        self.octets, self.flags, self.sender = octets, flags, sender


def message(kind: int, flags: int, payload: bytes, seq: int = 1, pid: int = PORT) -> bytes:
    """One message, padded."""
    length = 16 + len(payload)
    return pack("=IHHII", length, kind, flags, seq, pid) + payload + bytes(-length % 4)


def done(code: int = 0, text: str = "", flags: int = nl.NLM_F_MULTI) -> Part:
    """NLMSG_DONE with the errno and the sentence of a failed dump."""
    tlvs = attribute(nl.NLMSGERR_ATTR_MSG, text.encode() + b"\0") if text else b""
    return nl.NLMSG_DONE, flags | (nl.NLM_F_ACK_TLVS if text else 0), pack("=i", -code) + tlvs


def error(code: int, text: str = "", *, echo: bytes | None = None) -> Part:
    """NLMSG_ERROR; ``echo`` is the body of the refused request where the kernel sends it back (no NETLINK_CAP_ACK)."""
    flags = (nl.NLM_F_ACK_TLVS if text else 0) | (nl.NLM_F_CAPPED if echo is None else 0)
    request = pack("=IHHII", 16 + len(echo or bytes(12)), nl.RTM_GETROUTE, 1, 1, PORT) + (echo or b"")
    request += bytes(-len(request) % 4)
    tlvs = attribute(7, b"\x01\x02\x03\x04") + attribute(nl.NLMSGERR_ATTR_MSG, text.encode() + b"\0") if text else b""
    return nl.NLMSG_ERROR, flags, pack("=i", -code) + request + tlvs


class ScriptedSocket:
    """Plays its datagrams one after the other; a guard (no request was sent) reads from ``heard``."""

    def __init__(self, play: list[object], heard: list[object] | None = None) -> None:
        self.play = play
        self.heard = heard or []
        self.sent: list[bytes] = []
        self.options: list[tuple[int, int]] = []
        self.closed = False
        self.timeouts: list[float | None] = []

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        assert level == nl.SOL_NETLINK
        self.options.append((option, value))

    def bind(self, address: tuple[int, int], /) -> None:
        assert address == (0, 0)

    def getsockname(self) -> tuple[int, int]:
        return PORT, 0

    def settimeout(self, seconds: float | None, /) -> None:
        self.timeouts.append(seconds)

    def sendto(self, octets: bytes, address: tuple[int, int], /) -> int:
        assert address == (0, 0)
        self.sent.append(octets)
        return len(octets)

    @property
    def sequences(self) -> list[int]:
        """Sequence numbers of the requests in the last datagram sent."""
        found, position, octets = [], 0, self.sent[-1]
        while position < len(octets):
            length, _, _, seq = unpack_from("=IHHI", octets, position)
            found.append(seq)
            position += (length + 3) & ~3
        return found

    def recvmsg_into(
        self, buffers: list[bytearray], ancillary: int, flags: int, /
    ) -> tuple[int, list[tuple[int, int, bytes]], int, tuple[int, int]]:
        queue = self.heard if flags & socket.MSG_DONTWAIT else self.play
        if not queue:
            raise BlockingIOError if flags & socket.MSG_DONTWAIT else TimeoutError
        step = queue.pop(0)
        if isinstance(step, OSError):
            raise step
        if isinstance(step, Raw):
            raw = step
        else:
            assert isinstance(step, list)
            raw = Raw(b"".join(message(kind, bits, payload, self.sequences[0]) for kind, bits, payload in step))
        buffers[0][: len(raw.octets)] = raw.octets
        return len(raw.octets), [], raw.flags, (raw.sender, 0)

    def close(self) -> None:
        self.closed = True


class Kernel:
    """Hands out a scripted socket for each one that is opened."""

    def __init__(self, *sockets: ScriptedSocket) -> None:
        self.waiting = list(sockets)
        self.opened: list[ScriptedSocket] = []

    def __call__(self, protocol: int) -> ScriptedSocket:
        assert protocol == nl.NETLINK_ROUTE
        self.opened.append(self.waiting.pop(0))
        return self.opened[-1]


class Rows:
    """A sink that keeps the payloads of what it is fed."""

    def __init__(self) -> None:
        self.octets = bytearray()
        self.resets = 0

    def feed(self, buffer: memoryview) -> None:
        self.octets += buffer

    def reset(self) -> None:
        self.octets.clear()
        self.resets += 1

    @property
    def payloads(self) -> list[bytes]:
        found, position = [], 0
        while position < len(self.octets):
            length = unpack_from("=I", self.octets, position)[0]
            found.append(bytes(self.octets[position + 16 : position + length]))
            position += (length + 3) & ~3
        return found


class HeaderRows(Rows):
    """The same, but reading the flags of the messages itself."""

    def interrupted(self) -> bool:
        position = 0
        while position < len(self.octets):
            length, _, flags = unpack_from("=IHH", self.octets, position)
            if flags & nl.NLM_F_DUMP_INTR:
                return True
            position += (length + 3) & ~3
        return False


def refused(number: int) -> OSError:
    """The OSError that a system call raises for this errno."""
    return OSError(number, os.strerror(number))


NOBUFS = refused(errno.ENOBUFS)
