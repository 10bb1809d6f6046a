"""Who is shut in: guests whose packets a policy rule refuses by where they come from, or the whole host. Pure."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import msgspec

from netdiag.index.guests import GuestSide, sides
from netdiag.index.reach import selects, takes_own
from netdiag.index.shadow import Shadow
from netdiag.index.view import HostView
from netdiag.index.ways import usable
from netdiag.model.neighbour import Neighbour
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN, Route
from netdiag.rules.deadrules import decided_otherwise
from netdiag.rules.forwardgate import forwarding

ALIVE = ("reachable", "stale", "delay", "probe")
MOST_INSIDE = 1000
"""Routes inside the network of a rule that are looked at."""
Network: TypeAlias = IPv4Network | IPv6Network


def shut_in(view: HostView, rule: PolicyRule) -> tuple[GuestSide, Neighbour] | None:
    """The network of guests all of whose packets this rule refuses by source, interface or both, although this host
    forwards for them; with one of them that was there lately. None where an earlier rule has routes for some of them.
    """
    alone = msgspec.structs.replace(rule, src=None, src_len=0, iif=None)
    if rule.invert or (not rule.src_len and rule.iif is None) or selects(alone):
        return None
    own = [other for other in view.rules if other.family == rule.family]
    every = "0.0.0.0/0" if rule.family == "inet" else "::/0"
    source = ip_network(f"{rule.src}/{rule.src_len}" if rule.src_len else every, strict=False)
    for earlier in own[: own.index(rule)]:
        if earlier.table != RT_TABLE_LOCAL and _may_take(earlier, rule, source):
            return None
    for side in sides(view.stack, view.routes(rule.family), view.addresses).guests:
        subnet = ip_network(side.prefix)
        if (
            rule.iif not in (None, side.link.ifname)
            or not covers(source, subnet)
            or not forwarding(view, side.link, rule.family)
        ):
            continue
        for row in view.neighbours.rows():
            near = row.ifindex == side.link.ifindex and row.state in ALIVE
            if near and ip_address(row.dst.partition("%")[0]) in subnet:
                return side, row
    return None


def covers(outer: Network, inner: Network) -> bool:
    """Whether all addresses of ``inner``, of the same family, are in ``outer``."""
    return outer.prefixlen <= inner.prefixlen and inner.network_address in outer


def _may_take(earlier: PolicyRule, rule: PolicyRule, source: Network) -> bool:
    """Whether a rule in front may have routes for some of the packets."""
    if earlier.invert:
        return True
    if rule.iif is not None and earlier.iif is not None and earlier.iif != rule.iif:
        return False
    if not earlier.src_len:
        return True
    other = ip_network(f"{earlier.src}/{earlier.src_len}", strict=False)
    return covers(other, source) or covers(source, other)


def isolating(view: HostView, rule: PolicyRule) -> Route | None:
    """The default route of main, or of a table behind it for all packets, where this rule refuses everything (or all
    that this host begins) and no packet had another way before it."""
    if not takes_own(rule):
        return None
    own = [other for other in view.rules if other.family == rule.family]
    before, behind = own[: own.index(rule)], own[own.index(rule) + 1 :]
    fib, routes = view.fib(rule.family), view.routes(rule.family)
    if any(
        other.goto or other.l3mdev or (other.table != 255 and len(fib.positions(other.table or 0))) for other in before
    ):
        return None
    if not any(other.table == 254 for other in behind):
        return None
    tables = [other.table or 0 for other in behind if other.action == "lookup" and not selects(other)]
    rows = (at for table in dict.fromkeys([RT_TABLE_MAIN, *tables]) for at in fib.positions(table).tolist())
    ways = (at for at in rows if routes.dst_len[at] == 0 and usable(routes, at))
    return next((routes.row(at) for at in ways), None)


def refused_inward(view: HostView, rule: PolicyRule) -> tuple[PolicyRule, Route] | None:
    """A later rule for the packets of a network, all of which come in by the interface from which this rule refuses
    them, and a route of its table: so that rule is for nobody but this host itself."""
    alone = msgspec.structs.replace(rule, src=None, src_len=0, iif=None)
    if rule.invert or rule.iif is None or selects(alone):
        return None
    own = [other for other in view.rules if other.family == rule.family]
    for later in own[own.index(rule) + 1 :]:
        special = later.table in (None, RT_TABLE_LOCAL, RT_TABLE_MAIN, RT_TABLE_DEFAULT)
        if special or later.invert or not later.src_len or later.iif is not None:
            continue
        source = ip_network(f"{later.src}/{later.src_len}", strict=False)
        if rule.src_len and not covers(ip_network(f"{rule.src}/{rule.src_len}", strict=False), source):
            continue
        row = decided_otherwise(view, Shadow(later, rule)) if _homes(view, rule.family, source) == {rule.iif} else None
        if row is not None:
            return later, row
    return None


def _homes(view: HostView, family: str, network: Network) -> set[str]:
    """The interfaces that lead to parts of a network, or to the whole; empty where they are too many to tell."""
    fib, found = view.fib(family), set[str]()
    for table in fib.tables():
        positions = fib.routes_within(table, str(network)).tolist()
        if len(positions) > MOST_INSIDE:
            return set()
        rows = (row for row in view.route_rows(family, positions) if row.type == "unicast")
        found |= {view.ifname(hop.oif) for row in rows for hop in row.hops if hop.oif}
    return found
