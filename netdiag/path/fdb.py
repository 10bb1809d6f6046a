"""Behind which port of a bridge a hardware address is, and to which far end a VXLAN sends a frame.

Mirrors br_dev_xmit() of net/bridge/br_device.c (a known address goes to its port, any other to all) and vxlan_xmit()
of drivers/net/vxlan/vxlan_core.c (a known address goes to its far end, any other to those of the all-zero entry).
Pure; nothing can fail.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from netdiag.model.link import Link
from netdiag.model.walk import Fate
from netdiag.path.host import PathHost

FORWARDING = 3
"""BR_STATE_FORWARDING (include/uapi/linux/if_bridge.h)."""
ANY = "00:00:00:00:00:00"


class Behind(NamedTuple):
    """The ports that a frame takes."""

    ports: tuple[Link, ...]
    flooded: bool
    decision: str
    why: str
    fate: Fate | None = None


class Ports:
    """The forwarding tables of one namespace."""

    def __init__(self, host: PathHost) -> None:
        self._host = host

    @cached_property
    def _learned(self) -> dict[str, list[int]]:
        """Positions of the entries, by hardware address."""
        found: dict[str, list[int]] = {}
        for position, octets in enumerate(self._host.tables.fdb.lladdr):
            found.setdefault(np.asarray(octets).tobytes().hex(":"), []).append(position)
        return found

    def behind(self, bridge: Link, lladdr: str | None) -> Behind:
        """The ports to a hardware address; None: it is not known yet."""
        ports = self._host.stack.ports(bridge.ifindex)
        open_ = tuple(port for port in ports if port.up and port.lower_up and _forwards(port))
        if not open_:
            why = f"{bridge.ifname} has no port that forwards" if ports else f"{bridge.ifname} has no port"
            return Behind((), False, "dropped", why, "dropped")
        table = self._host.tables.fdb
        for position in self._learned.get(lladdr or "", ()):
            row = table.row(position)
            port = next((port for port in ports if port.ifindex == row.ifindex), None)
            if row.master != bridge.ifindex or port is None:
                continue
            why = f"{lladdr} is behind {port.ifname} (fdb)"
            if port not in open_:
                return Behind((), False, "dropped", f"{why}, which does not forward", "dropped")
            return Behind((port,), False, "bridged", why)
        names = ", ".join(port.ifname for port in open_)
        if len(open_) == 1:
            return Behind(open_, False, "bridged", f"to its only open port {names}")
        why = f"to all of {names}: behind which of them {lladdr or 'the next hop'} is, is not known"
        return Behind(open_, True, "flooded", why)

    def remotes(self, link: Link, lladdr: str | None) -> list[str] | None:
        """The far ends of a VXLAN without a remote of its own; None: its forwarding table was not read."""
        if self._host.gap("fdb"):
            return None
        if lladdr and (known := list(self._ends(link, lladdr))):
            return known[:1]
        return list(self._ends(link, ANY))

    def entry(self, link: Link, lladdr: str | None) -> str:
        """Which entry of a VXLAN's forwarding table leads to them."""
        known = lladdr is not None and any(self._ends(link, lladdr))
        return f"the fdb entry of {lladdr}" if known else "the fdb entry of all unknown addresses"

    def _ends(self, link: Link, lladdr: str) -> Iterator[str]:
        for position in self._learned.get(lladdr, ()):
            row = self._host.tables.fdb.row(position)
            if row.ifindex == link.ifindex and row.dst is not None:
                yield row.dst


def _forwards(port: Link) -> bool:
    state = port.slave_info.get("state")
    return state in (None, FORWARDING, "forwarding")
