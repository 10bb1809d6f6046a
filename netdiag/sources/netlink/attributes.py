"""Walk netlink attributes (struct nlattr, include/uapi/linux/netlink.h) in small messages, and read their payloads.

An attribute is a length and a type of 16 bits each in host order, then the payload, padded to four bytes. The two upper
bits of the type are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER) and are masked off. A walk over damaged bytes ends at the
first length that cannot be true and raises nothing. The readers of payloads raise DecodeError when a payload is shorter
than its format.
"""

import socket
from collections.abc import Iterator
from struct import Struct

from netdiag.sources.netlink import constants as nl

Buffer = bytes | bytearray | memoryview

_HEADER = Struct("=HH")
_U8, _U16, _U32, _U64, _S32 = Struct("=B"), Struct("=H"), Struct("=I"), Struct("=Q"), Struct("=i")
_BE16, _BE32 = Struct("!H"), Struct("!I")


class DecodeError(ValueError):
    """A payload does not have the size that its format needs."""


def walk(buffer: Buffer, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int]]:
    """Yield (type, start, end) of every payload between ``start`` and ``end``."""
    unpack = _HEADER.unpack_from
    limit = len(buffer) if end is None else end
    while start + 4 <= limit:
        length, kind = unpack(buffer, start)
        stop = start + length
        if length < 4 or stop > limit:
            return
        yield kind & nl.NLA_TYPE_MASK, start + 4, stop
        start = (stop + 3) & ~3


def _read(form: Struct, payload: Buffer) -> int:
    if len(payload) < form.size:
        raise DecodeError(f"{len(payload)} bytes where {form.size} were expected")
    value: int = form.unpack_from(payload)[0]
    return value


def u8(payload: Buffer) -> int:
    """Unsigned, 8 bits."""
    return _read(_U8, payload)


def u16(payload: Buffer) -> int:
    """Unsigned, 16 bits, host order."""
    return _read(_U16, payload)


def u32(payload: Buffer) -> int:
    """Unsigned, 32 bits, host order."""
    return _read(_U32, payload)


def u64(payload: Buffer) -> int:
    """Unsigned, 64 bits, host order; attributes are aligned to 4 bytes only."""
    return _read(_U64, payload)


def s32(payload: Buffer) -> int:
    """Signed, 32 bits, host order."""
    return _read(_S32, payload)


def be16(payload: Buffer) -> int:
    """Unsigned, 16 bits, network order."""
    return _read(_BE16, payload)


def be32(payload: Buffer) -> int:
    """Unsigned, 32 bits, network order."""
    return _read(_BE32, payload)


def address(payload: Buffer) -> str:
    """An IPv4 (4 bytes) or IPv6 (16 bytes) address as canonical text."""
    if len(payload) == 4:
        return socket.inet_ntop(socket.AF_INET, payload)
    if len(payload) == 16:
        return socket.inet_ntop(socket.AF_INET6, payload)
    raise DecodeError(f"an address of {len(payload)} bytes")


def lladdr(payload: Buffer) -> str | None:
    """A hardware address as ``ip`` prints it: hex with colons; None where it has no bytes."""
    return bytes(payload).hex(":") or None
