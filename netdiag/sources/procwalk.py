"""A bounded walk over the processes of /proc, each through its own open folder, so that no number is taken for another.

What goes meanwhile is left out; other users' processes need CAP_SYS_PTRACE (fs/proc/base.c, proc_fd_access_allowed()).
The walker's own process is not among them. Raises OSError where there is no /proc.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from netdiag.model.text import kernel_text

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_CLOEXEC
VMMS = (
    ("qemu-system", "qemu"),
    ("qemu-kvm", "qemu"),
    ("firecracker", "firecracker"),
    ("cloud-hyperviso", "cloud-hypervisor"),
    ("crosvm", "crosvm"),
)
"""What the name of a program starts with, and the virtual machine monitor that it is; a comm has 15 bytes."""


@dataclass(frozen=True)
class Process:
    """One process; ``folder`` is open while it is looked at."""

    pid: int
    folder: int

    def content(self, name: str, limit: int = 4096) -> bytes:
        """The first bytes of a file in its folder. Raises OSError."""
        fd = os.open(name, READ, dir_fd=self.folder)
        try:
            return os.read(fd, limit)
        finally:
            os.close(fd)

    def link(self, name: str) -> str | None:
        """Target of a link in its folder; None where it cannot be read."""
        try:
            return os.readlink(name, dir_fd=self.folder)
        except OSError:
            return None

    def names(self, folder: str) -> list[str]:
        """Names in a folder of its folder. Raises OSError."""
        fd = os.open(folder, FOLDER, dir_fd=self.folder)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def comm(self) -> str:
        """Name; empty where the process is gone."""
        try:
            return kernel_text(self.content("comm", 64).rstrip(b"\n"))
        except OSError:
            return ""

    def exe(self) -> str | None:
        """Last part of the program's path."""
        target = self.link("exe")
        if target is None:
            return None
        return kernel_text(os.fsencode(os.path.basename(target.removesuffix(" (deleted)")))) or None

    def state(self) -> str | None:
        """One letter."""
        try:
            words = self.content("stat", 512).rpartition(b")")[2].split()
        except OSError:
            return None
        return words[0].decode("ascii", "replace") if words else None

    def netns(self) -> int | None:
        """Inode of its network namespace."""
        return inode_of(self.link("ns/net"))

    def vmm(self, comm: str, exe: str | None) -> str | None:
        """Which virtual machine monitor it is, by name or by the first word of its command line."""
        try:
            first = kernel_text(os.path.basename(self.content("cmdline", 256).partition(b"\0")[0]))
        except OSError:
            first = ""
        for start, vmm in VMMS:
            if any(name.startswith(start) for name in (comm, exe or "", first)):
                return vmm
        return None


def inode_of(target: str | None) -> int | None:
    """4026531840 of ``net:[4026531840]``."""
    number = (target or "").removeprefix("net:[").removesuffix("]")
    return int(number) if target and target.startswith("net:[") and number.isdigit() else None


class Walk:
    """All processes but this one; ``unseen`` says afterwards why there may be more.

    Who looks counts in ``denied`` those that it may not look into.
    """

    def __init__(self, until: float) -> None:
        """``until``: seconds of time.monotonic()."""
        self.until = until
        self.denied = 0
        self.stopped = ""

    def __iter__(self) -> Iterator[Process]:
        own = str(os.getpid())
        for pid in sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int):
            if pid == own:
                continue
            if time.monotonic() > self.until:
                self.stopped = f"no time for processes from {pid} on"
                return
            try:
                folder = os.open(f"/proc/{pid}", FOLDER)
            except OSError:
                continue
            try:
                yield Process(int(pid), folder)
            finally:
                os.close(folder)

    @property
    def unseen(self) -> str:
        """One line; empty: every process was looked into."""
        denied = f"{self.denied} processes may not be looked into (needs CAP_SYS_PTRACE)" if self.denied else ""
        return "; ".join(word for word in (denied, self.stopped) if word)
