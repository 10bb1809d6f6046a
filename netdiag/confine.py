"""Let a collector's child read and nothing else: the kernel then refuses what a bug or a hostile reply might try.

``seccomp`` (include/uapi/linux/seccomp.h) refuses to execute programs, to load modules, to mount, to change files or
clocks, to open sockets that could send packets (only AF_NETLINK and AF_UNIX are left), files for writing, and every
command of bpf(2) but those that read. ``landlock`` (include/uapi/linux/landlock.h) refuses changes below any path once
more, by another mechanism. Both cost half a millisecond. Where the kernel lacks them, or on an architecture that is not
listed here, the child runs without: that is no error, and ``seccomp`` and ``landlock`` say so by returning False.
"""

import ctypes
import errno
import os
import platform
import socket
from dataclasses import dataclass
from struct import pack

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
RET_ALLOW = 0x7FFF0000
RET_ERRNO = 0x00050000
X32_BIT = 0x40000000

LD_ABS, JEQ, JGE, AND, RET = 0x20, 0x15, 0x35, 0x54, 0x06
OFFSET_NR, OFFSET_ARCH, OFFSET_ARGUMENTS = 0, 4, 16
"""struct seccomp_data; arguments are 64 bits wide, their low halves first on the architectures below."""


@dataclass(frozen=True)
class Calls:
    """System call numbers of one architecture."""

    arch: int
    """AUDIT_ARCH_*."""
    openat: int
    open: int | None
    socket: int
    bpf: int
    sendto: int
    sends: tuple[int, ...]
    """connect, sendmsg, sendmmsg: refused to a child that may open Internet sockets."""
    never: tuple[int, ...]
    """Refused to every child."""
    files: tuple[int, ...]
    """Refused to a child that has no recording to write."""


ARCHITECTURES = {
    "x86_64": Calls(
        arch=0xC000003E,
        openat=257,
        open=2,
        socket=41,
        bpf=321,
        sendto=44,
        sends=(42, 46, 307),
        # execve execveat ptrace mount umount2 pivot_root open_tree move_mount init_module finit_module delete_module
        # kexec_load kexec_file_load reboot settimeofday clock_settime sethostname io_uring_setup openat2
        never=(59, 322, 101, 165, 166, 155, 428, 429, 175, 313, 176, 246, 320, 169, 164, 227, 170, 425, 437),
        # creat unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir chmod fchmodat chown lchown fchownat link
        # linkat symlink symlinkat mknod mknodat truncate setxattr
        files=(85, 87, 263, 82, 264, 316, 83, 258, 84, 90, 268, 92, 94, 260, 86, 265, 88, 266, 133, 259, 76, 188),
    ),
    "aarch64": Calls(
        arch=0xC00000B7,
        openat=56,
        open=None,
        socket=198,
        bpf=280,
        sendto=206,
        sends=(203, 211, 269),
        # The same, where the architecture has them.
        never=(221, 281, 117, 40, 39, 41, 428, 429, 105, 273, 106, 104, 294, 142, 170, 112, 161, 425, 437),
        files=(35, 38, 276, 34, 53, 54, 37, 36, 33, 45, 5),
    ),
}

BPF_READS = (1, 4, 7, 11, 12, 13, 14, 15, 16, 19, 20, 23, 24, 30, 31)
"""MAP_LOOKUP_ELEM, MAP_GET_NEXT_KEY, OBJ_GET, {PROG,MAP}_GET_NEXT_ID, {PROG,MAP}_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD,
PROG_QUERY, BTF_GET_FD_BY_ID, TASK_FD_QUERY, BTF_GET_NEXT_ID, MAP_LOOKUP_BATCH, LINK_GET_FD_BY_ID, LINK_GET_NEXT_ID."""
NETLINK_ADDRESS = 12
"""Bytes of struct sockaddr_nl; an Internet address is longer."""
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
LANDLOCK_CHANGES = {
    1: 0b1_1111_1111_0011,  # EXECUTE, WRITE_FILE, REMOVE_DIR to MAKE_SYM: everything but reading
    2: 1 << 13,  # REFER
    3: 1 << 14,  # TRUNCATE
}


class SockFprog(ctypes.Structure):
    """struct sock_fprog (include/uapi/linux/filter.h)."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _instruction(code: int, k: int, true: int = 0, false: int = 0) -> bytes:
    return pack("=HBBI", code, true, false, k)


def _refuse(number: int) -> bytes:
    return _instruction(RET, RET_ERRNO | number)


def _judged(call: int, argument: int, allowed: tuple[int, ...], refusal: int, mask: int = 0) -> bytes:
    """For one call: allow where the (masked) argument is one of ``allowed``, else refuse."""
    steps = [_instruction(LD_ABS, OFFSET_ARGUMENTS + 8 * argument)]
    if mask:
        steps.append(_instruction(AND, mask))
    for position, value in enumerate(allowed):
        steps.append(_instruction(JEQ, value, len(allowed) - position))
    steps += [_refuse(refusal), _instruction(RET, RET_ALLOW)]
    return _instruction(JEQ, call, 0, len(steps)) + b"".join(steps)


def program(machine: str, *, writes_files: bool, asks_inet: bool = False) -> bytes | None:
    """The filter as struct sock_filter[], or None for an architecture that is not listed."""
    calls = ARCHITECTURES.get(machine)
    if calls is None:
        return None
    body = [
        _instruction(LD_ABS, OFFSET_ARCH),
        _instruction(JEQ, calls.arch, 1),
        _refuse(errno.EPERM),  # another ABI has other numbers: nothing below would hold
        _instruction(LD_ABS, OFFSET_NR),
        _instruction(JGE, X32_BIT, 0, 1),
        _refuse(errno.EPERM),
    ]
    refused = calls.never if writes_files else calls.never + calls.files
    refused += calls.sends if asks_inet else ()
    body += [_instruction(JEQ, number, 0, 1) + _refuse(errno.EPERM) for number in refused]
    if not writes_files:
        body.append(_judged(calls.openat, 2, (0,), errno.EROFS, WRITE_FLAGS))
        if calls.open is not None:
            body.append(_judged(calls.open, 1, (0,), errno.EROFS, WRITE_FLAGS))
    families: tuple[int, ...] = (socket.AF_UNIX, socket.AF_NETLINK)
    if asks_inet:  # a socket to ask options of: it cannot connect, nor send to an address longer than netlink's
        families += (socket.AF_INET, socket.AF_INET6)
        body.append(_judged(calls.sendto, 5, (0, NETLINK_ADDRESS), errno.EPERM))
    body.append(_judged(calls.socket, 0, families, errno.EPERM))
    body.append(_judged(calls.bpf, 0, BPF_READS, errno.EPERM))
    body.append(_instruction(RET, RET_ALLOW))
    return b"".join(body)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def seccomp(*, writes_files: bool, asks_inet: bool = False) -> bool:
    """Filter the system calls of this thread from now on; False where the kernel or the architecture has no filter."""
    octets = program(platform.machine(), writes_files=writes_files, asks_inet=asks_inet)
    if octets is None:
        return False
    libc = _libc()
    code = ctypes.create_string_buffer(octets, len(octets))
    fprog = SockFprog(len(octets) // 8, ctypes.addressof(code))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(fprog), 0, 0) == 0)


def landlock() -> bool:
    """Refuse this thread every change to any file from now on; False where the kernel has no Landlock.

    It also ends the right to look into other processes (/proc/PID/fd, fdinfo, ns): not for collectors that need that.
    """
    libc = _libc()
    version = libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    changes = 0
    for since, rights in LANDLOCK_CHANGES.items():
        changes |= rights if version >= since else 0
    attributes = ctypes.create_string_buffer(pack("=Q", changes), 8)
    ruleset = libc.syscall(LANDLOCK_CREATE_RULESET, attributes, 8, 0)
    if ruleset < 0:
        return False
    try:
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            return False
        return bool(libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)
