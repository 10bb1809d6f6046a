"""Who keeps BPF objects alive: names in bpffs (pins) and processes with an open file descriptor (holders).

Pins need the right to search the bpffs (its root belongs to root, mode 0700) and to open the object; OBJ_GET gives a
descriptor, whose link in /proc tells what it is. Holders are told by /proc/PID/fdinfo (kernel/bpf/syscall.c,
bpf_{prog,map,link}_show_fdinfo()); other users' processes need CAP_SYS_PTRACE. Walks are bounded in depth, number and
time; what goes meanwhile is left out. Nothing is raised.
"""

import os
import time
from contextlib import suppress

from netdiag.model.bpf import BpfHolder, BpfPin, ObjectKind
from netdiag.model.text import kernel_text
from netdiag.sources.bpf.calls import Calls
from netdiag.sources.bpf.mounts import mounts
from netdiag.sources.bpf.objects import opened

PINS_LIMIT = 10_000
DEPTH_LIMIT = 16
PATIENCE = 0.5
"""Seconds for the walk through all processes."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
LINK_TARGETS: dict[str, ObjectKind] = {
    "anon_inode:bpf-prog": "prog",
    "anon_inode:bpf-map": "map",
    "anon_inode:bpf_link": "link",
    "anon_inode:[bpf_link]": "link",
    "anon_inode:bpf-link": "link",
}
IDS: dict[ObjectKind, bytes] = {"prog": b"\nprog_id:", "map": b"\nmap_id:", "link": b"\nlink_id:"}


def identity(process: int, fd: str) -> tuple[ObjectKind, int] | None:
    """Kind and id of the BPF object behind a descriptor; None where it is none. ``process``: its folder of /proc."""
    try:
        kind = LINK_TARGETS.get(os.readlink(f"fd/{fd}", dir_fd=process))
        if kind is None:
            return None
        with opened(os.open(f"fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)) as file:
            text = os.read(file, 1024)
    except OSError:
        return None
    # A link's fdinfo names its program too: only the line of its own kind is its identity.
    _, found, rest = text.partition(IDS[kind])
    value = rest.partition(b"\n")[0].strip()
    return (kind, int(value)) if found and value.isdigit() else None


def pins(calls: Calls, deadline: float) -> tuple[list[BpfPin], str]:
    """Every name in every bpffs of this mount namespace, and why there may be more."""
    with opened(os.open("/proc/self", FOLDER)) as own:
        return _walk(calls, own, deadline)


def _walk(calls: Calls, own: int, deadline: float) -> tuple[list[BpfPin], str]:
    found: list[BpfPin] = []
    trouble = ""
    for mount in mounts("bpf"):
        waiting = [(mount, 0)]
        while waiting:
            folder, depth = waiting.pop(0)
            try:
                with os.scandir(folder) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except OSError as error:
                trouble = f"{kernel_text(os.fsencode(folder))}: {error.strerror}"
                continue
            for entry in entries:
                if len(found) >= PINS_LIMIT or time.monotonic() > deadline:
                    return found, f"no more than {len(found)} pins were read"
                if entry.is_symlink():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if depth < DEPTH_LIMIT:
                        waiting.append((entry.path, depth + 1))
                    else:
                        trouble = f"{kernel_text(os.fsencode(folder))}: too deep"
                    continue
                pin = _pin(calls, own, entry.path)
                if pin is not None:
                    found.append(pin)
    return found, trouble


def _pin(calls: Calls, own: int, path: str) -> BpfPin | None:
    with suppress(OSError), opened(calls.pinned(os.fsencode(path))) as fd:
        known = identity(own, str(fd))
        if known is not None:
            return BpfPin(path=kernel_text(os.fsencode(path)), kind=known[0], id=known[1])
    return None


def holders(deadline: float) -> tuple[list[BpfHolder], str]:
    """Every process but this one with an open object, each object once; and why there may be more."""
    until = min(deadline, time.monotonic() + PATIENCE)
    found: list[BpfHolder] = []
    denied = 0
    own = str(os.getpid())
    for pid in sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int):
        if pid == own:
            continue
        if time.monotonic() > until:
            return found, f"no time for processes from {pid} on"
        try:
            with opened(os.open(f"/proc/{pid}", FOLDER)) as process:
                descriptors = os.listdir(f"/proc/{pid}/fd")
                held = {known for fd in descriptors if (known := identity(process, fd)) is not None}
        except PermissionError:
            denied += 1
            continue
        except OSError:
            continue
        if held:
            comm = _comm(pid)
            found += [BpfHolder(pid=int(pid), comm=comm, kind=kind, id=number) for kind, number in sorted(held)]
    return found, f"{denied} processes may not be looked into" if denied else ""


def _comm(pid: str) -> str:
    try:
        with opened(os.open(f"/proc/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)) as file:
            return kernel_text(os.read(file, 64).rstrip(b"\n"))
    except OSError:
        return ""
