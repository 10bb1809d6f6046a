"""What only the ethtool ioctl tells: the driver's name, the names of bits, the driver's own counters, a veth's of XDP.

SIOCETHTOOL (net/ethtool/ioctl.c) with ETHTOOL_GDRVINFO, ETHTOOL_GGRO, ETHTOOL_GSSET_INFO, ETHTOOL_GSTRINGS and
ETHTOOL_GSTATS: all only read. It works on any socket. Interfaces are named by index and looked up just before, because
the ioctl tries to load a module for a name that no interface bears. Answers are JSON.

Keys: ``drivers``, ``counters``, ``gro`` or ``xdp`` and then an ifindex a line; ``names SET IFINDEX`` for the strings of
a set that is the same for all devices. Raises OSError.
"""

import ctypes
import fcntl
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from struct import pack, unpack_from

import msgspec

from netdiag.model.text import kernel_text

SIOCETHTOOL, SIOCGIFNAME = 0x8946, 0x8910
GDRVINFO, GSTRINGS, GSTATS, GGRO, GSSET_INFO = 0x03, 0x1B, 0x1D, 0x2B, 0x37
SETS = {"features": 4, "linkmodes": 9}
STATS_SET = 1
STRING = 32
MARGIN = 1024
"""Strings of room beyond what the driver announced: it may have grown between two questions."""
MOST = 1 << 16
"""Counters of one device; a driver that announces more is not asked."""
PATIENCE = 3.0
"""Seconds for all devices; some drivers ask their firmware for every counter."""
SPEAKS_OF_ERRORS = re.compile(
    r"err|drop|discard|miss|crc|fcs|overrun|underrun|over_?flow|under_?flow|fifo|no_?buf|no_?desc|no_?dma|out_of_buf"
    r"|timeout|fail|bad|abort|collision|lost|reject|runt|jabber|undersize|oversize|fragment|symbol|align|stall|wedge"
    r"|nodesc|starv|alloc_fail|lack",
    re.IGNORECASE,
)
HARMLESS = re.compile(r"vlan_strip|no_errors?$|errors?_corrected", re.IGNORECASE)

OF_XDP = re.compile(r"(?:rx|tx)_queue_\d+_(xdp_xmit|xdp_redirect|drops)")


def _ask(talk: socket.socket, name: bytes, buffer: ctypes.Array[ctypes.c_char]) -> None:
    request = bytearray(pack("=16sQ16x", name, ctypes.addressof(buffer)))
    fcntl.ioctl(talk, SIOCETHTOOL, request)


def _name(talk: socket.socket, ifindex: int) -> bytes:
    request = bytearray(pack("=16xi20x", ifindex))
    fcntl.ioctl(talk, SIOCGIFNAME, request)
    return bytes(request[:16]).split(b"\0")[0]


def driver(talk: socket.socket, name: bytes) -> dict[str, str]:
    """struct ethtool_drvinfo."""
    buffer = ctypes.create_string_buffer(pack("=I", GDRVINFO), 196)
    _ask(talk, name, buffer)
    texts = {
        field: kernel_text(buffer.raw[at : at + 32])
        for field, at in (("driver", 4), ("firmware", 68), ("bus_info", 100))
    }
    return {field: text for field, text in texts.items() if text and text != "N/A"}


def gro(talk: socket.socket, name: bytes) -> dict[str, int]:
    """``gro``: 1 where it is on. struct ethtool_value."""
    buffer = ctypes.create_string_buffer(pack("=II", GGRO, 0), 8)
    _ask(talk, name, buffer)
    return {"gro": unpack_from("=I", buffer.raw, 4)[0]}


def strings(talk: socket.socket, name: bytes, number: int) -> list[str]:
    """The strings of a set."""
    buffer = ctypes.create_string_buffer(pack("=IIQI", GSSET_INFO, 0, 1 << number, 0), 24)
    _ask(talk, name, buffer)
    mask, count = unpack_from("=QI", buffer.raw, 8)
    if not mask or not 0 < count <= MOST:
        return []
    room = ctypes.create_string_buffer(pack("=III", GSTRINGS, number, count), 12 + (count + MARGIN) * STRING)
    _ask(talk, name, room)
    count = min(unpack_from("=I", room.raw, 8)[0], count + MARGIN)
    raw = room.raw
    return [kernel_text(raw[12 + n * STRING : 12 + (n + 1) * STRING]) for n in range(count)]


def _counted(talk: socket.socket, name: bytes) -> Iterator[tuple[str, int]]:
    """The driver's counters."""
    names = strings(talk, name, STATS_SET)
    if not names:
        return
    room = ctypes.create_string_buffer(pack("=II", GSTATS, len(names)), 8 + (len(names) + MARGIN) * 8)
    _ask(talk, name, room)
    raw = room.raw
    for position, padded in enumerate(names):
        yield padded.strip(), unpack_from("=Q", raw, 8 + position * 8)[0]


def counters(talk: socket.socket, name: bytes) -> dict[str, int]:
    """The driver's counters that speak of errors and are not zero."""
    return {
        text: value
        for text, value in _counted(talk, name)
        if value and SPEAKS_OF_ERRORS.search(text) and not HARMLESS.search(text)
    }


def xdp(talk: socket.socket, name: bytes) -> dict[str, int]:
    """``took``, frames that a veth took of other interfaces' XDP, ``sent``, packets of its own that XDP sent elsewhere
    or could not, and ``failed``, those that it could not: sums over its queues, as drivers/net/veth.c names them.
    Others tell none."""
    found: dict[str, int] = {}
    for text, value in _counted(talk, name):
        word = OF_XDP.fullmatch(text)
        if word:
            key = "took" if word[1] == "xdp_xmit" else "sent"
            found[key] = found.get(key, 0) + value
            if word[1] == "drops":
                found["failed"] = found.get("failed", 0) + value
    return found


def _each(talk: socket.socket, lines: list[str], until: float) -> Iterator[tuple[str, bytes]]:
    for line in lines:
        if time.monotonic() > until:
            return
        try:
            yield line, _name(talk, int(line))
        except OSError:
            continue  # it has gone


QUESTIONS: dict[str, Callable[[socket.socket, bytes], Mapping[str, str | int]]] = {
    "drivers": driver,
    "counters": counters,
    "gro": gro,
    "xdp": xdp,
}


def fetch(key: str, deadline: float | None) -> bytes:
    """The answer to a key as JSON: names as a list, the others as an object by ifindex. A device for which there was
    no time, or which has gone, is left out."""
    until = time.monotonic() + PATIENCE
    until = until if deadline is None else min(until, deadline)
    question, *lines = key.split("\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as talk:
        if question.startswith("names "):
            _, which, ifindex = question.split()
            return msgspec.json.encode(strings(talk, _name(talk, int(ifindex)), SETS[which]))
        answers: dict[str, Mapping[str, str | int]] = {}
        for line, name in _each(talk, lines, until):
            try:
                answers[line] = QUESTIONS[question](talk, name)
            except OSError:
                answers[line] = {}  # the driver has none to tell
    return msgspec.json.encode(answers)
