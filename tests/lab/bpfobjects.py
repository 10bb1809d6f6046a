"""Make eBPF objects by the bare system call: programs of two instructions, maps, links, attachments, pins.

For what neither iproute2 nor Debian's bpftool can make (tcx, netfilter links, five hundred of anything). Layouts from
union bpf_attr in include/uapi/linux/bpf.h. Everything lives by its pin in the lab host's own bpffs, so that it goes
with the host. To be called inside a host (``Host.call``); raises OSError.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from struct import pack

MAP_CREATE, MAP_UPDATE, PROG_LOAD, OBJ_PIN, OBJ_GET, PROG_ATTACH, RAW_TRACEPOINT_OPEN, MAP_FREEZE, LINK_CREATE = (
    0, 2, 5, 6, 7, 8, 17, 22, 28,
)  # fmt: skip
HASH, ARRAY, PROG_ARRAY, LRU_HASH, DEVMAP, SOCKMAP, CPUMAP, DEVMAP_HASH = 1, 2, 3, 9, 14, 15, 16, 25
SCHED_CLS, XDP, CGROUP_SKB, CGROUP_SOCK, SK_SKB, SK_MSG, RAW_TRACEPOINT, CGROUP_SOCK_ADDR = 3, 6, 8, 9, 14, 16, 17, 18
FLOW_DISSECTOR, SK_LOOKUP, NETFILTER = 22, 30, 32
ALLOW_OVERRIDE, ALLOW_MULTI, NO_LINK = 1, 2, 0
BPFFS = "/sys/fs/bpf"
_NUMBER = {"x86_64": 321, "aarch64": 280}[platform.machine()]
_LIBC = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attr: bytes) -> int:
    """bpf(2); the result, mostly a file descriptor."""
    buffer = ctypes.create_string_buffer(attr.ljust(144, b"\0"), 144)
    result: int = _LIBC.syscall(ctypes.c_long(_NUMBER), ctypes.c_int(command), buffer, ctypes.c_uint(144))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} (bpf command {command})")
    return result


def program(
    kind: int, name: bytes, *, verdict: int = 0, expected: int = 0, maps: Sequence[int] = (), first: bytes = b""
) -> int:
    """A program that returns ``verdict``; ``maps`` are descriptors of maps that it mentions, ``first`` what it does."""
    text = first + b"".join(pack("=BBhiQ", 0x18, 0x11, 0, fd, 0) for fd in maps)  # r1 = map
    text += pack("=BBhi", 0xB7, 0, 0, verdict) + pack("=BBhi", 0x95, 0, 0, 0)  # r0 = verdict; exit
    code = ctypes.create_string_buffer(text, len(text))
    licence = ctypes.create_string_buffer(b"GPL")
    head = pack("=IIQQIIQII", kind, len(text) // 8, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0)
    return bpf(PROG_LOAD, head + pack("=16sII", name, 0, expected))


def says(word: bytes) -> bytes:
    """Instructions that print up to three letters into the kernel's trace buffer (bpf_trace_printk)."""
    store = pack("=BBhi", 0x62, 10, -4, int.from_bytes(word, "little"))  # *(u32 *)(r10 - 4) = word
    point = pack("=BBhi", 0xBF, 0xA1, 0, 0) + pack("=BBhi", 0x07, 1, 0, -4)  # r1 = r10 - 4
    return store + point + pack("=BBhi", 0xB7, 2, 0, len(word) + 1) + pack("=BBhi", 0x85, 0, 0, 6)


def tail_call(fd: int) -> bytes:
    """Instructions that go on in the program of slot 0 of a prog_array, if there is one."""
    words = pack("=BBhiQ", 0x18, 0x12, 0, fd, 0)  # r2 = map; r1 is the context still
    return words + pack("=BBhi", 0xB7, 3, 0, 0) + pack("=BBhi", 0x85, 0, 0, 12)  # r3 = 0; bpf_tail_call


def map_(kind: int, name: bytes, *, key: int = 4, value: int = 4, entries: int = 8, flags: int = 0) -> int:
    """A map."""
    return bpf(MAP_CREATE, pack("=IIIIIII16s", kind, key, value, entries, flags, 0, 0, name))


def update(fd: int, key: bytes, value: bytes) -> None:
    """Set an entry."""
    a, b = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
    bpf(MAP_UPDATE, pack("=IIQQQ", fd, 0, ctypes.addressof(a), ctypes.addressof(b), 0))


def freeze(fd: int) -> None:
    """No process may write to the map any more."""
    bpf(MAP_FREEZE, pack("=I", fd))


def pin(fd: int, name: str) -> str:
    """Give an object a name below the bpffs (no dots); the path. The descriptor is closed."""
    path = Path(BPFFS, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ctypes.create_string_buffer(os.fsencode(path))
    bpf(OBJ_PIN, pack("=QI", ctypes.addressof(text), fd))
    os.close(fd)
    return str(path)


def pinned(path: str) -> int:
    """A descriptor of what a path names."""
    text = ctypes.create_string_buffer(os.fsencode(path))
    return bpf(OBJ_GET, pack("=QII", ctypes.addressof(text), 0, 0))


def link(fd: int, target: int, attach_type: int, *, netfilter: tuple[int, int, int] | None = None) -> int:
    """A bpf_link of a program; ``target`` is a descriptor or an ifindex; ``netfilter`` is family, hook, priority."""
    family, hook, priority = netfilter or (0, 0, 0)
    return bpf(LINK_CREATE, pack("=IIIIIIiI", fd, target, attach_type, 0, family, hook, priority, 0))


def attach(fd: int, target: int, attach_type: int, flags: int = 0) -> None:
    """BPF_PROG_ATTACH: an attachment without a link."""
    bpf(PROG_ATTACH, pack("=IIII", target, fd, attach_type, flags))


def raw_tracepoint(fd: int, name: bytes) -> int:
    """A link to a tracepoint."""
    text = ctypes.create_string_buffer(name)
    return bpf(RAW_TRACEPOINT_OPEN, pack("=QI", ctypes.addressof(text), fd))
