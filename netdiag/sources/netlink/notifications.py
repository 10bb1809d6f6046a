"""Hear from the kernel that something of the network changed: one multicast socket, asked with a timeout.

What changed is not decoded: whoever hears anything reads the host again. An overrun (ENOBUFS) is a change too. Raises
NetlinkError for what the kernel refuses.
"""

import errno
import select
import socket
import time

from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.messages import NetlinkError

GROUPS = (
    nl.RTNLGRP_LINK,
    nl.RTNLGRP_NEIGH,
    nl.RTNLGRP_TC,
    nl.RTNLGRP_IPV4_IFADDR,
    nl.RTNLGRP_IPV4_ROUTE,
    nl.RTNLGRP_IPV4_RULE,
    nl.RTNLGRP_IPV6_IFADDR,
    nl.RTNLGRP_IPV6_ROUTE,
    nl.RTNLGRP_IPV6_RULE,
)
QUIET = 0.3
"""Seconds without news after which a change counts as complete."""
PATIENCE = 3.0
"""Seconds after which a change that never ends is looked at all the same."""


class Notifications:
    """Links, addresses, neighbours, routes, rules and queueing disciplines of this namespace."""

    def __init__(self) -> None:
        try:
            self.raw = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, nl.NETLINK_ROUTE)
            self.raw.bind((0, 0))
            for group in GROUPS:
                self.raw.setsockopt(nl.SOL_NETLINK, nl.NETLINK_ADD_MEMBERSHIP, group)
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO) from error
        self.raw.setblocking(False)

    def _drain(self) -> bool:
        heard = False
        while True:
            try:
                self.raw.recv(1 << 16)
            except BlockingIOError:
                return heard
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise NetlinkError(error.errno or errno.EIO) from error
            heard = True

    def wait(self, seconds: float) -> bool:
        """Wait for news, at most so long, and then until they have ended; False where there were none."""
        poller = select.poll()
        poller.register(self.raw, select.POLLIN)
        if not poller.poll(max(0.0, seconds) * 1000):
            return False
        self._drain()
        until = time.monotonic() + min(PATIENCE, max(QUIET, seconds))
        while time.monotonic() < until and poller.poll(QUIET * 1000):
            self._drain()
        return True

    def close(self) -> None:
        """Give the socket back to the system."""
        self.raw.close()
