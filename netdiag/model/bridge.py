"""What bridges and vxlan devices have learned: forwarding entries as columns, VLANs of ports, multicast groups.

From RTM_GETNEIGH, RTM_GETLINK and RTM_GETMDB of the family AF_BRIDGE (include/uapi/linux/{neighbour,if_bridge}.h).
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

NUD_NOARP, NUD_PERMANENT, NUD_REACHABLE = 0x40, 0x80, 0x02
NTF_SELF, NTF_MASTER, NTF_EXT_LEARNED, NTF_OFFLOADED, NTF_STICKY = 0x02, 0x04, 0x10, 0x20, 0x40
FLAGS = {NTF_SELF: "self", NTF_MASTER: "master", 0x10: "extern_learn", 0x20: "offload", 0x40: "sticky"}


class FdbEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One forwarding entry made readable."""

    ifindex: int
    lladdr: str
    """Ethernet address."""
    master: int | None
    """ifindex of the bridge; None: an entry of the device itself (``self``)."""
    vlan: int | None
    state: str
    """``permanent``, ``static``, ``reachable`` or ``stale``, as ``bridge fdb`` spells it; empty: learned, in use."""
    flags: tuple[str, ...]
    """``self``, ``extern_learn``, ``offload``, ``sticky``."""
    dst: str | None
    """vxlan: address of the tunnel's end behind which it is."""
    vni: int | None
    port: int | None
    updated: float | None
    """Seconds since it was learned or moved."""
    used: float | None
    """Seconds since it was last used."""


@dataclass(frozen=True, kw_only=True)
class Fdb:
    """Every forwarding entry of every bridge and vxlan device. All columns have the same length n."""

    ifindex: npt.NDArray[np.int32]
    lladdr: npt.NDArray[np.uint8]
    """Shape (n, 6)."""
    master: npt.NDArray[np.int32]
    """0: none."""
    vlan: npt.NDArray[np.uint16]
    state: npt.NDArray[np.uint16]
    flags: npt.NDArray[np.uint8]
    dst: npt.NDArray[np.uint8]
    """Shape (n, 16), network order."""
    dst_len: npt.NDArray[np.uint8]
    """Bytes of ``dst`` that count: 0, 4 or 16."""
    vni: npt.NDArray[np.uint32]
    port: npt.NDArray[np.uint16]
    """Host order."""
    updated: npt.NDArray[np.float32]
    """Seconds; NaN: not told."""
    used: npt.NDArray[np.float32]

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "ifindex",
        "lladdr",
        "master",
        "vlan",
        "state",
        "flags",
        "dst",
        "dst_len",
        "vni",
        "port",
        "updated",
        "used",
    )

    def __len__(self) -> int:
        return len(self.ifindex)

    def row(self, position: int) -> FdbEntry:
        """The entry at one position, made readable."""
        flags, state = int(self.flags[position]), int(self.state[position])
        size = int(self.dst_len[position])
        raw = self.dst[position].tobytes()[:size]
        updated, used = (
            None if np.isnan(age) else round(float(age), 2) for age in (self.updated[position], self.used[position])
        )
        return FdbEntry(
            ifindex=int(self.ifindex[position]),
            lladdr=self.lladdr[position].tobytes().hex(":"),
            master=int(self.master[position]) or None,
            vlan=int(self.vlan[position]) or None,
            state=_state(state),
            flags=tuple(name for bit, name in FLAGS.items() if flags & bit),
            dst=str(ipaddress.ip_address(raw)) if size in (4, 16) else None,
            vni=int(self.vni[position]) or None,
            port=int(self.port[position]) or None,
            updated=updated,
            used=used,
        )

    def rows(self, positions: npt.ArrayLike | None = None) -> Iterator[FdbEntry]:
        """Readable entries at the given positions, or all of them, in dump order."""
        chosen = range(len(self)) if positions is None else np.asarray(positions).tolist()
        return (self.row(position) for position in chosen)

    @classmethod
    def empty(cls) -> "Fdb":
        """A table without rows."""
        shapes: dict[str, Any] = {
            "ifindex": np.empty(0, np.int32),
            "lladdr": np.empty((0, 6), np.uint8),
            "master": np.empty(0, np.int32),
            "vlan": np.empty(0, np.uint16),
            "state": np.empty(0, np.uint16),
            "flags": np.empty(0, np.uint8),
            "dst": np.empty((0, 16), np.uint8),
            "dst_len": np.empty(0, np.uint8),
            "vni": np.empty(0, np.uint32),
            "port": np.empty(0, np.uint16),
            "updated": np.empty(0, np.float32),
            "used": np.empty(0, np.float32),
        }
        return cls(**shapes)


def _state(state: int) -> str:
    if state & NUD_PERMANENT:
        return "permanent"
    if state & NUD_NOARP:
        return "static"
    return {0x04: "stale", NUD_REACHABLE: ""}.get(state, f"{state:#x}")


class BridgeVlan(msgspec.Struct, frozen=True, kw_only=True):
    """VLANs that a port of a bridge (or the bridge itself) belongs to, one entry a range."""

    ifindex: int
    vlan: int
    """VLAN id, 1 to 4094."""
    vlan_end: int
    """Last of the range; the same for a single one."""
    pvid: bool = False
    """Frames that come without a tag belong to it."""
    untagged: bool = False
    """Frames leave without a tag."""


class MdbEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A multicast group that a port of a bridge listens to."""

    ifindex: int
    """Index of the bridge."""
    port: int
    """Index of the port."""
    group: str
    """Address of the group, IPv4, IPv6 or Ethernet."""
    vlan: int | None = None
    """VLAN id."""
    permanent: bool = False
    """Set by hand, not learned by snooping."""


class FdbMove(msgspec.Struct, frozen=True, kw_only=True):
    """An address that a bridge found behind one port, and a moment later behind another."""

    master: int
    """Index of the bridge."""
    lladdr: str
    vlan: int | None = None
    ports: tuple[int, ...]
    """Indexes of the ports, one a look at which it was known; the same may stand there several times."""

    @property
    def moves(self) -> int:
        """How often it was found behind another port than before."""
        return sum(one != other for one, other in pairwise(self.ports))


class Bridging(msgspec.Struct, frozen=True, kw_only=True):
    """VLANs of bridge ports, multicast groups, and addresses that move between ports."""

    vlans: tuple[BridgeVlan, ...] = ()
    """Empty also where no bridge filters VLANs."""
    mdb: tuple[MdbEntry, ...] = ()
    moved: tuple[FdbMove, ...] = ()
    """Of the looks between the two samples; empty also where there was one sample only, or too much to look at."""


class BondLeg(msgspec.Struct, frozen=True, kw_only=True):
    """A leg of a bond as /proc/net/bonding shows it, where that is more than netlink tells."""

    ifname: str
    mii_status: str | None = None
    """``up``, ``down``, ``going down``, ``going back``."""
    aggregator: int | None = None
    """802.3ad: id of its aggregator."""
    actor_churn: str | None = None
    """``none``, ``monitoring`` or ``churned``: our side could not get into sync within 60 s."""
    partner_churn: str | None = None
    """The same of the partner's side."""
    partner_mac: str | None = None
    """802.3ad: system address of the partner of this leg; all zero: none answered."""
    partner_key: int | None = None
    """802.3ad: the partner's key of this leg."""


class Bond(msgspec.Struct, frozen=True, kw_only=True):
    """A bond as /proc/net/bonding shows it (drivers/net/bonding/bond_procfs.c)."""

    ifname: str
    active_aggregator: int | None = None
    """802.3ad: id of the aggregator in use."""
    legs: tuple[BondLeg, ...] = ()
    """In the kernel's order."""
