"""Who is behind this host: the interfaces of guests (virtual machines, containers), and the ways out beyond them.

Told from links, addresses and routes alone. A guest's interface is a tap, one end of a veth pair whose other end lives
in another namespace, or a bridge all of whose ports are such. It is told how sure that is: host routes without a
gateway were put there for guests, while a subnet on a tap may be a VPN's, and the veth of a container seen from inside
is its way out. An interface with a default route is never a guest's.

Vectorised over the routes: a table of a million rows is looked at once. Pure; nothing can fail.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from netdiag.index.links import PAIRED, LinkStack
from netdiag.model.address import Address
from netdiag.model.distinct import among, distinct, runs
from netdiag.model.link import Link
from netdiag.model.route import RTN_UNICAST, RouteHop, Routes, address_text

Mask = npt.NDArray[np.bool_]

KERNEL = 2
"""RTPROT_KERNEL: connected routes, and the route to the far end of a point-to-point address."""
WIRES = (None, "bond", "team", "vlan", "macsec")
"""Kinds of interfaces with a wire behind them."""
ARPHRD_ETHER = 1
SMALL_V4 = 29
"""Bits: a tap with an IPv4 subnet of up to eight addresses is a single guest's; VPNs give their taps wider ones."""


@dataclass(frozen=True, kw_only=True)
class GuestSide:
    """An interface with guests behind it."""

    link: Link
    prefix: str
    """One of the prefixes behind it, the lowest: ``10.1.0.5/32``."""
    count: int
    """How many prefixes there are."""
    kind: str
    """``routed``: host routes to guests; ``bridged``: a subnet on a bridge with taps; ``small``: a subnet for one guest
    on a tap; ``subnet``: a wider one on a tap, which may be a VPN's; ``cables``: one on a bridge of veth ends alone,
    whose other ends may be containers or other hosts."""
    addressed: bool
    """This host has an address of the family on it, a link-local one not counted: it plays the guests' gateway."""
    machines: bool
    """There are taps: somebody runs virtual machines here (or a VPN with a tap)."""


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Both sides of a host for one family."""

    guests: tuple[GuestSide, ...]
    exits: tuple[Link, ...]
    """Interfaces with a way further on: a gateway, a default route, or a tunnel with routes; no guest's."""


def faces_guest(link: Link) -> bool:
    """A tap, or a veth end whose other end lives in another namespace."""
    if link.kind == "tun":
        return link.info.get("type") == "tap"
    return link.kind in PAIRED and link.link_netnsid is not None


def switched(stack: LinkStack, link: Link) -> bool:
    """A bridge with a card, a bond or a VLAN among its ports: what is behind it is a network as behind that port, also
    where guests hang on it (``vmbr0``)."""
    ports = stack.ports(link.ifindex) if link.kind == "bridge" else ()
    return any(port.kind in WIRES and port.type == ARPHRD_ETHER for port in ports)


def sides(stack: LinkStack, routes: Routes, addresses: Iterable[Address]) -> Sides:
    """The guests' interfaces of one family that are up, by name, and the ways out."""
    onward, default = _onward(routes)
    candidates = [link for link in stack.links if link.up and _may_face_guests(stack, link)]
    subnets: dict[int, list[Any]] = {}
    for address in addresses:
        if address.family == routes.family and address.scope == 0:
            network = ipaddress.ip_network(f"{address.peer or address.local}/{address.prefixlen}", strict=False)
            subnets.setdefault(address.ifindex, []).append(network)
    hosts = _host_routes(routes, {link.ifindex for link in candidates}, subnets)
    found = {}
    for link in candidates:
        side = _side(stack, link, hosts.get(link.ifindex), subnets.get(link.ifindex, []))
        if side is None or link.ifindex in default:
            continue
        # A gateway behind an interface makes it a way out, unless it is a machine's: a guest may route for others.
        if link.ifindex not in onward or (side.machines and side.kind in ("routed", "bridged")):
            found[link.ifindex] = side
    tunnels = {link.ifindex for link in stack.links if _tunnel(link)} & _devices(routes)
    ways = (onward | default | tunnels) - set(found)
    exits = [link for link in stack.links if link.up and link.ifindex in ways]
    return Sides(
        guests=tuple(sorted(found.values(), key=lambda side: side.link.ifname)),
        exits=tuple(sorted(exits, key=lambda link: (link.ifindex not in default, link.ifname))),
    )


def _tunnel(link: Link) -> bool:
    """WireGuard of the kernel, or a tun, which is what WireGuard and other VPNs in userspace have."""
    return link.kind == "wireguard" or (link.kind == "tun" and link.info.get("type") == "tun")


def _may_face_guests(stack: LinkStack, link: Link) -> bool:
    ports = stack.ports(link.ifindex) if link.kind == "bridge" else ()
    return faces_guest(link) or (any(port.up for port in ports) and all(faces_guest(port) for port in ports))


def _side(stack: LinkStack, link: Link, hosts: tuple[str, int] | None, subnets: list[Any]) -> GuestSide | None:
    machines = any(each.kind == "tun" for each in (link, *stack.ports(link.ifindex)))
    common: dict[str, Any] = {"link": link, "addressed": bool(subnets), "machines": machines}
    if hosts is not None:
        return GuestSide(prefix=hosts[0], count=hosts[1], kind="routed", **common)
    wider = sorted(subnet for subnet in subnets if subnet.num_addresses > 1)
    if not wider or link.kind not in ("bridge", "tun"):
        return None
    kind = ("bridged" if machines else "cables") if link.kind == "bridge" else "subnet"
    if link.kind == "tun" and wider[0].version == 4 and all(subnet.prefixlen >= SMALL_V4 for subnet in wider):
        kind = "small"
    return GuestSide(prefix=str(wider[0]), count=len(wider), kind=kind, **common)


def _unicast(routes: Routes) -> Mask:
    return np.asarray(routes.type == RTN_UNICAST)


def with_gateway(routes: Routes) -> Mask:
    """Rows with a next hop that has a gateway, of either family."""
    gateway = routes.gateway != 0 if routes.gateway.ndim == 1 else routes.gateway.any(axis=1)
    legs = ((extra.via, *(hop.gateway for hop in extra.multipath)) for extra in routes.extras)
    pointers = [pointer for pointer, gateways in enumerate(legs) if any(gateways)]
    return np.asarray(gateway | among(routes.extra, pointers) if pointers else gateway)


def _hops(routes: Routes, rows: Mask) -> list[RouteHop]:
    """The next hops of the multipath routes among the rows."""
    pointers = distinct(routes.extra[rows & (routes.extra >= 0)]).tolist()
    return [hop for pointer in pointers for hop in routes.extras[pointer].multipath]


def _indexes(column: npt.NDArray[np.int32]) -> set[int]:
    return set(distinct(column).tolist()) - {0}


def _devices(routes: Routes) -> set[int]:
    return _indexes(routes.oif[_unicast(routes)])


def _onward(routes: Routes) -> tuple[set[int], set[int]]:
    """Interfaces with a gateway behind them, and interfaces with a default route."""
    unicast = _unicast(routes)
    whole = unicast & (routes.dst_len == 0)
    onward = _indexes(routes.oif[unicast & with_gateway(routes)])
    onward |= {hop.oif for hop in _hops(routes, unicast) if hop.gateway is not None}
    return onward, _indexes(routes.oif[whole]) | {hop.oif for hop in _hops(routes, whole)}


def _host_routes(routes: Routes, candidates: set[int], subnets: dict[int, list[Any]]) -> dict[int, tuple[str, int]]:
    """Routes to single addresses without a gateway that somebody put there: by interface the lowest, and how many.

    Not counted: what the kernel makes for point-to-point addresses, link-local addresses (a container's gateway), and
    neighbours in the interface's own subnet (a route with an mtu or a source of its own): they are reached anyway.
    """
    v4 = routes.family == "inet"
    rows = _unicast(routes) & ~with_gateway(routes) & (routes.dst_len == (32 if v4 else 128))
    rows &= (routes.protocol != KERNEL) & among(routes.oif, sorted(candidates))
    dst = routes.dst
    rows &= (dst >> 16 != 0xA9FE) if v4 else ~((dst[:, 0] == 0xFE) & (dst[:, 1] & 0xC0 == 0x80))
    positions = np.array([n for n in np.flatnonzero(rows).tolist() if not _at_home(routes, n, subnets)], dtype=np.intp)
    parts = [dst[positions]] if v4 else list(dst[positions].T[::-1])
    ordered = positions[np.lexsort((*parts, routes.oif[positions]))]
    indexes, first = runs(routes.oif[ordered])
    count = np.diff(first, append=len(ordered))
    lowest = [routes.row(position).dst for position in ordered[first].tolist()]
    return dict(zip(indexes.tolist(), zip(lowest, count.tolist(), strict=True), strict=True))


def _at_home(routes: Routes, position: int, subnets: dict[int, list[Any]]) -> bool:
    """Whether the address of a host route lies in a subnet of more than itself on the same interface."""
    own = [subnet for subnet in subnets.get(int(routes.oif[position]), []) if subnet.num_addresses > 1]
    return bool(own) and any(ipaddress.ip_address(address_text(routes.dst[position])) in subnet for subnet in own)
