"""Snapshots for the tests of this folder: one by hand, and hypothesis strategies over the whole model.

``snapshots()`` fills every field of every table with any value that the reader accepts, so that a field that is
forgotten by the writer cannot survive a round trip. ``same`` compares two snapshots, columns included.
"""

import ipaddress
import types
import typing
from dataclasses import fields, replace
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st

from netdiag.model.address import Address
from netdiag.model.bridge import Fdb
from netdiag.model.codec import BULK, SMALL
from netdiag.model.conntrack import Conntrack
from netdiag.model.coverage import Coverage
from netdiag.model.link import IFF_UP, Link
from netdiag.model.neighbour import Neighbour, Neighbours, neighbours_from_rows
from netdiag.model.netnsstate import NetnsRows, NetnsState
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import Route, RouteExtra, RouteHop, Routes, routes_from_rows
from netdiag.model.snapshot import Meta, Snapshot, Tables
from netdiag.model.sockets import Sockets
from netdiag.model.tap import Taps

META = Meta(
    netdiag="0.1.0", name="edge1", kernel="6.8.0", boot_id="b", netns="4026531840", taken_at="2026-11-23T17:32:00Z"
)


def route(dst: str, **given: Any) -> Route:
    """A route of the main table."""
    plain: dict[str, Any] = {
        "table": 254,
        "type": "unicast",
        "protocol": 3,
        "scope": 0,
        "priority": 0,
        "tos": 0,
        "flags": 0,
    }
    unset: dict[str, Any] = dict.fromkeys(("oif", "gateway", "prefsrc", "nh_id", "expires", "extra"))
    return Route(**(plain | unset | {"family": "inet6" if ":" in dst else "inet", "dst": dst} | given))


def neighbour(dst: str, ifindex: int, state: str = "reachable") -> Neighbour:
    """A neighbour; a failed one has no hardware address."""
    return Neighbour(
        family="inet6" if ":" in dst else "inet",
        ifindex=ifindex,
        dst=dst,
        lladdr=None if state == "failed" else "02:00:00:00:00:01",
        state=state,
        flags=0,
        protocol=None,
        confirmed=1.5,
        used=None,
        updated=2.0,
        probes=0,
    )


TOGETHER = {"netns", "netns_routes", "netns_routes6", "netns_neighbours"}
"""Tables that only fit each other: they are tried in whole snapshots."""


def small_snapshot() -> Snapshot:
    """A router with two links, a multipath route, neighbours, and a collector that was denied."""
    links = (
        Link(ifindex=1, ifname="lo", type=772, mtu=65536),
        Link(ifindex=2, ifname="eth0", alias="to \x1b[31mparis\u202e", flags=IFF_UP),
        Link(ifindex=3, ifname="eth1", mtu=9000, flags=IFF_UP),
    )
    addresses = (
        Address(ifindex=2, family="inet", local="192.0.2.2", prefixlen=24),
        Address(ifindex=3, family="inet6", local="2001:db8::2", prefixlen=64),
    )
    hops = (RouteHop(oif=2, gateway="192.0.2.1"), RouteHop(oif=3, gateway="192.0.2.9", weight=3))
    v4 = [route("192.0.2.0/24", oif=2, scope=253), route("0.0.0.0/0", extra=RouteExtra(multipath=hops))]
    v6 = [route("::/0", oif=3, gateway="2001:db8::1", extra=RouteExtra(metrics={"mtu": 1400, "lock": 4}))]
    tables = Tables(
        links=links,
        addresses=addresses,
        rules=(PolicyRule(family="inet", priority=32766, table=254),),
        routes=routes_from_rows("inet", v4),
        routes6=routes_from_rows("inet6", v6),
        neighbours=neighbours_from_rows([neighbour("192.0.2.1", 2), neighbour("2001:db8::1", 3, "failed")]),
    )
    coverage = (
        Coverage(collector="links", status="ok", rows=3, duration_ms=1.5),
        Coverage(collector="wireguard", status="denied", detail="needs CAP_NET_ADMIN"),
    )
    return Snapshot(meta=META, tables=tables, coverage=coverage)


def same(one: Snapshot, other: Snapshot) -> bool:
    """Equal in every field, dtype and element; NaN equals NaN."""
    if (one.meta, one.coverage) != (other.meta, other.coverage):
        return False
    return all(_same_table(getattr(one.tables, f.name), getattr(other.tables, f.name)) for f in fields(Tables))


def _same_table(one: Any, other: Any) -> bool:
    if not hasattr(one, "COLUMNS"):
        return bool(one == other)
    for name in one.COLUMNS:
        a, b = getattr(one, name), getattr(other, name)
        if a.dtype != b.dtype or a.shape != b.shape or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            return False
    return all(getattr(one, name, None) == getattr(other, name, None) for name in ("extras",)) and (
        not isinstance(one, Routes) or one.family == other.family
    )


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INT64 = st.integers(-(2**63), 2**63 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
IFINDEX = st.integers(0, 2**31 - 1)
U32 = st.integers(0, 2**32 - 1)
V4 = st.integers(0, 2**32 - 1).map(lambda n: str(ipaddress.IPv4Address(n)))
V6 = st.integers(0, 2**128 - 1).map(lambda n: str(ipaddress.IPv6Address(n)))
ADDRESS = V4 | V6
PORT = st.integers(0, 65535)
HEX = st.binary(max_size=20).map(bytes.hex)
REGISTER = st.none() | st.integers(0, 15)
NFT_LENGTH = st.integers(0, 65535)
JSON_VALUE = st.none() | st.booleans() | INT64 | TEXT | st.lists(TEXT, max_size=2)

NARROW: dict[str, st.SearchStrategy[Any]] = {
    "Link.ifindex": IFINDEX,
    "Link.master": st.none() | IFINDEX,
    "Link.link": st.none() | IFINDEX,
    "Link.flags": U32,
    "Link.mtu": U32,
    "Link.min_mtu": st.none() | U32,
    "Link.max_mtu": st.none() | U32,
    "PeerLink.ifindex": IFINDEX,
    "Nexthop.id": U32,
    "Nexthop.oif": st.none() | IFINDEX,
    "Nexthop.master": st.none() | IFINDEX,
    "Nexthop.gateway": st.none() | ADDRESS,
    "NexthopMember.id": U32,
    "NeighTable.family": st.sampled_from(["inet", "inet6"]),
    "RouteHop.oif": IFINDEX,
    "RouteHop.gateway": st.none() | ADDRESS,
    "RouteExtra.via": st.none() | ADDRESS,
    "RouteExtra.src": st.none() | ADDRESS,
    "WireguardDevice.ifindex": st.none() | IFINDEX,
    "Networkd.managed": st.lists(IFINDEX, max_size=3).map(tuple),
    "WireguardDevice.listen_port": st.none() | PORT,
    "WireguardDevice.fwmark": U32,
    "WireguardPeer.endpoint": st.none() | ADDRESS,
    "WireguardPeer.endpoint_port": st.none() | PORT,
    "WireguardPeer.allowed_ips": st.lists(ADDRESS.map(lambda text: f"{text}/32"), max_size=2).map(tuple),
    "RouteExtra.src_len": st.integers(0, 128),
    "NftExpression.offset": st.none() | U32,
    "NftExpression.length": st.none() | U32,
    "NftElement.key": HEX,
    "NftSet.key_type": U32,
    "NftSet.key_len": NFT_LENGTH,
    "NftSet.fields": st.lists(NFT_LENGTH, max_size=3).map(tuple),
    "NftSet.data_type": st.none() | U32,
    "NftSet.data_len": st.none() | NFT_LENGTH,
    "NftSet.size": st.none() | U32,
} | {f"PolicyRule.{name}": st.none() | U32 for name in ("table", "goto", "fwmark", "fwmask", "uid_start", "uid_end")}
NARROW |= {f"NftExpression.{name}": REGISTER for name in ("dreg", "sreg", "sreg_max", "sreg_port", "sreg_port_max")}
NARROW |= {f"NftExpression.{name}": st.none() | HEX for name in ("value", "value_max", "mask", "xor")}
NARROW |= {f"NftElement.{name}": st.none() | HEX for name in ("key_end", "value")}
FAMILY_FIELDS = {
    "Address": {"ifindex": IFINDEX, "flags": U32},
    "PolicyRule": {"priority": U32},
    "PathMtu": {
        "ifindex": st.none() | IFINDEX,
        "mtu": U32,
        "table": st.none() | U32,
        "gateway": st.none() | ADDRESS,
        "expires": st.none() | st.floats(-1, 1e6),
    },
}


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type annotation of the model."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([of_type(arg) for arg in args])
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(of_type(args[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(of_type(args[0]), of_type(args[1]), max_size=3)
    plain = {str: TEXT, int: INT64, bool: st.booleans(), float: FINITE, type(None): st.none(), Any: JSON_VALUE}
    return plain[kind] if kind in plain else struct(kind)


def struct(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a struct of the model, with addresses that fit its family where it has one."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in msgspec.structs.fields(kind)]
    each = {name: NARROW.get(f"{kind.__name__}.{name}") for name in names}
    if kind.__name__ in FAMILY_FIELDS:
        return st.sampled_from(["inet", "inet6"]).flatmap(lambda family: _with_family(kind, family))
    return st.builds(
        kind, **{name: given if given is not None else of_type(hints[name]) for name, given in each.items()}
    )


def _with_family(kind: Any, family: str) -> st.SearchStrategy[Any]:
    address, bits = (V4, 32) if family == "inet" else (V6, 128)
    hints = typing.get_type_hints(kind)
    chosen: dict[str, st.SearchStrategy[Any]] = {}
    for field in msgspec.structs.fields(kind):
        name = field.name
        if name in ("local", "peer", "broadcast", "anycast", "src", "dst"):
            needed = name == "local" or kind.__name__ == "PathMtu"
            chosen[name] = address if needed else st.none() | address
        elif name in ("prefixlen", "src_len", "dst_len"):
            chosen[name] = st.integers(0, bits)
        else:
            given = FAMILY_FIELDS[kind.__name__].get(name, NARROW.get(f"{kind.__name__}.{name}"))
            chosen[name] = of_type(hints[name]) if given is None else given
    chosen["family"] = st.just(family)
    return st.builds(kind, **chosen)


@st.composite
def bulk(draw: st.DrawFn, name: str) -> Any:
    """Any bulk table of up to five rows: random bytes, then what must be narrow is made narrow."""
    like = getattr(Tables(), name)
    rows = draw(st.integers(0, 5))
    columns: dict[str, Any] = {}
    for column in like.COLUMNS:
        empty = getattr(like, column)
        size = rows * empty.dtype.itemsize * int(np.prod(empty.shape[1:], dtype=int))
        octets = draw(st.binary(min_size=size, max_size=size))
        columns[column] = np.frombuffer(octets, empty.dtype).reshape(rows, *empty.shape[1:])
    if isinstance(like, Neighbours):
        columns["family"] = np.where(columns["family"] % 2, 2, 10).astype(np.uint8)
        columns["ifindex"] = columns["ifindex"] & 0x7FFFFFFF
        columns["lladdr_len"] = columns["lladdr_len"] % 33
        for age in ("confirmed", "used", "updated"):
            columns[age] = np.where(np.isinf(columns[age]), np.float32(1), columns[age])
        return Neighbours(**columns)
    if isinstance(like, Sockets):
        columns["family"] = np.array([2, 10, 17], np.uint8)[columns["family"] % 3]
        columns["ifindex"] = columns["ifindex"] & 0x7FFFFFFF
        return Sockets(**columns)
    if isinstance(like, Fdb):
        for name in ("ifindex", "master"):
            columns[name] = columns[name] & 0x7FFFFFFF
        columns["dst_len"] = columns["dst_len"] % 17
        for age in ("updated", "used"):
            columns[age] = np.where(np.isinf(columns[age]), np.float32(1), columns[age])
        return Fdb(**columns)
    if isinstance(like, Conntrack):
        columns["family"] = np.where(columns["family"] % 2, 2, 10).astype(np.uint8)
        return Conntrack(**columns)
    extras = tuple(draw(st.lists(struct(RouteExtra), max_size=3)))
    columns["dst_len"] = columns["dst_len"] % (33 if like.family == "inet" else 129)
    columns["oif"] = columns["oif"] & 0x7FFFFFFF
    columns["expires"] = np.maximum(columns["expires"], -1)
    columns["extra"] = (columns["extra"] % (len(extras) + 1) - 1).astype(np.int32)
    return Routes(family=like.family, extras=extras, **columns)


SPACE = st.builds(
    NetnsState,
    inode=INT64,
    name=st.none() | TEXT,
    path=st.none() | TEXT,
    coverage=of_type(tuple[Coverage, ...]),
    links=st.lists(struct(Link), max_size=1).map(tuple),
    taps=struct(Taps),
)
"""Another namespace; what it shares with the host's own tables is tried there."""


def tables() -> st.SearchStrategy[Tables]:
    """Any tables."""
    small = {name: of_type(kind) for name, kind in SMALL.items() if name != "netns"}
    spaces = st.lists(SPACE, max_size=1).map(tuple)
    return st.builds(Tables, **small, netns=spaces, **{name: bulk(name) for name in BULK}).map(_shared_out)


def _shared_out(tables: Tables) -> Tables:
    """The namespace, if there is one, has all rows of its bulk tables; else there are none."""
    nothing = Tables()
    names = ("routes", "routes6", "neighbours")
    if not tables.netns:
        return replace(tables, **{f"netns_{name}": getattr(nothing, f"netns_{name}") for name in names})
    rows = NetnsRows(**{name: len(getattr(tables, f"netns_{name}")) for name in names})
    return replace(tables, netns=(msgspec.structs.replace(tables.netns[0], rows=rows),))


def snapshots() -> st.SearchStrategy[Snapshot]:
    """Any snapshot."""
    metas = struct(Meta).map(lambda meta: msgspec.structs.replace(meta, schema="netdiag.snapshot/1"))
    return st.builds(Snapshot, meta=metas, tables=tables(), coverage=of_type(tuple[Coverage, ...]))
