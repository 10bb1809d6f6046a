"""Routes over nexthop objects as the kernel's dump shows them by default: with the hops of their objects.

Where net.ipv4.nexthop_compat_mode is 0 the dump names the object alone (RTA_NH_ID; net/ipv4/fib_semantics.c,
fib_dump_info(), and net/ipv6/route.c, rt6_fill_node()). What asks a route for its interface or its gateway would then
find none. Pure; a route over an object that was not read stays as it is.
"""

import ipaddress
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from netdiag.index.hops import RouteHops
from netdiag.index.links import LinkStack
from netdiag.model.distinct import distinct
from netdiag.model.route import RouteExtra, RouteHop, Routes
from netdiag.model.snapshot import Tables


def bare(routes: Routes) -> Any:
    """Rows that name a nexthop object and no hop. Shape (n,) bool."""
    gateway = routes.gateway != 0 if routes.gateway.ndim == 1 else routes.gateway.any(axis=1)
    told = [bool(extra.multipath or extra.via) for extra in routes.extras] + [False]
    return (routes.nh_id != 0) & (routes.oif == 0) & ~gateway & ~np.array(told)[routes.extra]


def expanded(routes: Routes, hops: RouteHops) -> Routes:
    """The routes with what their nexthop objects hold; the same object where there is nothing to add."""
    rows = np.flatnonzero(bare(routes))
    if not len(rows):
        return routes
    oif, gateway = routes.oif.copy(), routes.gateway.copy()
    flags, pointers = routes.flags.copy(), routes.extra.copy()
    extras = list(routes.extras)
    own = 32 if routes.family == "inet" else 128
    for number in distinct(routes.nh_id[rows]).tolist():
        mine = rows[routes.nh_id[rows] == number]
        found = hops.of(int(mine[0]))
        if not found:
            continue
        more: dict[str, Any] = {}
        if len(found) > 1:
            legs = [RouteHop(oif=h.oif, gateway=h.gateway, weight=h.weight, flags=h.flags) for h in found]
            more["multipath"] = tuple(legs)
        else:
            one = found[0]
            oif[mine] = one.oif
            flags[mine] = flags[mine] & ~np.uint32(0xFF) | np.uint32(one.flags & 0xFF)
            if one.gateway is not None and (":" in one.gateway) == (own == 128):
                packed = ipaddress.ip_address(one.gateway).packed
                gateway[mine] = int.from_bytes(packed, "big") if own == 32 else np.frombuffer(packed, np.uint8)
            elif one.gateway is not None:
                more["via"] = one.gateway
        for pointer in distinct(pointers[mine]).tolist() if more else ():
            older = extras[pointer] if pointer >= 0 else RouteExtra()
            pointers[mine[pointers[mine] == pointer]] = len(extras)
            extras.append(msgspec.structs.replace(older, **more))
    return replace(routes, oif=oif, gateway=gateway, flags=flags, extra=pointers, extras=tuple(extras))


def with_hops(tables: Tables) -> Tables:
    """The tables with both families' routes expanded; the same object where nothing was to add."""
    if not (bare(tables.routes).any() or bare(tables.routes6).any()):
        return tables
    stack = LinkStack(tables.links, tables.peer_links)
    four, six = (
        expanded(routes, RouteHops(routes, tables.nexthops, stack, tables.sysctls))
        for routes in (tables.routes, tables.routes6)
    )
    return replace(tables, routes=four, routes6=six)
