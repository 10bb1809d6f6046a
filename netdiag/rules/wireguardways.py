"""Which way WireGuard's packets go: inner ones to a peer by its prefixes, encrypted ones by the routing tables.

For the rules about routes and allowed addresses. A device chooses the peer by the longest of all prefixes that hold
the inner destination (drivers/net/wireguard/allowedips.c), whatever the route said. Pure; nothing can fail.
"""

import ipaddress
from collections.abc import Iterator
from functools import cache

import numpy as np

from netdiag.index.cryptokey import cryptokey
from netdiag.index.packet import Lookup, Query
from netdiag.index.reach import reachable_tables
from netdiag.index.view import HostView
from netdiag.index.ways import ways
from netdiag.model.finding import Subject, subject
from netdiag.model.link import Link
from netdiag.model.route import RT_TABLE_LOCAL
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.shape import quoted
from netdiag.rules.wireguardpeers import device_subject, devices

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
BEYOND = ("192.0.2.1", "64.0.2.1", "2001:db8::1", "c000::1")
"""Addresses that a default route is for, in each of its halves."""


@cache
def network(prefix: str) -> Network:
    """A prefix as an object."""
    return ipaddress.ip_network(prefix, strict=False)


QUIET = tuple(network(text) for text in ("fe80::/10", "ff00::/8", "224.0.0.0/4", "169.254.0.0/16"))


def family_of(text: str) -> str:
    """``inet`` or ``inet6`` of an address or prefix."""
    return "inet6" if ":" in text else "inet"


@cache
def local_only(held: Network) -> bool:
    """Whether all of a prefix is link-local or multicast: nothing of it is sent on."""
    return any(held.network_address in one and held.prefixlen >= one.prefixlen for one in QUIET)


def alive(view: HostView) -> list[tuple[WireguardDevice, Link]]:
    """Devices with peers whose interface is up."""
    return [(device, link) for device, link in devices(view) if link.up and device.peers]


def peer_for(device: WireguardDevice, address: str) -> WireguardPeer | None:
    """The peer to which the device sends what is meant for an address; None: to nobody."""
    found = cryptokey(device).lookup(address)
    return found.peer if found is not None else None


def way_into(view: HostView, prefix: Network) -> tuple[str, Lookup]:
    """An address of the prefix, and where packets to it go."""
    beyond = (ipaddress.ip_address(address) for address in BEYOND)
    address = str(prefix.network_address if prefix.prefixlen > 1 else next(one for one in beyond if one in prefix))
    return address, view.lookup(Query(family="inet" if prefix.version == 4 else "inet6", dst=address))


def routes_by(view: HostView, family: str, ifindex: int) -> Iterator[tuple[int, int]]:
    """Table and position of each unicast route that has a next hop by the interface; table local is left out."""
    routes = view.routes(family)
    for way in ways(routes, view.nexthops, routes.table != RT_TABLE_LOCAL):
        if way.hop.oif == ifindex:
            yield from ((way.table, int(position)) for position in way.positions)


def usable_tables(view: HostView, family: str) -> dict[int, int]:
    """Tables that policy rules lead to, each with the shortest prefix that counts."""
    return reachable_tables(view.rules, view.links, family)


def default_tables(view: HostView, family: str, ifindex: int) -> set[int]:
    """Tables, reachable or not, whose default route (or both halves of it) leads by the interface."""
    routes = view.routes(family)
    found: dict[int, set[bytes]] = {}
    for table, position in routes_by(view, family, ifindex):
        length = int(routes.dst_len[position])
        if length <= 1:
            found.setdefault(table, set()).add(bytes([length]) + np.asarray(routes.dst[position]).tobytes())
    return {table for table, held in found.items() if any(one[0] == 0 for one in held) or len(held) == 2}


def sending(peer: WireguardPeer, at: float) -> bool:
    """Whether this host sends to a peer, or would at once: by a keepalive, or because its keys are alive."""
    return bool(peer.persistent_keepalive) or (peer.latest_handshake is not None and at - peer.latest_handshake <= 180)


def route_get(device: WireguardDevice, address: str) -> str:
    """The command that asks the kernel for the way of the encrypted packets to an address."""
    mark = f" mark {device.fwmark:#x}" if device.fwmark else ""
    return f"ip route get {quoted(address.partition('%')[0])}{mark}"


def device_objects(device: WireguardDevice) -> list[Subject]:
    """The device and its interface, as what a finding touches."""
    return [device_subject(device), subject("link", ifname=device.ifname)]
