"""Generic netlink's ``ethtool`` family: link modes, features, rings, channels, coalescing, pause, FEC, statistics.

Source: include/uapi/linux/ethtool_netlink.h, net/ethtool/netlink.c. Dumps only: one question tells all devices that
have an answer (Linux 5.6). The family's number comes from the nameless dump of all families, which loads nothing.
Damaged messages are left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from struct import pack
from typing import Any

from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.attributes import Buffer, DecodeError, u8, u32, u64, walk
from netdiag.sources.netlink.messages import DumpRequest, walk_messages
from netdiag.sources.netlink.requests import attribute, attribute_u32

HEADER, GENL_HEADER = 1, 4
HEADER_IFINDEX, HEADER_FLAGS = 1, 3
COMPACT_BITSETS = 1
BITSET_VALUE, BITSET_MASK = 4, 5
SPEED_UNKNOWN = 0xFFFFFFFF

MESSAGES = {
    "LINKMODES": 4,
    "LINKSTATE": 6,
    "FEATURES": 11,
    "RINGS": 15,
    "CHANNELS": 17,
    "COALESCE": 19,
    "PAUSE": 21,
    "FEC": 29,
    "STATS": 32,
}
"""ETHTOOL_MSG_*_GET."""
Words = tuple[int, ...]


def settings(family: int, what: str) -> DumpRequest:
    """ETHTOOL_MSG_<what>_GET of every device."""
    body = pack("=BBH", MESSAGES[what], 1, 0)
    body += attribute(HEADER | nl.NLA_F_NESTED, attribute_u32(HEADER_FLAGS, COMPACT_BITSETS))
    if what == "STATS":  # ETHTOOL_A_STATS_GROUPS: eth-phy and eth-mac, as a bit set of four bits without a mask
        bits = attribute(1, b"") + attribute_u32(2, 4) + attribute_u32(BITSET_VALUE, 3)
        body += attribute(3 | nl.NLA_F_NESTED, bits)
    return DumpRequest(f"ETHTOOL_MSG_{what}_GET", nl.NETLINK_GENERIC, family, body)


def words(payload: Buffer) -> Words:
    """32-bit words of a bitmap."""
    return tuple(u32(payload[at : at + 4]) for at in range(0, len(payload), 4))


def bitset(payload: Buffer, which: int = BITSET_VALUE) -> Words:
    """Value (or mask) of a compact bit set (Documentation/networking/ethtool-netlink.rst)."""
    for kind, start, end in walk(payload):
        if kind == which:
            return words(payload[start:end])
    return ()


Reader = Callable[[Buffer], Any]
_RINGS: Mapping[int, tuple[str, Reader]] = {
    2: ("rx-max", u32),
    3: ("rx-mini-max", u32),
    4: ("rx-jumbo-max", u32),
    5: ("tx-max", u32),
    6: ("rx", u32),
    7: ("rx-mini", u32),
    8: ("rx-jumbo", u32),
    9: ("tx", u32),
}
_CHANNELS: Mapping[int, tuple[str, Reader]] = {
    2: ("rx-max", u32),
    3: ("tx-max", u32),
    4: ("other-max", u32),
    5: ("combined-max", u32),
    6: ("rx", u32),
    7: ("tx", u32),
    8: ("other", u32),
    9: ("combined", u32),
}
_COALESCE: Mapping[int, tuple[str, Reader]] = {
    2: ("rx-usecs", u32),
    3: ("rx-frames", u32),
    6: ("tx-usecs", u32),
    7: ("tx-frames", u32),
    11: ("adaptive-rx", u8),
    12: ("adaptive-tx", u8),
}
_PAUSE: Mapping[int, tuple[str, Reader]] = {2: ("autonegotiate", u8), 3: ("rx", u8), 4: ("tx", u8)}
_TABLES: Mapping[str, Mapping[int, tuple[str, Reader]]] = {
    "RINGS": _RINGS,
    "CHANNELS": _CHANNELS,
    "COALESCE": _COALESCE,
    "PAUSE": _PAUSE,
}
DUPLEX = {0: "half", 1: "full"}
MAC_ERRORS = {
    4: "FCSErrors",
    5: "AlignmentErrors",
    8: "LateCollisions",
    9: "ExcessiveCollisions",
    10: "FramesLostDueToIntMACXmitError",
    11: "CarrierSenseErrors",
    13: "FramesLostDueToIntMACRcvError",
    19: "InRangeLengthErrors",
    20: "OutOfRangeLengthField",
    21: "FrameTooLongErrors",
}
"""ETHTOOL_A_STATS_ETH_MAC_*, those that speak of errors, by the names of IEEE 802.3."""
PHY_ERRORS = {0: "SymbolErrorDuringCarrier"}
GROUPS = {0: ("phy", PHY_ERRORS), 1: ("mac", MAC_ERRORS)}


def decode(what: str, found: dict[int, Buffer]) -> dict[str, Any]:
    """What one message says, by the names of model.EthtoolDevice. Raises DecodeError."""
    if what in _TABLES:
        table = _TABLES[what]
        return {what.lower(): {name: read(found[kind]) for kind, (name, read) in table.items() if kind in found}}
    if what == "FEATURES":
        names = {2: "features_hw", 3: "features_wanted", 4: "features", 5: "features_fixed"}
        return {name: bitset(found[kind]) for kind, name in names.items() if kind in found}
    if what == "LINKSTATE":
        return {"link": bool(u8(found[2]))} if 2 in found else {}
    if what == "FEC":
        return {"fec": u32(found[4])} if 4 in found else {}
    if what == "LINKMODES":
        return _linkmodes(found)
    return {}


def _linkmodes(found: dict[int, Buffer]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if 2 in found:
        values["autoneg"] = bool(u8(found[2]))
    if 3 in found:
        values["supported"], values["advertised"] = bitset(found[3], BITSET_MASK), bitset(found[3])
    if 4 in found:
        values["partner"] = bitset(found[4])
    if 5 in found and (speed := u32(found[5])) not in (0, SPEED_UNKNOWN):
        values["speed"] = speed
    if 6 in found:
        values["duplex"] = DUPLEX.get(u8(found[6]))
    return values


def errors_of(octets: bytes, start: int, end: int) -> dict[str, int]:
    """ETHTOOL_MSG_STATS_GET: ETHTOOL_A_STATS_GRP 4 with id 2 and STAT 4, each a nest of one 64-bit number."""
    counters: dict[str, int] = {}
    for kind, group_start, group_end in walk(octets, start, end):
        if kind != 4:
            continue
        rows = list(walk(octets, group_start, group_end))
        number = next((u32(octets[a:b]) for nest, a, b in rows if nest == 2), -1)
        prefix, names = GROUPS.get(number, ("", {}))
        for nest, a, b in rows:
            if nest != 4:
                continue
            for stat, first, last in walk(octets, a, b):
                if stat in names and (value := u64(octets[first:last])):
                    counters[f"{prefix}.{names[stat]}"] = value
    return counters


@dataclass
class SettingsSink:
    """Sink for ``settings()``: values by ifindex, of the wanted devices only."""

    what: str
    wanted: frozenset[int]
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)

    def reset(self) -> None:
        self.rows.clear()

    def feed(self, buffer: memoryview) -> None:
        octets = bytes(buffer)
        for message in walk_messages(octets):
            if message.type < nl.NLMSG_MIN_TYPE:
                continue
            start = message.start + GENL_HEADER
            try:
                self._take(octets, start, message.end)
            except (DecodeError, KeyError):
                continue

    def _take(self, octets: bytes, start: int, end: int) -> None:
        found: dict[int, Buffer] = {}
        for kind, first, last in walk(octets, start, end):
            found[kind] = octets[first:last]
        head_of = HEADER if self.what != "STATS" else 2
        head = found[head_of]
        ifindex = next((u32(head[a:b]) for kind, a, b in walk(head) if kind == HEADER_IFINDEX), 0)
        if ifindex in self.wanted:
            self.rows[ifindex] = errors_of(octets, start, end) if self.what == "STATS" else decode(self.what, found)
