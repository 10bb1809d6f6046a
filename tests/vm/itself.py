"""The guest's own namespaces as a host of a lab: only they have what is of the whole kernel (tcp_mem, for one).

For tests that run in the guest. Nothing is undone when it is closed but what a test undoes itself.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tests.lab import Host


def only_here() -> None:
    """AssertionError on any machine but the guest."""
    assert "netdiag_script=" in Path("/proc/cmdline").read_text(), "this changes the whole kernel: guest only"


class Itself(Host):
    """The guest, with the functions of a lab host."""

    def __init__(self) -> None:
        only_here()
        self.name = "guest"
        self.pid = os.getpid()
        self.netns_path = f"/proc/{self.pid}/ns/net"
        self._spawned, self._forked = [], set()
        self._own_cgroup = self._open = False
        self._pidfd = os.pidfd_open(self.pid)
        self._own_pids = self._pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
