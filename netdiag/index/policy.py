"""Policy routing as the kernel does it: what becomes of a packet, by which rule, table, route and next hops.

``lookup`` answers what ``ip route get`` would. Packets that this host sends: __ip_route_output_key_hash_rcu() and
__mkroute_output() of net/ipv4/route.c, ip6_route_output_flags() of net/ipv6/route.c. Packets that arrive (``iif``):
what the routing tables say and no more; whether the host forwards, and the reverse path and martian filters of IPv4,
are the packet walk's. fib_lookup() of include/net/ip_fib.h has two ways, see netdiag.index.lookup4.

Not in a snapshot, and therefore not known here: path MTUs and redirects that were learnt (RTM_F_CLONED), the random key
of the multipath hash, and for IPv4 whether the default rules were ever changed and put back.

Pure. ValueError for a destination or source that is no address of the family.
"""

import errno
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from msgspec.structs import replace

from netdiag.index.fib import Fib
from netdiag.index.hops import BadNeighbours, RouteHops
from netdiag.index.links import LinkStack
from netdiag.index.local import LocalAddresses
from netdiag.index.lookup4 import MERGED_NOTE, LenientTables, MergedTables, WalkedTables, untouched
from netdiag.index.output4 import Host4, Output4
from netdiag.index.packet import Flow, Found, Hop, Lookup, Query, Step
from netdiag.index.rulewalk import Outcome, RuleWalk
from netdiag.index.select4 import Select4
from netdiag.index.select6 import Select6, link_scoped
from netdiag.index.source4 import Sources4
from netdiag.model.link import Link
from netdiag.model.route import (
    RT_TABLE_DEFAULT,
    RTN_NAMES,
    address_text,
)
from netdiag.model.snapshot import Tables

MISSING = -1
"""An interface that does not exist."""

__all__ = ["Flow", "Found", "Hop", "Lookup", "Query", "Routing", "Step", "lookup", "untouched"]

LOOPBACK = 1
"""LOOPBACK_IFINDEX: what this host sends "comes in" by it, so that ``iif lo`` means the host's own packets."""


class Routing:
    """The routing decisions of one namespace. Build once and ask often: rules and indexes are kept."""

    def __init__(self, tables: Tables, fibs: Mapping[str, Fib] | None = None, stack: LinkStack | None = None) -> None:
        """``fibs`` by family and ``stack``: where they were built already."""
        self._tables = tables
        self._fibs = fibs or {}
        self._given_stack = stack

    # -- built when first needed -----------------------------------------------------------------------------------

    @cached_property
    def stack(self) -> LinkStack:
        """The interfaces."""
        return self._given_stack or LinkStack(self._tables.links, self._tables.peer_links)

    @cached_property
    def fibs(self) -> dict[str, Fib]:
        """Longest prefix match, by family."""
        routes = {"inet": self._tables.routes, "inet6": self._tables.routes6}
        return {family: self._fibs.get(family) or Fib(routes[family]) for family in routes}

    @cached_property
    def local(self) -> LocalAddresses:
        """The host's own addresses."""
        return LocalAddresses(self._tables, self.fibs)

    @cached_property
    def _neighbours(self) -> BadNeighbours:
        return BadNeighbours(self._tables.neighbours)

    @cached_property
    def _select4(self) -> Select4:
        tables = self._tables
        hops = RouteHops(tables.routes, tables.nexthops, self.stack, tables.sysctls)
        use_neigh = self._setting("net.ipv4.fib_multipath_use_neigh")
        return Select4(self.fibs["inet"], hops, self._neighbours, use_neigh=use_neigh)

    @cached_property
    def _select6(self) -> Select6:
        tables = self._tables
        hops = RouteHops(tables.routes6, tables.nexthops, self.stack, tables.sysctls)
        forwarding = self._setting("net.ipv6.conf.all.forwarding")
        return Select6(self.fibs["inet6"], hops, self._neighbours, self._loopbacks, forwarding=forwarding)

    @cached_property
    def _loopbacks(self) -> dict[int, int]:
        """By ifindex the VRF that stands for loopback there."""
        return {link.ifindex: vrf.ifindex for link in self.stack.links if (vrf := self.stack.vrf(link.ifindex))}

    @cached_property
    def _walk4(self) -> RuleWalk:
        return RuleWalk(self._tables.rules, self.stack, "inet", self._select4.table)

    @cached_property
    def _walk6(self) -> RuleWalk:
        return RuleWalk(self._tables.rules, self.stack, "inet6", self._select6.table)

    def walk(self, family: str) -> RuleWalk:
        """The rules of one family."""
        return self._walk4 if family == "inet" else self._walk6

    @cached_property
    def _ways4(self) -> list[tuple[WalkedTables, Output4]]:
        """How this namespace may search its IPv4 tables, the likeliest first."""
        sources = Sources4(self._tables.addresses, self.stack, self._localnet)
        host = Host4(self._tables.routes, self.stack, self.local, sources, self._localnet)
        kinds = [WalkedTables]
        if untouched(self._walk4.rules):
            lenient = [LenientTables] if RT_TABLE_DEFAULT in self.fibs["inet"].tables() else []
            kinds = [MergedTables, *lenient, WalkedTables]
        asked = [kind(self._walk4, self._select4, self._loopbacks, self._decided4) for kind in kinds]
        return [(way, Output4(way, host)) for way in asked]

    def _decided4(self, flow: Flow, outcome: Outcome, alternatives: tuple[Lookup, ...]) -> Lookup:
        return self._lookup_of(flow, outcome, alternatives)

    def _localnet(self, ifindex: int) -> bool:
        """route_localnet, of all interfaces or of this one."""
        link = self.stack.by_index.get(ifindex)
        own = link is not None and bool(link.inet_conf.get("route_localnet"))
        return own or self._setting("net.ipv4.conf.all.route_localnet")

    def _setting(self, name: str) -> bool:
        return self._tables.sysctls.values.get(name, "0") not in ("", "0")

    # -- questions -------------------------------------------------------------------------------------------------

    def lookup(self, query: Query) -> Lookup:
        """What the kernel decides for this packet."""
        iif, oif = self._ifindex(query.iif), self._ifindex(query.oif)
        for name, index in ((query.iif, iif), (query.oif, oif)):
            if index == MISSING:
                return Lookup(query=query, errno=errno.ENODEV, notes=(f"there is no interface {name}",))
        return self._lookup6(self.flow(query, iif, oif)) if query.family == "inet6" else self._lookup4(query, iif, oif)

    def _ifindex(self, interface: str | int | None) -> int:
        """0: none was given; MISSING: it does not exist."""
        if isinstance(interface, str):
            link = self.stack.by_name.get(interface)
            return MISSING if link is None else link.ifindex
        return MISSING if interface and interface not in self.stack.by_index else interface or 0

    def bare4(self, query: Query, *, ignore_linkstate: bool = False) -> Lookup:
        """fib_lookup() of IPv4 alone, as the kernel asks itself, for the reverse path filter for example.

        No source is checked, no next hop chosen but the first usable one, and ``oif`` counts beside ``iif``.
        ``ignore_linkstate``: next hops without carrier count as well (FIB_LOOKUP_IGNORE_LINKSTATE).
        """
        iif, oif = self._ifindex(query.iif), self._ifindex(query.oif)
        answers = []
        for way, _ in self._ways4:
            flow = self.flow(query, iif, oif)
            flow.oif, flow.ignore_linkstate = oif, ignore_linkstate
            answers.append(way.bare(flow))
        return _merge(answers)

    def flow(self, query: Query, iif: int = 0, oif: int = 0) -> Flow:
        """The query as the kernel carries it through the rules, with its interfaces as indexes."""
        fib = self.fibs[query.family]
        blank = "0.0.0.0" if query.family == "inet" else "::"
        dst, src = fib.key(query.dst), fib.key(query.src or blank)
        numbers = [key if isinstance(key, int) else int.from_bytes(key, "big") for key in (dst, src)]
        return Flow(
            query=query,
            dst=dst,
            dst_number=numbers[0],
            src=src,
            src_number=numbers[1],
            iif=iif or LOOPBACK,
            oif=0 if iif else oif,
            arriving=bool(iif),
            mark=query.mark,
            # A packet that arrives belongs to nobody: ip_route_input_slow() takes the owner of the namespace.
            uid=0 if query.uid is None or (iif and query.family == "inet") else query.uid,
            tos=query.tos & 0xFC,
            ip_proto=query.ip_proto or 0,
            sport=query.sport or 0,
            dport=query.dport or 0,
            tun_id=query.tun_id,
        )

    def _lookup4(self, query: Query, iif: int, oif: int) -> Lookup:
        answers = []
        for way, output in self._ways4:
            flow = self.flow(query, iif, oif)
            answers.append(_arrived4(way.decide(flow)) if flow.arriving else output.lookup(flow))
        return _merge(answers)

    def _lookup6(self, flow: Flow) -> Lookup:
        """ip6_route_output_flags(), and ip6_route_input_lookup() for what arrives."""
        of_link = link_scoped(flow.dst_number)
        if of_link and flow.oif and not flow.arriving and (vrf := self.stack.vrf(flow.oif)):
            return self._link_scope_in_vrf(flow, vrf)
        # rt6_need_strict(): such destinations, and ::1, belong to an interface.
        flow.strict = of_link or flow.dst_number == 1 or bool(flow.oif and not flow.src_number)
        return self._answer6(flow, self._walk6.walk(flow))

    def _answer6(self, flow: Flow, outcome: Outcome) -> Lookup:
        return self._lookup_of(flow, outcome, tuple(self._answer6(flow, other) for other in outcome.alternatives))

    def _link_scope_in_vrf(self, flow: Flow, vrf: Link) -> Lookup:
        """vrf_link_scope_lookup() of drivers/net/vrf.c: the VRF's table, no rules; not through the VRF itself."""
        table = vrf.info.get("table")
        flow.strict = True
        found = self._select6.table(table, flow) if flow.oif != vrf.ifindex and isinstance(table, int) else None
        return self._lookup_of(flow, Outcome(found=found, errno=found.errno if found else errno.ENETUNREACH), ())

    def _lookup_of(self, flow: Flow, outcome: Outcome, alternatives: tuple[Lookup, ...]) -> Lookup:
        found = outcome.found
        common: dict[str, Any] = {
            "query": flow.query,
            "errno": outcome.errno,
            "rule": outcome.rule,
            "steps": outcome.steps,
            "notes": outcome.notes,
            "alternatives": alternatives,
        }
        if found is None:
            return Lookup(**common)
        routes = self.fibs[flow.query.family].routes
        prefsrc = routes.prefsrc[found.position]
        common["notes"] = (*outcome.notes, *found.notes)
        return Lookup(
            type=RTN_NAMES.get(found.type, str(found.type)),
            route=found.position,
            table=found.table,
            prefixlen=found.prefixlen,
            hops=found.hops,
            left_out=found.left_out,
            prefsrc=address_text(prefsrc) if prefsrc.any() else None,
            **common,
        )


def _merge(answers: list[Lookup]) -> Lookup:
    """The first answer, with those of the other ways that differ from it as alternatives."""
    first = answers[0]
    others: list[Lookup] = []
    for answer in answers[1:]:
        if _essence(answer) not in map(_essence, (first, *others)):
            others.append(answer)
    if not others:
        return first
    return replace(first, notes=(*first.notes, MERGED_NOTE), alternatives=(*first.alternatives, *others))


def _essence(answer: Lookup) -> tuple[object, ...]:
    return answer.errno, answer.type, answer.table, answer.route, answer.hops


def _arrived4(answer: Lookup) -> Lookup:
    """A packet that arrives for a destination of another type is dropped (ip_route_input_slow(), martian)."""
    if answer.errno or answer.type in ("unicast", "local", "broadcast"):
        return answer
    note = f"a packet that arrives is not delivered to a destination of type {answer.type}"
    return replace(answer, errno=errno.EINVAL, hops=(), notes=(*answer.notes, note))


def lookup(tables: Tables, fib: Fib, query: Query) -> Lookup:
    """One question; for many, keep a ``Routing``."""
    return Routing(tables, {fib.family: fib}).lookup(query)
