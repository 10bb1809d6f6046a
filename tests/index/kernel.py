"""Ask the kernel where packets would go, and hold netdiag's answers against it.

Every packet is asked about twice: as it is resolved (RTM_GETROUTE with RTM_F_LOOKUP_TABLE: type, table, interface,
gateway, error) and which route matched (with RTM_F_FIB_MATCH: prefix, metric, TOS, nexthop object, preferred source).
Facts about the answers: inet_rtm_getroute() and rt_fill_info() in net/ipv4/route.c, inet6_rtm_getroute() and
rt6_fill_node() in net/ipv6/route.c.
"""

import errno
import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import pack, unpack_from

import numpy as np

from netdiag.index.alike import Alike
from netdiag.index.policy import Lookup, Query, Routing, untouched
from netdiag.model.nexthop import Nexthop
from netdiag.model.route import RT_TABLE_LOCAL, RT_TABLE_MAIN, RTN_NAMES, Routes, address_text
from netdiag.model.snapshot import Tables
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink import requests, transport
from netdiag.sources.netlink.attributes import address, walk
from netdiag.sources.netlink.messages import HEADER_SIZE, Reply

RTM_F_LOOKUP_TABLE, RTM_F_FIB_MATCH = 0x1000, 0x2000
RTA_IIF, RTA_MARK, RTA_UID, RTA_IP_PROTO, RTA_SPORT, RTA_DPORT = 3, 16, 25, 27, 28, 29
BATCH = 2000


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the kernel answered to one request."""

    errno: int = 0
    type: str | None = None
    table: int | None = None
    oif: int | None = None
    gateway: str | None = None
    prefsrc: str | None = None
    dst_len: int = 0
    tos: int = 0
    metric: int = 0
    nh_id: int = 0


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One packet for which the kernel and netdiag differ."""

    query: Query
    why: str
    resolved: Told
    matched: Told
    ours: Lookup

    def __str__(self) -> str:
        steps = "\n".join(f"      {step.rule.priority}: {step.text}" for step in self.ours.steps)
        return (
            f"{self.query}\n  {self.why}\n  kernel resolved {self.resolved}\n  kernel matched  {self.matched}\n"
            f"  ours {self.ours.error} {self.ours.type} table {self.ours.table} /{self.ours.prefixlen}"
            f" hops {self.ours.hops} notes {self.ours.notes}\n{steps}"
        )


def _body(query: Query, indexes: dict[str, int], flags: int) -> bytes:
    attributes = b""
    if query.src is not None:
        attributes += requests.attribute(nl.RTA_SRC, ipaddress.ip_address(query.src).packed)
    for kind, name in ((RTA_IIF, query.iif), (nl.RTA_OIF, query.oif)):
        if name is not None:
            attributes += requests.attribute_u32(kind, indexes[name] if isinstance(name, str) else name)
    if query.mark:
        attributes += requests.attribute_u32(RTA_MARK, query.mark)
    attributes += requests.attribute_u32(RTA_UID, query.uid or 0)
    if query.ip_proto is not None:
        attributes += requests.attribute(RTA_IP_PROTO, bytes([query.ip_proto]))
    for kind, port in ((RTA_SPORT, query.sport), (RTA_DPORT, query.dport)):
        if port is not None:
            attributes += requests.attribute(kind, pack("!H", port))
    dst = ipaddress.ip_address(query.dst).packed
    flags |= RTM_F_LOOKUP_TABLE if query.family == "inet" else 0  # IPv6 always tells the table, and refuses the flag
    src_len = len(dst) * 8 if query.src is not None else 0
    return requests.route_lookup(query.family, dst, attributes=attributes, src_len=src_len, tos=query.tos, flags=flags)


def _told(reply: Reply) -> Told:
    if reply.errno:
        return Told(errno=reply.errno)
    payload = reply.octets[HEADER_SIZE:]
    _, dst_len, _, tos, table, _, _, kind = unpack_from("=8B", payload)
    attributes = {number: payload[start:end] for number, start, end in walk(payload, 12)}

    def number(of: int) -> int:
        return int(unpack_from("=I", attributes[of])[0]) if of in attributes else 0

    via = attributes.get(nl.RTA_VIA, b"")[2:] or attributes.get(nl.RTA_GATEWAY)
    prefsrc = attributes.get(nl.RTA_PREFSRC)
    return Told(
        type=RTN_NAMES.get(kind, str(kind)),
        table=number(nl.RTA_TABLE) or table,
        oif=number(nl.RTA_OIF) or None,
        gateway=address(via) if via else None,
        prefsrc=address(prefsrc) if prefsrc else None,
        dst_len=dst_len,
        tos=tos,
        metric=number(nl.RTA_PRIORITY),
        nh_id=number(nl.RTA_NH_ID),
    )


def ask(queries: Sequence[Query], indexes: dict[str, int]) -> Iterator[tuple[Told, Told]]:
    """(resolved, matched) for each packet, in the namespace of the calling process."""
    for first in range(0, len(queries), BATCH):
        bodies = [
            _body(query, indexes, flags) for query in queries[first : first + BATCH] for flags in (0, RTM_F_FIB_MATCH)
        ]
        told = [_told(reply) for reply in transport.batch(nl.NETLINK_ROUTE, nl.RTM_GETROUTE, bodies)]
        yield from zip(told[::2], told[1::2], strict=True)


def _mates(nexthops: Sequence[Nexthop], nh_id: int) -> list[int]:
    """Nexthop objects that share a member with this one."""
    members = {each.id: {member.id for member in each.group} or {each.id} for each in nexthops}
    return [each for each in members if members[each] & members[nh_id]]


def difference(
    resolved: Told, matched: Told, ours: Lookup, routes: Routes, nexthops: Sequence[Nexthop], *, plain: bool
) -> str:
    """What the kernel's answer and ours differ in; empty where they agree. ``plain``: no rule but the default ones."""
    if ours.errno or resolved.errno:
        return "" if ours.errno == resolved.errno else f"error: {errno.errorcode.get(resolved.errno, 0)}, {ours.error}"
    if resolved.type != ours.type:
        return f"type: {resolved.type}, {ours.type}"
    if all((resolved.oif, resolved.gateway) != (hop.oif, hop.gateway) for hop in ours.hops):
        return f"next hop: {resolved.oif} {resolved.gateway}"
    if ours.query.family == "inet6" and ours.route is not None and routes.nh_id[ours.route]:
        # The answer is what the nexthop object has cached, for whichever of its routes was asked for first.
        mates = _mates(nexthops, int(routes.nh_id[ours.route]))
        named = {(int(routes.table[p]), int(routes.dst_len[p])) for p in np.flatnonzero(np.isin(routes.nh_id, mates))}
        return "" if (resolved.table, matched.dst_len) in named else f"route: {matched}"
    # While main and local share a trie, the kernel calls both main in this answer.
    shared = ours.table == RT_TABLE_LOCAL and resolved.table == RT_TABLE_MAIN and plain
    if (resolved.table or None) != ours.table and not shared:
        return f"table: {resolved.table}, {ours.table}"
    if resolved.prefsrc is not None and ours.query.family == "inet":
        sources = {hop.src for hop in ours.hops if (resolved.oif, resolved.gateway) == (hop.oif, hop.gateway)}
        if resolved.prefsrc not in sources:
            return f"source: {resolved.prefsrc}, {sources}"
    if ours.route is None:
        return "" if matched.errno == errno.EHOSTUNREACH else "a route matched"
    if matched.errno:
        return f"no route matched: {errno.errorcode[matched.errno]}"
    mine = [
        (
            int(routes.dst_len[position]),
            int(routes.tos[ours.route]),  # of several default routes the answer keeps the TOS of the first
            int(routes.priority[position]),
            int(routes.nh_id[position]),
            address_text(routes.prefsrc[position]) if routes.prefsrc[position].any() else None,
        )
        for position in {hop.route for hop in ours.hops if hop.route is not None} | {ours.route}
    ]
    theirs = (matched.dst_len, matched.tos, matched.metric, matched.nh_id, matched.prefsrc)
    # Siblings of IPv6 keep their own preferred sources, of which a dump tells but the first one's.
    compared = -1 if ours.query.family == "inet6" and len(routes.row(ours.route).hops) > 1 else None
    same = theirs[:compared] in [each[:compared] for each in mine]
    return "" if same else f"route: {theirs}, {mine}"


def disagreements(tables: Tables, queries: Sequence[Query]) -> Iterator[Disagreement]:
    """Every packet for which the kernel does not do what we say."""
    plain = untouched(tuple(rule for rule in tables.rules if rule.family == "inet"))
    indexes = {link.ifname: link.ifindex for link in tables.links}
    routing = Alike(Routing(tables))  # what rules ask
    # A multicast packet leaves its type behind in what the next hop caches, and unicast packets then show it (see
    # test_kernel_surprises): the one kind is asked about after the other, with the cache flushed in between.
    hidden = hidden_routes(tables)
    queries = [query for query in queries if not _behind_hidden(query, hidden)]
    unicast = [query for query in queries if not _multicast4(query)]
    multicast = [query for query in queries if _multicast4(query)]
    for chosen in (unicast, multicast):
        Path("/proc/sys/net/ipv4/route/flush").write_text("1", "ascii")
        told = zip(chosen, ask(chosen, indexes), strict=True)
        yield from _disagreements(routing, tables, told, plain=plain)


def hidden_routes(tables: Tables) -> set[tuple[bytes, int]]:
    """IPv6 prefixes (address, length) with a route that no dump shows.

    Where a route without a gateway stands between the siblings of a multipath route, the dump jumps over it from the
    first sibling behind the last (fib6_dump_node() of net/ipv6/ip6_fib.c). /proc/net/ipv6_route still lists it.
    """
    listed: Counter[tuple[bytes, int]] = Counter()
    for line in Path("/proc/net/ipv6_route").read_text("ascii").splitlines():
        dst, length, _, _, _, metric, *_ = line.split()
        if metric != "ffffffff":  # the root's own "no route"
            listed[bytes.fromhex(dst), int(length, 16)] += 1
    for row in tables.routes6.rows():
        address, _, length = row.dst.partition("/")
        several = row.extra is not None and row.nh_id is None and len(row.extra.multipath)
        listed[ipaddress.IPv6Address(address).packed, int(length)] -= several or 1
    return {prefix for prefix, count in listed.items() if count > 0}


def _behind_hidden(query: Query, hidden: set[tuple[bytes, int]]) -> bool:
    """Whether a hidden route may decide on this packet."""
    if query.family == "inet":
        return False
    dst = ipaddress.IPv6Address(query.dst)
    return any(dst in ipaddress.IPv6Network((address, length)) for address, length in hidden)


def _multicast4(query: Query) -> bool:
    return query.family == "inet" and ipaddress.IPv4Address(query.dst).is_multicast


def _disagreements(
    routing: Alike, tables: Tables, told: Iterable[tuple[Query, tuple[Told, Told]]], *, plain: bool
) -> Iterator[Disagreement]:
    for query, (resolved, matched) in told:
        ours = routing.lookup(query)
        routes = tables.routes if query.family == "inet" else tables.routes6
        answers = (ours, *ours.alternatives)
        whys = [difference(resolved, matched, each, routes, tables.nexthops, plain=plain) for each in answers]
        if all(whys):
            why = whys[0]
            yield Disagreement(query=query, why=why, resolved=resolved, matched=matched, ours=ours)
