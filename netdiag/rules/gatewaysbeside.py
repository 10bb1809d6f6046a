"""A gateway that the prefix of an interface's address just misses; and whether there is any way at all.

Used where the length of a prefix is judged. Pure; asks for links, addresses, routes, rules and nexthops; ValueError for
an address that is none.
"""

import ipaddress

from netdiag.index.view import HostView
from netdiag.model.address import Address
from netdiag.model.distinct import among
from netdiag.model.route import RTN_UNICAST
from netdiag.rules.routing.route_onlink_missing_gateway import attached, by_gateway, holds


def in_net(local: str, length: int, other: str) -> bool:
    """Whether an address lies in the net of that length around another one."""
    return ipaddress.ip_address(other) in ipaddress.ip_network(f"{local}/{length}", strict=False)


def any_route(view: HostView) -> bool:
    """Whether IPv4 has any way to somebody else."""
    routes = view.routes("inet")
    outwards = [link.ifindex for link in view.links if not link.loopback]
    return bool(((routes.type == RTN_UNICAST) & (among(routes.oif, outwards) | (routes.oif == 0))).any())


def gateway_beside(view: HostView, row: Address) -> str | None:
    """A gateway of the interface in the net around the address (/24, /64) that is attached by nothing."""
    around = 24 if row.family == "inet" else 64
    mine = [one for one in view.addresses if (one.ifindex, one.family, one.scope) == (row.ifindex, row.family, 0)]
    if len(mine) > 1:
        return None  # of several addresses, which one has the wrong length?
    places = by_gateway(view, row.family)
    near = [at for ifindex, at in places if ifindex == row.ifindex and in_net(row.local, around, at)]
    beside = [at for at in near if not in_net(row.local, row.prefixlen, at)]
    networks = attached(view, row.family, [row.ifindex]).get(row.ifindex, []) if beside else []
    own = {address.local for address in view.addresses}
    return next((at for at in beside if not holds(networks, at) and at not in own), None)
