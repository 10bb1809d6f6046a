"""Are the values of a loaded snapshot values that a collector could have read?

Types are already right when this is asked (msgspec, ``column``). Here: every position that points somewhere points
inside, every index and length is in the kernel's range, every address is an address. The rest of netdiag may then
compute with them without asking again. What is wrong raises ``ValueError`` that names the table and the field;
nothing else can fail.
"""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from netdiag.model.address import Address
from netdiag.model.bridge import Fdb
from netdiag.model.conntrack import Conntrack
from netdiag.model.link import Link
from netdiag.model.neighbour import Neighbours
from netdiag.model.nexthop import Nexthop
from netdiag.model.pathmtu import PathMtu
from netdiag.model.plainaddress import packed
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RouteExtra, Routes
from netdiag.model.snapshot import Tables
from netdiag.model.sockets import Sockets
from netdiag.model.wireguard import WireguardDevice
from netdiag.snapshotfile.nftchecks import check_nft

BITS = {"inet": 32, "inet6": 128}
IFINDEX_MAX = 2**31 - 1
U32_MAX = 2**32 - 1
PORT_MAX = 2**16 - 1
AF_NUMBERS = (2, 10)
LENGTHS = {octets: frozenset(map(str, range(octets * 8 + 1))) for octets in (4, 16)}
"""How the length of a prefix is written, by the octets of its address."""


def check_tables(tables: Tables) -> None:
    """Raise ValueError where a value is outside what the kernel can say."""
    for link in tables.links:
        _link("links", link)
    for peer_link in tables.peer_links:
        _index("peer_links.ifindex", peer_link.ifindex)
        _link("peer_links", peer_link.peer)
    for address in tables.addresses:
        _address_row(address)
    _routes("routes", tables.routes, "inet")
    _routes("routes6", tables.routes6, "inet6")
    for rule in tables.rules:
        _rule(rule)
    for nexthop in tables.nexthops:
        _nexthop(nexthop)
    for path_mtu in tables.path_mtus:
        _path_mtu(path_mtu)
    _neighbours(tables.neighbours)
    _conntrack(tables.conntrack)
    _spaces(tables)
    _sockets(tables.sockets)
    _fdb(tables.fdb)
    for ifindex in tables.identity.networkd.managed if tables.identity.networkd else ():
        _index("identity.networkd.managed", ifindex)
    for device in tables.wireguard.devices:
        _wireguard(device)
    check_nft(tables.nft)
    for neigh_table in tables.neigh_tables:
        _family("neigh_tables", neigh_table.family)


def _spaces(tables: Tables) -> None:
    """Other namespaces: their own rows, and that their shares of the bulk tables add up."""
    _routes("netns_routes", tables.netns_routes, "inet")
    _routes("netns_routes6", tables.netns_routes6, "inet6")
    _neighbours(tables.netns_neighbours)
    for name in ("routes", "routes6", "neighbours"):
        shares = [getattr(state.rows, name) for state in tables.netns]
        if min(shares, default=0) < 0 or sum(shares) != len(getattr(tables, f"netns_{name}")):
            raise ValueError(f"netns.rows.{name} does not add up to the rows of netns_{name}")
    for state in tables.netns:
        for link in state.links:
            _link("netns.links", link)
        for address in state.addresses:
            _address_row(address)
        for rule in state.rules:
            _rule(rule)
        for nexthop in state.nexthops:
            _nexthop(nexthop)
        for device in state.wireguard.devices:
            _wireguard(device)


def _within(field: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise ValueError(f"{field} is {value}, outside {low} to {high}")


def _index(field: str, value: int | None) -> None:
    _within(field, value, 0, IFINDEX_MAX)


def _family(table: str, family: str) -> int:
    bits = BITS.get(family)
    if bits is None:
        raise ValueError(f"{table}.family is {family[:20]!r}")
    return bits


def _ip(field: str, text: str | None, bits: int | None = None) -> None:
    """``bits``: 32 or 128 where only that family fits; None: either."""
    if text is None:
        return
    plain = packed(text)
    if plain is not None and bits in (None, len(plain) * 8):
        return
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{field} is {text[:60]!r}, not an address") from None
    if bits is not None and address.max_prefixlen != bits:
        raise ValueError(f"{field} is {text[:60]!r}, of the other family")


def _link(table: str, link: Link) -> None:
    for name in ("ifindex", "master", "link"):
        _index(f"{table}.{name}", getattr(link, name))
    for name in ("flags", "mtu", "min_mtu", "max_mtu"):
        _within(f"{table}.{name}", getattr(link, name), 0, U32_MAX)


def _address_row(address: Address) -> None:
    bits = _family("addresses", address.family)
    _index("addresses.ifindex", address.ifindex)
    _within("addresses.prefixlen", address.prefixlen, 0, bits)
    _within("addresses.flags", address.flags, 0, U32_MAX)
    for name in ("local", "peer", "broadcast", "anycast"):
        _ip(f"addresses.{name}", getattr(address, name), bits)


def _rule(rule: PolicyRule) -> None:
    bits = _family("rules", rule.family)
    for name in ("priority", "table", "goto", "fwmark", "fwmask", "uid_start", "uid_end"):
        _within(f"rules.{name}", getattr(rule, name), 0, U32_MAX)
    for name in ("src", "dst"):
        _ip(f"rules.{name}", getattr(rule, name), bits)
        _within(f"rules.{name}_len", getattr(rule, f"{name}_len"), 0, bits)


def _nexthop(nexthop: Nexthop) -> None:
    _within("nexthops.id", nexthop.id, 0, U32_MAX)
    for name in ("oif", "master"):
        _index(f"nexthops.{name}", getattr(nexthop, name))
    _ip("nexthops.gateway", nexthop.gateway)
    for member in nexthop.group:
        _within("nexthops.group.id", member.id, 0, U32_MAX)


def _path_mtu(row: PathMtu) -> None:
    bits = _family("path_mtus", row.family)
    _ip("path_mtus.dst", row.dst, bits)
    _ip("path_mtus.gateway", row.gateway)
    _index("path_mtus.ifindex", row.ifindex)
    for name in ("mtu", "table"):
        _within(f"path_mtus.{name}", getattr(row, name), 0, U32_MAX)
    if row.expires is not None and not -1 <= row.expires <= IFINDEX_MAX:
        raise ValueError("path_mtus.expires is no number of seconds")


def _wireguard(device: WireguardDevice) -> None:
    _index("wireguard.ifindex", device.ifindex)
    _within("wireguard.listen_port", device.listen_port, 0, PORT_MAX)
    _within("wireguard.fwmark", device.fwmark, 0, U32_MAX)
    for peer in device.peers:
        _ip("wireguard.peers.endpoint", peer.endpoint)
        _within("wireguard.peers.endpoint_port", peer.endpoint_port, 0, PORT_MAX)
        for prefix in peer.allowed_ips:
            _prefix("wireguard.peers.allowed_ips", prefix)


def _prefix(field: str, text: str) -> None:
    address, _, length = text.partition("/")
    plain = packed(address)
    if plain is not None and length in LENGTHS[len(plain)]:
        return
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{field} holds {text[:60]!r}, not a prefix") from None


def _column(field: str, column: Any, low: int, high: int) -> None:
    if len(column) and not (int(column.min()) >= low and int(column.max()) <= high):
        raise ValueError(f"{field} holds a value outside {low} to {high}")


def _routes(table: str, routes: Routes, family: str) -> None:
    if routes.family != family:
        raise ValueError(f"{table}.family is {routes.family[:20]!r}")
    _column(f"{table}.dst_len", routes.dst_len, 0, BITS[family])
    _column(f"{table}.oif", routes.oif, 0, IFINDEX_MAX)
    _column(f"{table}.extra", routes.extra, -1, len(routes.extras) - 1)
    _column(f"{table}.expires", routes.expires, -1, IFINDEX_MAX)
    _extras(table, routes.extras)


def _extras(table: str, extras: Iterable[RouteExtra]) -> None:
    for extra in extras:
        _ip(f"{table}.extras.via", extra.via)
        _ip(f"{table}.extras.src", extra.src)
        _within(f"{table}.extras.src_len", extra.src_len, 0, 128)
        for hop in extra.multipath:
            _index(f"{table}.extras.multipath.oif", hop.oif)
            _ip(f"{table}.extras.multipath.gateway", hop.gateway)


def _conntrack(conntrack: Conntrack) -> None:
    if not np.isin(conntrack.family, AF_NUMBERS).all():
        raise ValueError("conntrack.family holds a value that is neither AF_INET nor AF_INET6")


def _neighbours(neighbours: Neighbours) -> None:
    if not np.isin(neighbours.family, AF_NUMBERS).all():
        raise ValueError("neighbours.family holds a value that is neither AF_INET nor AF_INET6")
    _column("neighbours.ifindex", neighbours.ifindex, 0, IFINDEX_MAX)
    _column("neighbours.lladdr_len", neighbours.lladdr_len, 0, neighbours.lladdr.shape[1])
    for name in ("confirmed", "used", "updated"):
        if np.isinf(getattr(neighbours, name)).any():
            raise ValueError(f"neighbours.{name} holds an infinite age")


def _sockets(sockets: Sockets) -> None:
    if not np.isin(sockets.family, (*AF_NUMBERS, 17)).all():
        raise ValueError("sockets.family holds a value that is none of AF_INET, AF_INET6 and AF_PACKET")
    _column("sockets.ifindex", sockets.ifindex, 0, IFINDEX_MAX)


def _fdb(fdb: Fdb) -> None:
    _column("fdb.ifindex", fdb.ifindex, 0, IFINDEX_MAX)
    _column("fdb.master", fdb.master, 0, IFINDEX_MAX)
    _column("fdb.dst_len", fdb.dst_len, 0, fdb.dst.shape[1])
    for name in ("updated", "used"):
        if np.isinf(getattr(fdb, name)).any():
            raise ValueError(f"fdb.{name} holds an infinite age")


CHECKED: dict[str, Callable[..., None]] = {
    "routes": _routes,
    "routes6": _routes,
    "neighbours": _neighbours,
    "conntrack": _conntrack,
    "sockets": _sockets,
    "fdb": _fdb,
    "netns_routes": _routes,
    "netns_routes6": _routes,
    "netns_neighbours": _neighbours,
}
"""Which bulk tables have their columns checked; a test compares this with netdiag.model.codec.BULK."""
