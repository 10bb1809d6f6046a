"""The running host: netlink sockets, /proc and /sys, clocks. Reads only.

Errors become ``Unreadable``: ENOENT and its kin are ``absent``, EPERM and EACCES ``denied``, a passed deadline
``timeout``, everything else ``failed`` with the kernel's own words.
"""

import errno
import importlib
import io
import os
import time
from collections.abc import Sequence

from netdiag.sources import namespaces
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink import transport, xfrm
from netdiag.sources.netlink.messages import DumpRequest, DumpResult, Reply, Sink
from netdiag.sources.netlink.wireguard import BlankingSink
from netdiag.sources.protocol import Clock, Kind, Unreadable, Why

FILE_LIMIT = 8 << 20
"""Bytes; /proc/net files of a big host stay far below."""
READ_SIZE = 1 << 16
"""Bytes asked for by one read."""

ABSENT = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENODEV,
    errno.ENXIO,
    errno.EAFNOSUPPORT,
    errno.EPROTONOSUPPORT,
    errno.EOPNOTSUPP,
    errno.ECONNREFUSED,
}
DENIED = {errno.EPERM, errno.EACCES}
CLOCKS = {"realtime": time.CLOCK_REALTIME, "boottime": time.CLOCK_BOOTTIME, "monotonic": time.CLOCK_MONOTONIC}


def why_unreadable(error: OSError) -> Why:
    """Which kind of "not read" an error number is."""
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return "timeout"
    if error.errno in DENIED:
        return "denied"
    return "absent" if error.errno in ABSENT else "failed"


def _contents(file: io.FileIO) -> bytes:
    """Up to one byte more than the limit, in small pieces: a file of /proc/sys answers ENOMEM to a read of 4 MiB or
    more, however short it is (fs/proc/proc_sysctl.c, proc_sys_call_handler)."""
    pieces: list[bytes] = []
    left = FILE_LIMIT + 1
    while left > 0 and (piece := file.read(min(left, READ_SIZE))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


class LiveSource:
    """This host, in the network and mount namespace of the process. ``deadline`` is in seconds of CLOCK_MONOTONIC."""

    writes_files = False

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline

    def dump(self, request: DumpRequest, sink: Sink) -> DumpResult:
        # Keys of WireGuard and IPsec are overwritten in the receive buffer, before a collector or a recording sees it.
        guarded: Sink = sink
        if request.protocol == nl.NETLINK_GENERIC:
            guarded = BlankingSink(sink)
        elif request.protocol == nl.NETLINK_XFRM:
            guarded = xfrm.BlankingSink(sink)
        try:
            return transport.dump(request, guarded, deadline=self.deadline)
        except OSError as error:
            raise Unreadable(why_unreadable(error), f"{request.name}: {error.strerror or error}") from error

    def ask(self, name: str, protocol: int, type: int, bodies: Sequence[bytes]) -> list[Reply]:
        try:
            return transport.batch(protocol, type, bodies, deadline=self.deadline)
        except OSError as error:
            raise Unreadable(why_unreadable(error), f"{name}: {error.strerror or error}") from error

    def read(self, path: str) -> bytes:
        try:
            with open(path, "rb", buffering=0) as file:
                content = _contents(file)
        except OSError as error:
            raise Unreadable(why_unreadable(error), f"{path}: {os.strerror(error.errno or 0)}") from error
        if len(content) > FILE_LIMIT:
            raise Unreadable("failed", f"{path}: larger than {FILE_LIMIT >> 20} MiB")
        return content

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        contents: dict[str, bytes] = {}
        for path in paths:
            try:
                contents[path] = self.read(path)
            except Unreadable:
                continue  # the caller sees that it is not there; which of them must exist is the caller's knowledge
        return contents

    def listdir(self, path: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(os.listdir(path)))
        except OSError as error:
            raise Unreadable(why_unreadable(error), f"{path}: {os.strerror(error.errno or 0)}") from error

    def readlink(self, path: str) -> str:
        try:
            return os.readlink(path)
        except OSError as error:
            raise Unreadable(why_unreadable(error), f"{path}: {os.strerror(error.errno or 0)}") from error

    def fetch(self, kind: Kind, key: str) -> bytes:
        try:
            content: bytes = importlib.import_module(f"netdiag.sources.{kind}").fetch(key, self.deadline)
        except OSError as error:
            about = key.partition("\n")[0]  # the further lines of a key say what was asked
            raise Unreadable(why_unreadable(error), f"{kind} {about}: {error.strerror or error}") from error
        return content

    def inside(self, inode: int, path: str) -> "LiveSource":
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if os.fstat(fd).st_ino != inode:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                namespaces.enter(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise Unreadable(why_unreadable(error), f"{path}: {os.strerror(error.errno or 0)}") from error
        return self

    def clock(self, which: Clock) -> float:
        return time.clock_gettime(CLOCKS[which])

    def uname(self) -> tuple[str, str]:
        uname = os.uname()
        return uname.nodename, uname.release

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def scoped(self, collector: str) -> "LiveSource":
        return self
