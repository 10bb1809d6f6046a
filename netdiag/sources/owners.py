"""Which processes hold which sockets open: the links /proc/PID/fd/N that say ``socket:[INODE]``.

One answer for the whole host, as text: a line ``INODE PID STATE COMM`` a socket, then ``end complete`` or ``end
partial``. STATE is the letter of proc(5), or ``F`` where the process is frozen with its cgroup (a paused container):
the kernel calls that asleep. Partial: a process could not be looked into (another user's, without CAP_SYS_PTRACE), or
the time was up. Raises OSError where there is no /proc.
"""

import os
import time

PATIENCE = 1.5
"""Seconds for the whole walk: a host with 100,000 open files takes about a third."""
LINES = 200_000


def fetch(key: str, deadline: float | None) -> bytes:
    """Every socket that a process holds; ``key`` is ``sockets``. ``deadline``: seconds of time.monotonic()."""
    if key != "sockets":
        raise OSError(2, f"no such question: {key}")
    end = time.monotonic() + PATIENCE
    end = end if deadline is None else min(end, deadline)
    lines: list[bytes] = []
    complete = True
    cgroups: dict[str, bool] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        if time.monotonic() >= end or len(lines) >= LINES:
            complete = False
            break
        try:
            inodes = _inodes(f"/proc/{name}/fd", end)
            if not inodes:
                continue
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                head, _, rest = file.read(4096).rpartition(b")")
            comm = head.partition(b"(")[2].replace(b"\n", b"\\n")
            state = rest.split()[0]
            if state == b"S" and _frozen(name, cgroups):
                state = b"F"
        except PermissionError:
            complete = False
            continue
        except OSError:
            continue  # it ended meanwhile
        lines += [b"%d %s %s %s" % (inode, name.encode(), state, comm) for inode in sorted(inodes)]
    return b"\n".join([*lines, b"end complete" if complete else b"end partial", b""])


def _frozen(pid: str, known: dict[str, bool]) -> bool:
    """Whether the process's cgroup is frozen (cgroup v2, cgroup.events); ``known``: what was asked before, by path."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            path = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), None)
        if path is None:
            return False
        if path not in known:
            known[path] = False
            with open(f"/sys/fs/cgroup{path}/cgroup.events", "rb") as events:
                known[path] = b"frozen 1" in events.read().split(b"\n")
    except OSError:
        return False
    return known[path]


def _inodes(folder: str, end: float) -> set[int]:
    found: set[int] = set()
    for number, name in enumerate(os.listdir(folder)):
        if number % 1024 == 1023 and time.monotonic() >= end:
            break
        try:
            target = os.readlink(f"{folder}/{name}")
        except PermissionError:
            raise
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return found
