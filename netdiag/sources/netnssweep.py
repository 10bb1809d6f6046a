"""The same few dumps in one network namespace after the other, as fast as the kernel hands them out.

For each namespace: open its file, enter, one socket, the dumps, close. Every namespace is asked with one sequence
number, and a first socket gets the process's own id for its port (net/netlink/af_netlink.c, netlink_autobind()), so
the replies of all namespaces look like one long dump and are decoded together. No file or socket is kept: either would
keep a dead namespace alive. A namespace that vanishes meanwhile is an error of its own and ends nothing.
"""

import errno
import os
import socket
import time
from collections.abc import Iterable

import msgspec

from netdiag.sources.namespaces import READ, enter
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.messages import HEADER, HEADER_SIZE, DumpRequest, pack_message

SEQUENCE = 0x6E657473
BUFFER_SIZE = 64 << 10
DONE_SIZE = HEADER_SIZE + 4
DUMPS: dict[str, DumpRequest] = {
    "links": requests.links(),
    "addresses": requests.addresses(),
    "routes": requests.routes("inet"),
    "routes6": requests.routes("inet6"),
    "rules": requests.rules("inet"),
    "rules6": requests.rules("inet6"),
    "neighbours": requests.neighbours(),
    "proxies": requests.neighbours(proxy=True),
    "nexthops": requests.nexthops(),
}
"""What is asked, in this order."""


class Swept(msgspec.Struct, frozen=True):
    """What came of one namespace."""

    inode: int
    octets: tuple[int, ...] = ()
    """Bytes of each dump, in the order of the request; empty where the namespace could not be entered."""
    broken: tuple[str, ...] = ()
    """Dumps that changed while they were read, or failed."""
    error: str = ""
    """Why it could not be read at all."""
    errno: int = 0


class Head(msgspec.Struct, frozen=True):
    """What stands before the bytes: which dumps, and each namespace."""

    dumps: tuple[str, ...]
    namespaces: tuple[Swept, ...]


def sweep(lines: Iterable[str], dumps: tuple[str, ...], deadline: float | None) -> bytes:
    """Read namespaces, each named by ``INODE PATH``; the present one is entered again afterwards.

    The reply: length of the head (8 bytes, little endian), the head as JSON, then all bytes of the first dump, of the
    second, and so on. Raises OSError where the present namespace cannot be opened.
    """
    asked = [
        pack_message(DUMPS[name].type, nl.NLM_F_REQUEST | nl.NLM_F_DUMP, SEQUENCE, DUMPS[name].body) for name in dumps
    ]
    parts: list[list[bytes]] = [[] for _ in dumps]
    rows: list[Swept] = []
    buffer = bytearray(BUFFER_SIZE)
    home = os.open("/proc/thread-self/ns/net", READ)
    try:
        for line in lines:
            number, _, path = line.partition(" ")
            if deadline is not None and time.monotonic() > deadline:
                rows.append(Swept(int(number), error="no time for it", errno=errno.ETIMEDOUT))
                continue
            try:
                rows.append(_one(int(number), path, dumps, asked, parts, buffer))
            except OSError as error:
                rows.append(Swept(int(number), error=error.strerror or str(error), errno=error.errno or 0))
    finally:
        enter(home)
        os.close(home)
    head = msgspec.json.encode(Head(dumps, tuple(rows)))
    return b"".join([len(head).to_bytes(8, "little"), head, *(piece for pieces in parts for piece in pieces)])


def _one(  # noqa: PLR0917 - the inner loop: everything is prepared once outside
    inode: int, path: str, dumps: tuple[str, ...], asked: list[bytes], parts: list[list[bytes]], buffer: bytearray
) -> Swept:
    fd = os.open(path, READ)
    try:
        if os.fstat(fd).st_ino != inode:
            raise OSError(errno.ENOENT, "it is gone")
        enter(fd)
    finally:
        os.close(fd)
    raw = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, nl.NETLINK_ROUTE)
    sizes: list[int] = []
    broken: list[str] = []
    taken: list[list[bytes]] = []
    try:
        raw.setsockopt(nl.SOL_NETLINK, nl.NETLINK_GET_STRICT_CHK, 1)
        for name, request in zip(dumps, asked, strict=True):
            pieces: list[bytes] = []
            if not _dump(raw, request, buffer, pieces):
                broken.append(name)
            taken.append(pieces)
            sizes.append(sum(map(len, pieces)))
    finally:
        raw.close()
    for pieces, whole in zip(taken, parts, strict=True):
        whole.extend(pieces)
    return Swept(inode, tuple(sizes), tuple(broken))


def _dump(raw: socket.socket, request: bytes, buffer: bytearray, pieces: list[bytes]) -> bool:
    """One dump; False where it changed meanwhile or ended with an error. Raises OSError."""
    raw.send(request)
    while True:
        size = raw.recv_into(buffer)
        length, kind, flags, seq, _ = HEADER.unpack_from(buffer, max(0, size - DONE_SIZE))
        if kind == nl.NLMSG_DONE and seq == SEQUENCE and length == DONE_SIZE:
            if size > DONE_SIZE:
                pieces.append(bytes(memoryview(buffer)[: size - DONE_SIZE]))
            code = int.from_bytes(buffer[size - 4 : size], "little", signed=True)
            return code >= 0 and not flags & nl.NLM_F_DUMP_INTR
        _, first, _, _, _ = HEADER.unpack_from(buffer, 0)
        if first in (nl.NLMSG_ERROR, nl.NLMSG_DONE):
            return False  # an error, or a DONE that says more than a code: both are failures of a dump
        pieces.append(bytes(memoryview(buffer)[:size]))
