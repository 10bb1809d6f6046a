"""Run a loaded program on a packet of ours: BPF_PROG_TEST_RUN of bpf(2) (net/bpf/test_run.c). Nothing is sent.

It is the one thing here that is more than reading: the program really runs, and what it writes into its maps stays.
Therefore nobody calls it who was not asked to. Needs CAP_SYS_ADMIN. Raises Unreadable.
"""

import ctypes
import errno
import os
from struct import pack, pack_into, unpack_from
from typing import NamedTuple

from netdiag.sources.bpf.calls import RawCalls
from netdiag.sources.protocol import Unreadable

SIZE = 80
ROOM = 512
"""Bytes by which a program may make the packet longer."""
SKB, XDP = 192, 24
"""sizeof(struct __sk_buff), at most, and of struct xdp_md."""


class Ran(NamedTuple):
    """What the program returned, and the frame as it left it."""

    returned: int
    """TC_ACT_* or XDP_*, signed."""
    frame: bytes
    mark: int | None
    """Of tc programs: the mark behind it."""


def run(prog_id: int, frame: bytes, ifindex: int, *, xdp: bool, mark: int = 0) -> Ran:
    """One run on an Ethernet frame, as if at this interface of the calling process's namespace."""
    try:
        fd = RawCalls().fd_by_id("prog", prog_id)
    except OSError as error:
        raise _unreadable(error) from error
    try:
        if not xdp:
            return _run(fd, frame, _skb(ifindex, mark))
        try:
            return _run(fd, frame, pack("=6I", 0, len(frame), 0, ifindex, 0, 0))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENODEV):
                raise
        return _run(fd, frame, b"")  # an interface without a queue that XDP knows, such as one with generic XDP
    except OSError as error:
        raise _unreadable(error) from error
    finally:
        os.close(fd)


def _skb(ifindex: int, mark: int) -> bytes:
    context = bytearray(SKB)
    pack_into("=I", context, 8, mark)
    pack_into("=II", context, 36, ifindex, ifindex)
    return bytes(context)


def _run(fd: int, frame: bytes, context: bytes) -> Ran:
    given = ctypes.create_string_buffer(frame, len(frame))
    after = ctypes.create_string_buffer(len(frame) + ROOM)
    told = ctypes.create_string_buffer(context, max(1, len(context)))
    back = ctypes.create_string_buffer(max(1, len(context)))
    attr = ctypes.create_string_buffer(SIZE)
    pack_into("=IIIIQQ", attr, 0, fd, 0, len(frame), len(after), ctypes.addressof(given), ctypes.addressof(after))
    size = len(context)
    where = (ctypes.addressof(told), ctypes.addressof(back)) if size else (0, 0)
    pack_into("=IIIIQQ", attr, 32, 1, 0, size, size, *where)
    RawCalls().test_run(attr)
    returned, _, length = unpack_from("=iII", attr, 4)
    mark = unpack_from("=I", back, 8)[0] if size == SKB else None
    return Ran(returned, after.raw[:length], mark)


def _unreadable(error: OSError) -> Unreadable:
    denied = error.errno in (errno.EPERM, errno.EACCES)
    return Unreadable("denied" if denied else "failed", f"BPF_PROG_TEST_RUN: {error.strerror}")
