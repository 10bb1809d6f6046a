"""Tables to bytes and back, typed: how a collector's child hands its rows to the parent.

Small tables are MessagePack of their structs; bulk tables are raw columns behind a header that names dtype and shape.
Decoding checks every type and every length, so a child that lies is refused with ``CodecError`` and costs its own rows
only. Nothing is ever unpickled.
"""

from typing import Any

import msgspec
import numpy as np

from netdiag.model.address import Address
from netdiag.model.bird import Bird, BirdSocket, DaemonRoutes
from netdiag.model.bpf import Bpf
from netdiag.model.bridge import Bond, Bridging, Fdb
from netdiag.model.cni import Cni
from netdiag.model.conntrack import Conntrack, ConntrackState
from netdiag.model.counters import Counters
from netdiag.model.coverage import Status
from netdiag.model.ethtool import Ethtool
from netdiag.model.host import ClockState, Identity, Resolver
from netdiag.model.intent import Intent
from netdiag.model.link import Link, NetnsId, PeerLink
from netdiag.model.namespace import Namespaces
from netdiag.model.neighbour import Neighbours
from netdiag.model.netnsstate import NetnsState
from netdiag.model.nexthop import Nexthop
from netdiag.model.nft import Nft
from netdiag.model.pathmtu import PathMtu
from netdiag.model.policyrule import PolicyRule
from netdiag.model.procnet import ProcNet
from netdiag.model.route import RouteExtra, Routes
from netdiag.model.sockets import SocketOwners, Sockets
from netdiag.model.softirq import Softirqs
from netdiag.model.sysctl import NeighTable, Sysctls
from netdiag.model.tap import Taps
from netdiag.model.tc import Tc
from netdiag.model.wireguard import Wireguard
from netdiag.model.xfrm import Xfrm

SMALL: dict[str, Any] = {
    "links": tuple[Link, ...],
    "peer_links": tuple[PeerLink, ...],
    "netns_ids": tuple[NetnsId, ...],
    "addresses": tuple[Address, ...],
    "rules": tuple[PolicyRule, ...],
    "path_mtus": tuple[PathMtu, ...],
    "nexthops": tuple[Nexthop, ...],
    "neigh_tables": tuple[NeighTable, ...],
    "sysctls": Sysctls,
    "counters": Counters,
    "procnet": ProcNet,
    "namespaces": Namespaces,
    "cni": Cni,
    "taps": Taps,
    "qdiscs": Tc,
    "ethtool": Ethtool,
    "softirq": Softirqs,
    "bridging": Bridging,
    "bonds": tuple[Bond, ...],
    "xfrm": Xfrm,
    "netns": tuple[NetnsState, ...],
    "wireguard": Wireguard,
    "socket_owners": SocketOwners,
    "resolver": Resolver,
    "clock": ClockState,
    "identity": Identity,
    "bpf": Bpf,
    "bird": Bird,
    "bird_routes": tuple[DaemonRoutes, ...],
    "bird_sockets": tuple[BirdSocket, ...],
    "nft": Nft,
    "conntrack_state": ConntrackState,
    "conntrack_helpers": tuple[str, ...],
    "routes_at": float | None,
    "intent": Intent,
}
"""Tables of structs by name, with their type."""

BULK: dict[str, Any] = {
    "routes": Routes,
    "routes6": Routes,
    "neighbours": Neighbours,
    "sockets": Sockets,
    "fdb": Fdb,
    "conntrack": Conntrack,
    "netns_routes": Routes,
    "netns_routes6": Routes,
    "netns_neighbours": Neighbours,
}
"""Tables of columns by name."""

DTYPES = {"|u1", "<u1", "<u2", "<u4", "<u8", "<i4", "<f4"}


class CodecError(Exception):
    """Bytes that are not what a collector would have sent."""


class Column(msgspec.Struct, frozen=True):
    """One column in a frame: name, dtype (``<u4``), shape, and how many bytes it takes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    octets: int


class Bulk(msgspec.Struct, frozen=True):
    """Header of one bulk table; the columns follow in this order."""

    family: str
    columns: tuple[Column, ...]
    extras: tuple[RouteExtra, ...] = ()


class Frame(msgspec.Struct, frozen=True):
    """Everything a child says, before the columns."""

    small: dict[str, msgspec.Raw] = {}
    bulk: dict[str, Bulk] = {}
    rows: int = 0
    status: Status = "ok"
    detail: str = ""
    duration_ms: float = 0.0


def encode(
    tables: dict[str, Any], *, rows: int, status: Status, detail: str, duration_ms: float
) -> list[bytes | memoryview]:
    """The frame of a collector's result as buffers to write in turn."""
    small: dict[str, msgspec.Raw] = {}
    bulk: dict[str, Bulk] = {}
    tail: list[bytes | memoryview] = []
    for name, table in tables.items():
        if name in SMALL:
            small[name] = msgspec.Raw(msgspec.msgpack.encode(table))
            continue
        columns = []
        for column in table.COLUMNS:
            array = np.ascontiguousarray(getattr(table, column))
            columns.append(Column(column, array.dtype.str, array.shape, array.nbytes))
            if array.nbytes:
                tail.append(array.reshape(-1).view(np.uint8).data)
        family = getattr(table, "family", "")
        bulk[name] = Bulk(family if isinstance(family, str) else "", tuple(columns), getattr(table, "extras", ()))
    head = msgspec.msgpack.encode(Frame(small, bulk, rows, status, detail, duration_ms))
    return [len(head).to_bytes(8, "little"), head, *tail]


def decode(octets: memoryview) -> tuple[Frame, dict[str, Any]]:
    """The frame and its tables; bulk columns are views of ``octets``. Raises CodecError."""
    try:
        length = int.from_bytes(octets[:8], "little")
        frame = msgspec.msgpack.decode(octets[8 : 8 + length], type=Frame)
        tables: dict[str, Any] = {
            name: msgspec.msgpack.decode(raw, type=SMALL[name]) for name, raw in frame.small.items()
        }
        position = 8 + length
        for name, header in frame.bulk.items():
            cls = BULK[name]
            columns: dict[str, Any] = {}
            for column in header.columns:
                if column.dtype not in DTYPES or column.name not in cls.COLUMNS:
                    raise CodecError(f"{name}.{column.name}: dtype {column.dtype}")
                raw = octets[position : position + column.octets]
                columns[column.name] = np.frombuffer(raw, column.dtype).reshape(column.shape)
                position += column.octets
            if len({len(column) for column in columns.values()}) > 1:
                raise CodecError(f"{name}: columns of different length")
            if cls is Routes:
                columns |= {"family": header.family, "extras": header.extras}
            tables[name] = cls(**columns)
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
        raise CodecError(str(error)) from error
    return frame, tables
