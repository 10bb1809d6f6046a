"""The subnets that interfaces are connected to, which of them lie inside which, and which interfaces share a wire.

A connected subnet is the kernel's own route to it (proto kernel, no gateway; net/ipv4/fib_frontend.c
fib_add_ifaddr(), net/ipv6/addrconf.c addrconf_prefix_route()), not merely an address with a length: a route that was
taken away, or is ignored for want of a carrier, takes nothing from anybody. NetworkManager, systemd-networkd and dhcpcd
keep the kernel from making it (noprefixroute) and write their own, proto ra or dhcp, which counts beside an address in
it. Pure; asks for links, addresses and routes.
"""

import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.address import Address
from netdiag.model.distinct import among
from netdiag.model.link import Link
from netdiag.model.route import RTN_UNICAST, RTNH_F_DEAD, RTNH_F_LINKDOWN, Route

RTPROT_KERNEL, RTPROT_RA, RTPROT_DHCP = 2, 9, 16
"""Who makes connected routes (include/uapi/linux/rtnetlink.h)."""
LINK_LOCAL = {"inet": ipaddress.ip_network("169.254.0.0/16"), "inet6": ipaddress.ip_network("fe80::/10")}
"""RFC 3927, RFC 4291: these ranges belong to their link, so every link may have them."""
_NEAREST = 8
"""Subnets around another one that are given: a thousand equal ones are one fault."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Subnet(NamedTuple):
    """A connected subnet: the route to it, of the kernel or of who stands in for it."""

    network: Network
    link: Link
    route: Route
    address: Address | None
    """The address of the interface that brought it, where it can be told."""


def connected(view: HostView, family: str) -> list[Subnet]:
    """Every connected subnet that is in use and can hold other hosts, in dump order."""
    routes = view.routes(family)
    longest = 126 if family == "inet6" else 30
    mask = (
        among(routes.protocol, (RTPROT_KERNEL, RTPROT_RA, RTPROT_DHCP))
        & (routes.type == RTN_UNICAST)
        & (routes.dst_len <= longest)
    )
    mask &= (routes.oif > 0) & (routes.dst_len > 0)
    owners: dict[int, list[Address]] = {}
    for row in view.addresses:
        if row.family == family:
            owners.setdefault(row.ifindex, []).append(row)
    found = []
    for route in routes.rows(np.flatnonzero(mask)):
        link = view.link(route.oif or 0)
        network = ipaddress.ip_network(route.dst)
        if link is None or not link.up or link.loopback or route.gateway is not None or _dead(route):
            continue
        if network.network_address in LINK_LOCAL[family]:
            continue
        mine = owners.get(link.ifindex, [])
        fitting = [row for row in mine if ipaddress.ip_address(row.local) in network]
        if route.protocol != RTPROT_KERNEL and not fitting:
            continue
        address = next((row for row in fitting if row.local == route.prefsrc), fitting[0] if fitting else None)
        found.append(Subnet(network, link, route, address))
    return found


def _dead(route: Route) -> bool:
    """No carrier, and the interface's routes are to be ignored then (ignore_routes_with_linkdown)."""
    return bool(route.flags & RTNH_F_DEAD and route.flags & RTNH_F_LINKDOWN)


def overlaps(subnets: list[Subnet]) -> Iterator[tuple[Subnet, list[Subnet]]]:
    """Each subnet with those of the same table that hold it whole, the narrowest first.

    Equal subnets come in the order in which the kernel tries them: by metric, then as dumped. Only the nearest few
    are given.
    """
    for table in dict.fromkeys(subnet.route.table for subnet in subnets):
        rows = [subnet for subnet in subnets if subnet.route.table == table]
        rows.sort(key=lambda row: (int(row.network.network_address), row.network.prefixlen, row.route.priority))
        around: list[Subnet] = []
        for row in rows:
            first = int(row.network.network_address)
            while around and int(around[-1].network.broadcast_address) < first:
                around.pop()
            yield row, around[: -_NEAREST - 1 : -1]
            around.append(row)


def segment(view: HostView, link: Link) -> tuple[str, int]:
    """A name for the wire that an interface is on, as far as this namespace knows: equal names, same wire."""
    if link.kind in ("macvlan", "ipvlan"):
        link = view.stack.lower(link.ifindex) or link
    far = view.stack.veth_peer(link.ifindex) if link.link_netnsid is None else None
    if far is not None:
        master = view.stack.master(far.ifindex)
        if master is not None and master.kind == "bridge":
            return ("bridge", master.ifindex)
        return ("cable", min(link.ifindex, far.ifindex))
    return ("bridge" if link.kind == "bridge" else "device", link.ifindex)
