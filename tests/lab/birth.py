"""What the first process of a lab host does between fork and exec: make the namespaces look like a machine.

It runs in a fork of the test process that is already process 1 of a new PID namespace (pid_namespaces(7)), and ends
by becoming `sleep infinity` under a telling name. Killing that process kills the whole host; the kernel also does
so when the test process dies (PR_SET_PDEATHSIG), by whatever means.

Order matters: propagation is cut first, or the mounts would appear on the real machine; sysfs is mounted after the
network namespace exists, because a sysfs mount shows the namespace of its mounter (net/core/net-sysfs.c); bpffs
comes after sysfs, because it lives below it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from tests.lab import cgroup, syscalls

NAMESPACES = (
    syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC
)  # what a visitor enters; the PID namespace is entered by being forked into it

_SIOCSIFFLAGS = 0x8914  # linux/sockios.h
_IFF_UP = 0x1
_ANY_FD = 1 << 20  # above every file descriptor that a test process can hold

# A new network namespace copies IPv4 settings from the machine (net/ipv4/devinet.c, devinet_init_net), and a
# distribution may have changed those. A lab host starts from the kernel's own defaults wherever it runs.
_IPV4_DEFAULTS = {
    "accept_local": "0",
    "accept_redirects": "1",
    "accept_source_route": "0",
    "arp_announce": "0",
    "arp_filter": "0",
    "arp_ignore": "0",
    "arp_notify": "0",
    "ignore_routes_with_linkdown": "0",
    "log_martians": "0",
    "proxy_arp": "0",
    "route_localnet": "0",
    "rp_filter": "0",
    "secure_redirects": "1",
    "send_redirects": "1",
    "src_valid_mark": "0",
}


def be_born(name: str, title: str, ready: int, sysctls: Mapping[str, str], own_cgroup: bool) -> NoReturn:
    """Turn this forked process into the first process of host `name`; never returns.

    `title` stands in the process list, and names the cgroup if it has one of its own.
    `ready` is the write end of a pipe: it gets one byte when the host is usable, or the error's text.
    """
    try:
        syscalls.die_with_parent(signal.SIGKILL)
        _leave_if_orphan(ready)
        os.setsid()
        _settle_signals()
        syscalls.unshare(NAMESPACES)
        syscalls.sethostname(name)
        _mount_all()
        if own_cgroup:
            cgroup.settle_in(title)
        _loopback_up()
        _set_defaults(sysctls)
        _redirect_standard_streams()
        os.closerange(3, ready)
        os.closerange(ready + 1, _ANY_FD)
        os.chdir("/")
        os.write(ready, b"!")
        os.execv("/bin/sleep", [title, "infinity"])
    except BaseException as error:  # noqa: BLE001 - nothing may escape into the test runner whose copy this process is
        with contextlib.suppress(OSError):
            os.write(ready, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(1)


def _leave_if_orphan(ready: int) -> None:
    """The parent may have died before prctl(2): its end of the pipe is gone then."""
    poller = select.poll()
    poller.register(ready, 0)
    if any(event & select.POLLERR for _, event in poller.poll(0)):
        os._exit(1)


def _settle_signals() -> None:
    """Default actions, except that children are reaped by the kernel (ignored SIGCHLD survives execve)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGALRM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _mount_all() -> None:
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    for target in ("/proc", "/sys", "/run"):
        # Detached rather than covered: a hidden second bpffs would still stand in mountinfo.
        with contextlib.suppress(OSError):
            syscalls.umount(target)
    safe = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("proc", "/proc", "proc", safe)
    syscalls.mount("sysfs", "/sys", "sysfs", safe)
    syscalls.mount("bpf", "/sys/fs/bpf", "bpf", safe, "mode=0700")
    with contextlib.suppress(OSError):  # not in every kernel
        syscalls.mount("tracefs", "/sys/kernel/tracing", "tracefs", safe)
    with contextlib.suppress(OSError):
        syscalls.mount("cgroup2", "/sys/fs/cgroup", "cgroup2", safe)
    syscalls.mount("tmpfs", "/run", "tmpfs", safe, "mode=0755,size=256m")
    for folder in ("bird", "lock", "log", "netns", "wireguard"):
        Path("/run", folder).mkdir()
    for folder in ("etc", "var"):
        upper, work = Path(f"/run/.lab/{folder}/upper"), Path(f"/run/.lab/{folder}/work")
        upper.mkdir(parents=True)
        work.mkdir()
        options = f"lowerdir=/{folder},upperdir={upper},workdir={work}"
        with contextlib.suppress(OSError):  # without overlayfs the folder stays the machine's, and write() refuses it
            syscalls.mount("overlay", f"/{folder}", "overlay", safe, options)
    with contextlib.suppress(OSError):  # what the machine's own network is meant to be says nothing about this one
        for file in Path("/etc/sysctl.d").glob("*.conf"):
            file.unlink()


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _set_defaults(sysctls: Mapping[str, str]) -> None:
    for scope in ("all", "default", "lo"):
        for key, value in _IPV4_DEFAULTS.items():
            with contextlib.suppress(FileNotFoundError):  # a kernel that does not know it has nothing to reset
                Path("/proc/sys/net/ipv4/conf", scope, key).write_text(value, "ascii")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0", "ascii")
    for key, value in sysctls.items():
        Path("/proc/sys", key.replace(".", "/")).write_text(value, "ascii")


def _redirect_standard_streams() -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
