"""Which processes hold tun and tap devices, by /proc/PID/fdinfo; ``fetch`` is the only door.

The key is ``holders``, then the devices of the namespace in question, one a line: only these names are looked for on
command lines, and nothing else of a command line leaves this file (it may hold secrets). The answer is JSON: rows of
netdiag.model.tap and, in ``trouble``, why there may be more.

A device may live in another namespace than its holder. Since Linux 5.2 the open file itself tells (TUNGETDEVNETNS in
drivers/net/tun.c); it is borrowed for the question (pidfd_getfd(2), Linux 5.6) and given back at once.
"""

import ctypes
import fcntl
import os
import re
import time
from contextlib import suppress

import msgspec

from netdiag.model.tap import TapHolder, TapWish
from netdiag.model.text import kernel_text
from netdiag.sources.procwalk import Process, Walk

PATIENCE = 1.0
"""Seconds for the walk through all processes."""
FILES_LIMIT = 4096
"""Open files of one process that are looked at; a VMM has some dozens."""
COMMAND_LIMIT = 64 << 10
TUNGETDEVNETNS = 0x54E3
PIDFD_GETFD = 438
SEPARATORS = re.compile(rb"[\0\s,;=:/'\"(){}\[\]]+")


class Reply(msgspec.Struct, frozen=True):
    """What ``fetch`` sends."""

    holders: tuple[TapHolder, ...]
    wishes: tuple[TapWish, ...]
    trouble: str = ""


def fetch(key: str, deadline: float | None) -> bytes:
    """The reply to one key. ``deadline``: seconds of time.monotonic(). Raises OSError, ValueError for no such key."""
    word, _, names = key.partition("\n")
    if word != "holders":
        raise ValueError(f"no such key: {word}")
    until = time.monotonic() + PATIENCE
    walk = Walk(until if deadline is None else min(deadline, until))
    wanted = {os.fsencode(name): name for name in names.split("\n") if name}
    holders: list[TapHolder] = []
    wishes: list[TapWish] = []
    for process in walk:
        try:
            held = _held(process)
        except PermissionError:
            held = {}
            walk.denied += 1
        except OSError:
            continue
        comm = process.comm()
        exe = process.exe()
        vmm = process.vmm(comm, exe)
        netns = process.netns()
        state = process.state() if held else None
        for (ifname, device_netns), queues in sorted(
            held.items(), key=lambda item: (item[0][0] or "", item[0][1] or 0)
        ):
            holders.append(
                TapHolder(
                    pid=process.pid,
                    comm=comm,
                    exe=exe,
                    vmm=vmm,
                    state=state,
                    ifname=ifname,
                    netns=netns,
                    device_netns=device_netns,
                    queues=queues,
                )
            )
        if held or vmm:
            wishes += [
                TapWish(pid=process.pid, comm=comm, vmm=vmm, ifname=name, netns=netns)
                for name in _named(process, wanted)
            ]
    return msgspec.json.encode(Reply(tuple(holders), tuple(wishes), walk.unseen))


def _held(process: Process) -> dict[tuple[str | None, int | None], int]:
    """Devices behind the process's open files, each with the number of files. Raises OSError."""
    found: dict[tuple[str | None, int | None], int] = {}
    for fd in process.names("fd")[:FILES_LIMIT]:
        target = process.link(f"fd/{fd}")
        if target is None or not target.startswith("/") or "tun" not in target:
            continue
        with suppress(OSError):
            text = process.content(f"fdinfo/{fd}", 1024)
            _, marked, rest = text.partition(b"\niff:")
            if not marked:
                continue  # no file of the tun driver
            ifname = kernel_text(rest.partition(b"\n")[0].strip(b"\t")) or None
            device = _device_netns(process.pid, int(fd)) if ifname else None
            found[ifname, device] = found.get((ifname, device), 0) + 1
    return found


def _device_netns(pid: int, fd: int) -> int | None:
    """Inode of the namespace of the device behind somebody's open file."""
    libc = ctypes.CDLL(None, use_errno=True)
    borrowed: list[int] = []
    try:
        borrowed.append(os.pidfd_open(pid))
        copy = libc.syscall(PIDFD_GETFD, borrowed[0], fd, 0)
        if copy < 0:
            return None
        borrowed.append(copy)
        borrowed.append(fcntl.ioctl(copy, TUNGETDEVNETNS))
        return os.fstat(borrowed[2]).st_ino
    except (OSError, AttributeError):
        return None
    finally:
        for each in borrowed:
            os.close(each)


def _named(process: Process, wanted: dict[bytes, str]) -> list[str]:
    """Which of the devices the command line names, as a word or as a part between separators."""
    try:
        words = set(SEPARATORS.split(process.content("cmdline", COMMAND_LIMIT)))
    except OSError:
        return []
    return sorted(name for raw, name in wanted.items() if raw in words)
