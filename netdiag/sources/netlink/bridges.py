"""Forwarding entries, VLANs of ports and multicast groups of bridges and vxlan devices.

Formats: include/uapi/linux/neighbour.h (struct ndmsg, NDA_*; fdb_fill_info() in net/bridge/br_fdb.c, vxlan_fdb_info()
in drivers/net/vxlan/vxlan_core.c, nlmsg_populate_fdb_fill() in net/core/rtnetlink.c) and if_bridge.h (struct
bridge_vlan_info, struct br_mdb_entry). Needs no privilege. Damaged attributes are counted, never raised.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import error, pack, unpack_from

import numpy as np

from netdiag.model.bridge import BridgeVlan, Fdb, MdbEntry
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.attributes import Buffer, walk
from netdiag.sources.netlink.columns import At, Attribute, Columns, ColumnSink, Matrix
from netdiag.sources.netlink.messages import DumpRequest, walk_messages
from netdiag.sources.netlink.requests import attribute_u32
from netdiag.sources.netlink.routes import USER_HZ

RTM_NEWMDB, RTM_GETMDB = 84, 86
"""The kernel answers a dump with messages of the type that asked (br_mdb_fill_info() in net/bridge/br_mdb.c)."""
RTEXT_FILTER_BRVLAN_COMPRESSED = 4
IFLA_AF_SPEC, IFLA_BRIDGE_VLAN_INFO = 26, 2
VLAN_PVID, VLAN_UNTAGGED, VLAN_RANGE_BEGIN, VLAN_RANGE_END = 2, 4, 8, 16

_SHAPES: Mapping[str, tuple[type[np.generic], int]] = {
    "ifindex": (np.int32, 0),
    "lladdr": (np.uint8, 6),
    "master": (np.int32, 0),
    "vlan": (np.uint16, 0),
    "state": (np.uint16, 0),
    "flags": (np.uint8, 0),
    "dst": (np.uint8, 16),
    "dst_len": (np.uint8, 0),
    "vni": (np.uint32, 0),
    "port": (np.uint16, 0),
    "updated": (np.float32, 0),
    "used": (np.float32, 0),
}


def fdb() -> DumpRequest:
    """RTM_GETNEIGH of AF_BRIDGE: every forwarding entry."""
    # The kernel tells a bridge dump by struct ifinfomsg from one by struct ndmsg by the length (rtnl_fdb_dump()).
    body = pack("=BxHiHBB", nl.AF_BRIDGE, 0, 0, 0, 0, 0)
    return DumpRequest("RTM_GETNEIGH bridge", nl.NETLINK_ROUTE, nl.RTM_GETNEIGH, body)


def vlans() -> DumpRequest:
    """RTM_GETLINK of AF_BRIDGE: bridges and their ports with their VLANs, in ranges."""
    body = pack("=BxHiII", nl.AF_BRIDGE, 0, 0, 0, 0)
    body += attribute_u32(nl.IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN_COMPRESSED)
    return DumpRequest("RTM_GETLINK bridge vlans", nl.NETLINK_ROUTE, nl.RTM_GETLINK, body)


def mdb() -> DumpRequest:
    """RTM_GETMDB: multicast groups of every bridge."""
    return DumpRequest("RTM_GETMDB", nl.NETLINK_ROUTE, RTM_GETMDB, pack("=B3xI", nl.AF_BRIDGE, 0))


class FdbColumns(ColumnSink):
    """Sink for ``fdb()``; finish() is the table."""

    def __init__(self) -> None:
        super().__init__(nl.RTM_NEWNEIGH, frozenset({nl.AF_BRIDGE}), 12)
        self.columns = Columns(_SHAPES)

    def forget(self) -> None:
        self.columns = Columns(_SHAPES)

    def take_rows(self, count: int) -> int:
        first = self.columns.take(count)
        for name in ("updated", "used"):
            self.columns.arrays[name][first : first + count] = np.nan
        return first

    def finish(self) -> Fdb:
        """The entries, in dump order. The sink is used up."""
        self.flush()
        self.columns.resize(self.columns.rows)
        return Fdb(**self.columns.arrays)

    def store(self, matrix: Matrix, at: At) -> None:
        arrays, octets = self.columns.arrays, matrix.octets
        arrays["ifindex"][at] = matrix.words[:, 5].view(np.int32)
        arrays["state"][at] = octets.view(np.uint16)[:, 12]
        arrays["flags"][at] = octets[:, 26]
        for attribute in matrix.attributes:
            if not self._attribute(matrix, attribute, at):
                self.malformed += len(matrix)

    def _attribute(self, matrix: Matrix, attribute: Attribute, at: At) -> bool:
        """Decode one attribute; False: it has not the size that its type asks for."""
        arrays, (kind, word, size) = self.columns.arrays, attribute
        if kind == nl.NDA_LLADDR:
            kept = min(size, 6)
            arrays["lladdr"][at, :kept] = matrix.payload(attribute, kept)
        elif kind == nl.NDA_DST:
            if size not in (4, 16):
                return False
            arrays["dst"][at, :size] = matrix.payload(attribute, size)
            arrays["dst_len"][at] = size
        elif kind == nl.NDA_CACHEINFO:
            if size < 12:
                return False
            # struct nda_cacheinfo: confirmed, used, updated
            arrays["used"][at] = matrix.words[:, word + 1] / np.float32(USER_HZ)
            arrays["updated"][at] = matrix.words[:, word + 2] / np.float32(USER_HZ)
        elif kind in (nl.NDA_MASTER, nl.NDA_VNI):
            if size != 4:
                return False
            arrays["master" if kind == nl.NDA_MASTER else "vni"][at] = matrix.words[:, word]
        elif kind == nl.NDA_VLAN:
            if size != 2:
                return False
            arrays["vlan"][at] = matrix.octets.view(np.uint16)[:, word * 2]
        elif kind == nl.NDA_PORT:
            if size != 2:
                return False
            arrays["port"][at] = matrix.octets.view(">u2")[:, word * 2]
        return True


@dataclass
class VlanSink:
    """Sink for ``vlans()``."""

    rows: list[BridgeVlan] = field(default_factory=list)
    malformed: int = 0

    def reset(self) -> None:
        self.rows.clear()
        self.malformed = 0

    def feed(self, buffer: memoryview) -> None:
        octets = bytes(buffer)
        for message in walk_messages(octets):
            if message.type != nl.RTM_NEWLINK or message.end - message.start < 16:
                continue
            (ifindex,) = unpack_from("=i", octets, message.start + 4)
            for kind, start, end in walk(octets, message.start + 16, message.end):
                if kind == IFLA_AF_SPEC:
                    self._vlans(ifindex, octets[start:end])

    def _vlans(self, ifindex: int, nest: bytes) -> None:
        begin: tuple[int, int] | None = None
        for kind, start, end in walk(nest):
            if kind != IFLA_BRIDGE_VLAN_INFO or end - start < 4:
                continue
            flags, vid = unpack_from("=HH", nest, start)
            if flags & VLAN_RANGE_BEGIN:
                begin = (flags, vid)
                continue
            first = begin[1] if begin is not None and flags & VLAN_RANGE_END else vid
            begin = None
            self.rows.append(
                BridgeVlan(
                    ifindex=ifindex,
                    vlan=first,
                    vlan_end=vid,
                    pvid=bool(flags & VLAN_PVID),
                    untagged=bool(flags & VLAN_UNTAGGED),
                )
            )


@dataclass
class MdbSink:
    """Sink for ``mdb()``: MDBA_MDB 1, MDBA_MDB_ENTRY 1, MDBA_MDB_ENTRY_INFO 1 lie inside each other."""

    rows: list[MdbEntry] = field(default_factory=list)
    malformed: int = 0

    def reset(self) -> None:
        self.rows.clear()
        self.malformed = 0

    def feed(self, buffer: memoryview) -> None:
        octets = bytes(buffer)
        for message in walk_messages(octets):
            if message.type not in (RTM_NEWMDB, RTM_GETMDB) or message.end - message.start < 8:
                continue
            (bridge,) = unpack_from("=I", octets, message.start + 4)
            for _, start, end in (one for one in walk(octets, message.start + 8, message.end) if one[0] == 1):
                for _, entry_start, entry_end in walk(octets, start, end):
                    for _, info_start, info_end in walk(octets, entry_start, entry_end):
                        self._entry(bridge, octets[info_start:info_end])

    def _entry(self, bridge: int, payload: Buffer) -> None:
        try:
            # struct br_mdb_entry: ifindex, state, flags, vid, then 16 bytes of address and its protocol
            port, state, _, vid = unpack_from("=IBBH", payload)
            address, protocol = bytes(payload[8:24]), unpack_from("!H", payload, 24)[0]
        except error:
            self.malformed += 1
            return
        if protocol == 0x0800:
            group = str(ipaddress.IPv4Address(address[:4]))
        elif protocol == 0x86DD:
            group = str(ipaddress.IPv6Address(address))
        else:
            group = address[:6].hex(":")
        self.rows.append(MdbEntry(ifindex=bridge, port=port, group=group, vlan=vid or None, permanent=bool(state & 1)))
