"""Routes of BIRD whose next hop could not be resolved, apart from those that refuse packets on purpose; and who is told
about them.

BIRD gives such a route the type unreachable and keeps it, installs it and announces it. Meant are static routes with
the word ``unreachable`` and BGP routes with a blackhole community (RFC 7999 and its private forerunners, ``*:666``).
A directly connected eBGP session takes no route whose next hop is elsewhere ("gateway direct"), and resolves it at once
where it is on the link: there a filter made the route unreachable. With "gateway recursive" such a session takes any,
so that a next hop on no link of the host is one that was not resolved. Pure.
"""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import NamedTuple

import numpy as np

from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.bird import BirdProtocol, UnresolvedRoute
from netdiag.model.route import RTN_UNREACHABLE

BIRD = 12
"""RTPROT_BIRD."""
NAMED = 3
"""So many prefixes are named."""


class Lost(NamedTuple):
    """One unresolved route."""

    socket: str
    route: UnresolvedRoute
    protocol: BirdProtocol
    told: tuple[str, ...]
    """Names of the BGP sessions that it is announced to."""


def known(view: HostView) -> bool:
    """Whether every daemon that was asked for its routes told about the unreachable ones."""
    return all(daemon.unresolved is not None for daemon in view.bird_routes)


def on_link(view: HostView, protocol: BirdProtocol, hop: str) -> bool:
    """The next hop is the neighbour itself, or in a subnet of this host."""
    try:
        address = ip_address(hop)
        subnets = (ip_network(f"{row.local}/{row.prefixlen}", strict=False) for row in view.addresses)
        return hop == protocol.neighbor_address or address.is_link_local or any(address in one for one in subnets)
    except ValueError:
        return True  # not told: nothing is known against it


def meant(view: HostView, route: UnresolvedRoute, protocol: BirdProtocol) -> bool:
    """It refuses on purpose."""
    if any(community.rpartition(":")[2] == "666" for community in route.communities):
        return True
    if protocol.proto == "BGP":
        direct = "multihop" not in (protocol.session or "multihop")
        return route.next_hop is None or (direct and on_link(view, protocol, route.next_hop))
    return not route.recursive


def reflected(origin: BirdProtocol | None, to: BirdProtocol) -> bool:
    """From one internal session to another: the next hop stays, and the receiver resolves it by itself."""
    return all(row is not None and row.local_as is not None and row.local_as == row.neighbor_as for row in (origin, to))


def held(view: HostView) -> dict[str, tuple[str, int]]:
    """Prefixes of BIRD's unreachable routes in the kernel, with family and table."""
    found = {}
    for family in ("inet", "inet6"):
        routes = view.routes(family)
        chosen = np.flatnonzero((routes.type == RTN_UNREACHABLE) & (routes.protocol == BIRD))[:4096]
        found.update({row.dst: (family, row.table) for row in view.route_rows(family, chosen.tolist())})
    return found


def lost(view: HostView) -> Iterator[Lost]:
    """Every best route whose next hop was not resolved, by daemon in its order."""
    protocols = {(daemon.socket, row.name): row for daemon in view.bird.daemons for row in daemon.protocols}
    for daemon in view.bird_routes:
        told: dict[str, list[str]] = {}
        for listed in daemon.exports:
            to = protocols.get((daemon.socket, listed.protocol))
            if to is None or to.proto != "BGP" or to.state != "up":
                continue
            for route in listed.routes or ():
                origin = protocols.get((daemon.socket, route.protocol or ""))
                if route.type == "unreachable" and not reflected(origin, to):
                    told.setdefault(route.net, []).append(listed.protocol)
        for one in daemon.unresolved or ():
            protocol = protocols.get((daemon.socket, one.protocol or ""))
            if one.best and protocol is not None and not meant(view, one, protocol):
                yield Lost(daemon.socket, one, protocol, tuple(told.get(one.net, ())))


def kept_out(view: HostView, row: Lost) -> bool:
    """Whether a filter keeps it from the kernel, to which this daemon gives others, and it goes to nobody else: a route
    reflector would pass it on."""
    net, table = row.route.net, row.route.table
    kernels = (
        channel
        for daemon in view.bird.daemons
        if daemon.socket == row.socket
        for protocol in daemon.protocols
        if protocol.proto == "Kernel"
        for channel in protocol.channels
    )
    given = any(one.table == table and one.output_filter not in (None, "REJECT") for one in kernels)
    lists = (listed for daemon in view.bird_routes if daemon.socket == row.socket for listed in daemon.exports)
    return given and not any(route.net == net for listed in lists for route in listed.routes or ())


def grouped(rows: Iterator[Lost]) -> dict[tuple[str, str, str | None], list[Lost]]:
    """By daemon, protocol and next hop: one cause."""
    found: dict[tuple[str, str, str | None], list[Lost]] = {}
    for row in rows:
        found.setdefault((row.socket, row.protocol.name, row.route.next_hop), []).append(row)
    return found


def prefixes(rows: list[Lost]) -> str:
    """``10.0.0.0/8 and 3 more``."""
    names = [row.route.net for row in rows]
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def way(view: HostView, hop: str | None) -> str:
    """What the kernel's routing tables say about the next hop."""
    if hop is None:
        return "none"
    try:
        answer = view.lookup(Query(family="inet6" if ":" in hop else "inet", dst=hop))
    except ValueError:
        return "no address"
    if not answer.ok:
        return str(answer.error)
    return "dev " + ", ".join(view.ifname(leg.oif) for leg in answer.hops[:2])
