"""Behind which port of a bridge a hardware address is, and to which far end a VXLAN sends a frame.

Mirrors br_dev_xmit() of net/bridge/br_device.c (a known address goes to its port, any other to all) and vxlan_xmit()
of drivers/net/vxlan/vxlan_core.c. Pure; nothing can fail.
"""

from typing import NamedTuple

from netdiag.model.link import Link
from netdiag.model.walk import Fate
from netdiag.path.host import PathHost

FORWARDING = 3
"""BR_STATE_FORWARDING (include/uapi/linux/if_bridge.h)."""


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

    def behind(self, bridge: Link, lladdr: str | None) -> Behind:
        """The ports to a hardware address; None: it is not known yet."""
        ports = self._host.stack.ports(bridge.ifindex)
        open_ = tuple(port for port in ports if port.up and port.lower_up and _forwards(port))
        if not open_:
            why = f"{bridge.ifname} has no port that forwards" if ports else f"{bridge.ifname} has no port"
            return Behind((), False, "dropped", why, "dropped")
        names = ", ".join(port.ifname for port in open_)
        if len(open_) == 1:
            return Behind(open_, False, "bridged", f"to its only open port {names}")
        return Behind(
            open_, True, "flooded", f"to all of {names}: behind which of them {lladdr or 'it'} is, is not known"
        )

    def remotes(self, link: Link, lladdr: str | None) -> list[str] | None:
        """The far ends of a VXLAN without a remote of its own; None: not read."""
        return None


def _forwards(port: Link) -> bool:
    state = port.slave_info.get("state")
    return state in (None, FORWARDING)
