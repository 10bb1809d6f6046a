"""Which interfaces can run XDP in their driver: NETDEV_CMD_DEV_GET of generic netlink's ``netdev`` (Linux 6.3).

Source: include/uapi/linux/netdev.h, net/core/netdev-genl.c. Needs no privilege. The family's number comes from the
nameless dump of all families (netdiag.sources.netlink.wireguard.families()), which loads nothing. Damaged messages are
left out.
"""

from dataclasses import dataclass, field
from struct import pack

from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.attributes import DecodeError, u32, u64, walk
from netdiag.sources.netlink.messages import DumpRequest, walk_messages

NETDEV_CMD_DEV_GET = 1
DEV_IFINDEX, DEV_XDP_FEATURES = 1, 3
GENL_HEADER = 4
BASIC = 1
"""NETDEV_XDP_ACT_BASIC: the driver runs programs."""
NDO_XMIT = 4
"""NETDEV_XDP_ACT_NDO_XMIT: the driver takes frames that another device's XDP redirects to it."""


def devices(family: int) -> DumpRequest:
    """Every interface with its features."""
    return DumpRequest("NETDEV_CMD_DEV_GET", nl.NETLINK_GENERIC, family, pack("=BBH", NETDEV_CMD_DEV_GET, 1, 0))


@dataclass
class FeatureSink:
    """Sink for ``devices()``: features by ifindex."""

    features: dict[int, int] = field(default_factory=dict)

    def reset(self) -> None:
        self.features.clear()

    def feed(self, buffer: memoryview) -> None:
        octets = bytes(buffer)
        for message in walk_messages(octets):
            if message.type < nl.NLMSG_MIN_TYPE:
                continue
            found = {kind: octets[a:b] for kind, a, b in walk(octets, message.start + GENL_HEADER, message.end)}
            try:
                self.features[u32(found[DEV_IFINDEX])] = u64(found[DEV_XDP_FEATURES])
            except (KeyError, DecodeError):
                continue
