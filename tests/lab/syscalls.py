"""The few system calls that a lab host is made of: namespaces, mounts, host name, death signal.

Facts from unshare(2), setns(2), mount(2), umount2(2), prctl(2) and pid_namespaces(7). Python offers
unshare and setns only from 3.12 on and mount not at all, so libc is called directly.
Every function raises OSError with the call's name when the kernel refuses.
"""

from __future__ import annotations

import ctypes
import os

# linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# linux/mount.h
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

PR_SET_PDEATHSIG = 1  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Give the calling thread new namespaces; CLONE_NEWPID only concerns children made afterwards."""
    _check(_libc.unshare(ctypes.c_int(flags)), f"unshare({flags:#x})")


def setns(fd: int, flags: int) -> None:
    """Enter the namespace behind `fd`, or those of the process behind a pidfd that `flags` select (Linux 5.8)."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(flags)), f"setns({flags:#x})")


def mount(source: str, target: str, fstype: str | None, flags: int = 0, options: str = "") -> None:
    """mount(2); `fstype` None for a change of propagation."""
    kind = None if fstype is None else fstype.encode()
    result = _libc.mount(source.encode(), target.encode(), kind, ctypes.c_ulong(flags), options.encode())
    _check(result, f"mount {fstype} on {target}")


def umount(target: str) -> None:
    """Take away `target` with everything below it, now if idle, else when its last user leaves."""
    _check(_libc.umount2(target.encode(), ctypes.c_int(MNT_DETACH)), f"umount {target}")


def sethostname(name: str) -> None:
    """Set the host name of the current UTS namespace."""
    raw = name.encode()
    _check(_libc.sethostname(raw, ctypes.c_size_t(len(raw))), f"sethostname {name!r}")


def die_with_parent(signal_number: int) -> None:
    """Ask for `signal_number` when the parent *thread* ends; kept over execve of an ordinary program."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number), 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
