"""A cgroup of its own for a lab host, so that BPF can be attached to "the root cgroup" without meeting the machine's.

The cgroup tree is one for the whole kernel (cgroups(7), cgroup_namespaces(7)): a host gets a folder right below the
root and a cgroup namespace in which that folder is the root. The folder is removed with the host; folders that a
killed test process left are removed by the next lab that uses one.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tests.lab import syscalls
from tests.lab.wait import wait_until

ROOT = Path("/sys/fs/cgroup")
PREFIX = "netdiag-lab:"
_SAFE = syscalls.MS_NOSUID | syscalls.MS_NODEV


def settle_in(title: str) -> None:
    """In a host's first process, with cgroup2 mounted: move into a folder of our own and make it the root."""
    folder = ROOT / title
    folder.mkdir()
    join(folder)
    syscalls.unshare(syscalls.CLONE_NEWCGROUP)
    syscalls.umount(str(ROOT))
    syscalls.mount("cgroup2", str(ROOT), "cgroup2", _SAFE)


def join(folder: Path = ROOT) -> None:
    """Move the calling process into a cgroup; 0 stands for the writer (kernel/cgroup/cgroup.c)."""
    (folder / "cgroup.procs").write_text("0", "ascii")


def remove(title: str) -> None:
    """Remove a dead host's cgroup, those below it, and those of labs whose process is gone.

    It runs in a child with a mount namespace of its own, because the machine may have mounted cgroup2 nowhere.
    Raises OSError if the folder cannot be removed.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
            syscalls.mount("cgroup2", "/sys/fs/cgroup", "cgroup2", _SAFE)
            wait_until(lambda: _removed(ROOT / title), 5, f"the cgroup {title} is empty")
            for folder in ROOT.glob(f"{PREFIX}*"):
                if not Path("/proc", folder.name.split(":")[2]).exists():
                    _removed(folder)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise OSError(f"the cgroup {title} could not be removed")


def _removed(folder: Path) -> bool:
    """Remove the folder bottom up; false while a process is in it."""
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(path)
    return not folder.exists()
