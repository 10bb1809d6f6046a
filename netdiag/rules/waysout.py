"""Where a host's packets leave for everywhere: its default routes, its other gateways, and the interfaces that could.

Used by rules that ask whether a way out is missing, and whether one was meant. Pure; nothing can fail.
"""

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import numpy as np

from netdiag.index.policy import Query
from netdiag.index.reach import reachable_tables, selects
from netdiag.index.view import HostView
from netdiag.index.ways import ways
from netdiag.model.address import Address
from netdiag.model.distinct import among
from netdiag.model.finding import Subject, subject
from netdiag.model.link import IFF_POINTOPOINT, Link
from netdiag.model.neighbour import NTF_PROXY, NUD_DELAY, NUD_PROBE, NUD_REACHABLE, NUD_STALE
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import (
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTN_BLACKHOLE,
    RTN_PROHIBIT,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    Route,
)

ROUTING_DAEMONS = (8, 10, 11, 12, 13, 14, 15, 42, 99, 186, 187, 188, 189, 192)
"""RTPROT_* of daemons that compute routes (include/uapi/linux/rtnetlink.h)."""
ROUTER = 100
"""Routes by gateways from which on a host is taken for one with a table of its own."""
GOOD = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE
NULL_METRIC = 0xFFFFFFFF
"""Metric of the unreachable default route that older kernels show for IPv6 where there is no real one."""
GLOBAL6 = ip_network("2000::/3")
LINK_LOCAL = {"inet": ip_network("169.254.0.0/16"), "inet6": ip_network("fe80::/10")}


@dataclass(frozen=True, kw_only=True)
class Uplink:
    """An interface on a network, with an address of the family."""

    link: Link
    address: Address


def default_oifs(view: HostView, family: str, *, of_all: bool = False, marked: bool = True) -> set[int] | None:
    """Interfaces of the default routes (or of what does the same); None where there is none.

    Empty for one that refuses: somebody says that there is no way out. ``of_all``: without what only packets from some
    source or interface are led to (``ip rule from``, ``iif``); not ``marked``: nor with some mark.
    """
    routes = view.routes(family)
    rules = [rule for rule in view.rules if not (of_all and for_some(rule)) and (marked or not by_mark(rule))]
    reachable = reachable_tables(rules, view.links, family)
    # IPv6 takes a suppressed route after all where no later rule looks into a table (fib6_rule_lookup()).
    tables = [table for table, shortest in reachable.items() if shortest == 0 or family == "inet6"]
    unicast = among(routes.table, tables) & (routes.type == RTN_UNICAST)
    halves = unicast & (routes.dst_len == 1)
    wide = unicast & (routes.dst_len == 0)
    if len({dst.tobytes() for dst in routes.dst[halves]}) == 2:
        wide |= halves
    if family == "inet6":
        wide |= unicast & (routes.dst_len == 3) & (routes.dst[:, 0] == 0x20)
    if wide.any():
        return {way.hop.oif for way in ways(routes, view.nexthops, wide)}
    refusing = among(routes.type, (RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT)) & (routes.priority != NULL_METRIC)
    return set() if (refusing & (routes.dst_len == 0) & among(routes.table, tables)).any() else None


def refusing_default(view: HostView, family: str) -> Route | None:
    """A default route that refuses packets of all, which somebody made: no routing daemon, nor the kernel."""
    routes = view.routes(family)
    tables = list(reachable_tables([rule for rule in view.rules if not for_some(rule)], view.links, family))
    refusing = among(routes.type, (RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT)) & (routes.priority != NULL_METRIC)
    refusing &= (routes.dst_len == 0) & among(routes.table, tables) & ~among(routes.protocol, ROUTING_DAEMONS)
    return next(iter(view.route_rows(family, np.flatnonzero(refusing)[:1].tolist())), None)


def way_for_all(view: HostView, family: str) -> bool:
    """Whether there is a default route that not only packets with a mark, from some source or interface are led to."""
    plain = [rule for rule in view.rules if rule.invert or not selects(rule)]
    routes, tables = view.routes(family), reachable_tables(plain, view.links, family)
    return bool((among(routes.table, list(tables)) & (routes.type == RTN_UNICAST) & (routes.dst_len == 0)).any())


def common_tables(view: HostView, family: str) -> set[int]:
    """Main, and where the policy rules were read the tables that rules without any condition lead to: what is in them
    is for all packets that nothing before takes."""
    if not view.read_whole("rules"):
        return {RT_TABLE_MAIN}
    mine = (rule for rule in view.rules if rule.family == family and rule.suppress_prefixlength is None)
    plain = {rule.table for rule in mine if rule.table is not None and not selects(rule)}
    return (plain | {RT_TABLE_MAIN}) - {RT_TABLE_LOCAL}


def led_on(view: HostView, route: Route) -> int | None:
    """The route of a later table that takes all packets of this one, were it not there; None where there is none, or
    where only some packets are led to its table."""
    mine = (rule for rule in view.rules if rule.family == route.family and rule.table == route.table)
    own = next((rule for rule in mine if rule.action == "lookup" and not selects(rule)), None)
    if own is None or route.default:
        return None
    answer = view.lookup_behind(Query(family=route.family, dst=route.dst.partition("/")[0]), own)
    return answer.route if answer.type == "unicast" else None


def for_some(rule: PolicyRule) -> bool:
    """A policy rule for what comes from some network, or by some interface, alone."""
    return not rule.invert and (bool(rule.src_len) or rule.iif is not None)


def by_mark(rule: PolicyRule) -> bool:
    """A policy rule for what has some mark alone."""
    return not rule.invert and rule.fwmark is not None


def main_for_one_family(view: HostView, family: str, other: str) -> bool:
    """Whether packets without a mark have a default route in the other family alone, while both lead the same marks to
    tables of their own: whoever made these rules made both families alike, so that one default route is gone."""
    marks = {rule.fwmark for rule in view.rules if rule.family == family and by_mark(rule)}
    twins = {rule.fwmark for rule in view.rules if rule.family == other and by_mark(rule)}
    if marks != twins or default_oifs(view, family, of_all=True, marked=False) is not None:
        return False
    return bool(default_oifs(view, other, of_all=True, marked=False))


def gateways(view: HostView, family: str, *, marked: bool = True) -> tuple[int, bool]:
    """How many routes go by a gateway, and whether a routing daemon made one of them; not ``marked``: of those that
    packets without a mark may take."""
    routes = view.routes(family)
    rules = [rule for rule in view.rules if marked or not by_mark(rule)]
    tables = list(reachable_tables(rules, view.links, family))
    count, learned = 0, False
    for way in ways(routes, view.nexthops, among(routes.table, tables)):
        if way.hop.gateway is not None:
            count += len(way.positions)
            learned |= bool(among(routes.protocol[way.positions], ROUTING_DAEMONS).any())
    return count, learned


def uplinks(view: HostView, family: str) -> list[Uplink]:
    """Interfaces that could lead out: with an address for more than the link, and neighbours; those that are up
    first, taps, which have guests behind them, behind others."""
    found = []
    for address in view.addresses:
        link = view.link(address.ifindex)
        if address.family != family or address.scope or link is None or link.loopback or link.noarp:
            continue
        if not link.flags & IFF_POINTOPOINT and ip_address(address.local) not in LINK_LOCAL[family]:
            found.append(Uplink(link=link, address=address))
    return sorted(found, key=lambda uplink: (not uplink.link.up, uplink.link.kind == "tun"))


def likely_gateway(view: HostView, family: str, uplink: Uplink) -> str | None:
    """The one neighbour on the uplink's subnet that is known; IPv6: the one that says it is a router. None: cannot be
    told. (A router may ask from an address of its loopback, and then stands among the neighbours with that.)"""
    subnet = ip_network((uplink.address.local, uplink.address.prefixlen), strict=False)
    rows = view.neighbours
    mine = (rows.ifindex == uplink.link.ifindex) & (rows.family == (2 if family == "inet" else 10))
    known = list(rows.rows(np.flatnonzero(mine & (rows.state & GOOD != 0) & (rows.flags & NTF_PROXY == 0))))
    if family == "inet6":
        known = [row for row in known if row.router]
    else:
        known = [row for row in known if ip_address(row.dst) in subnet]
    return known[0].dst if len(known) == 1 else None


def leads_out(uplink: Uplink, oifs: set[int]) -> bool:
    """Whether the other family's default route goes out here too, and this address is good for it."""
    own = ip_address(uplink.address.local)
    return uplink.link.ifindex in oifs and (own.version == 4 or own in GLOBAL6)


def policy_defaults(view: HostView, family: str) -> list[Subject]:
    """The default routes that tables lack which rules lead some packets to, where they have no route at all: what looks
    there goes on to table main."""
    filled, dst = set(view.fib(family).tables()), "0.0.0.0/0" if family == "inet" else "::/0"
    asked = {rule.table for rule in view.rules if rule.family == family and rule.table is not None and selects(rule)}
    return [subject("route", dst=dst, table=table) for table in sorted(asked - filled - {RT_TABLE_MAIN})]
