"""What must arrive on an interface by this host's own routes, and is dropped there by a strict reverse path filter.

A route over an interface speaks for its answers: what is sent that way, by whatever rule leads to the route, is
answered that way, unless the other side is asymmetric itself. For each such route one packet that takes it is looked
for, and its answer is put to the filter (netdiag.index.reversepath). Bounded: a few routes of a few tables for each
interface, never a scan of a full table a link. Pure; nothing can fail.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from netdiag.index.fib import Positions
from netdiag.index.packet import Lookup, Query
from netdiag.index.reach import can_match
from netdiag.index.reversepath import Reverse, ReversePath, effective
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.distinct import among, distinct
from netdiag.model.finding import Subject, subject
from netdiag.model.link import Link
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RT_TABLE_LOCAL, RTN_UNICAST, Route
from netdiag.rules.routewords import route_subject, rule_words, table_word

MOST_ROUTES, MOST_TABLES, MOST_RULES, MOST_MARKS = 3, 12, 6, 3
"""How much is asked for at most: routes of a table, tables of a link, rules to a table, marks of other rules."""
MANY = 50_000
MOST_LED = 64
MOST_LINKS = 64
"""Interfaces that are asked about."""
KERNEL = 2
"""RTPROT_KERNEL: connected routes; that two links share a subnet is another fault."""


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """Packets that arrive on an interface and are dropped there."""

    link: Link
    source: str
    address: str
    """Destination of the packets."""
    way: Lookup
    """The way back."""
    why: str
    """Why such packets must be expected."""
    mark: int = 0
    """That of the packets whose answers they are."""
    standby: bool = False
    """Only a route that is not used now speaks for them."""


class Arrivals:
    """The question for one host and its strict interfaces."""

    def __init__(self, view: HostView, strict: Iterable[Link], family: str = "inet") -> None:
        """``family``: IPv6 has no rp_filter; its filters are rules of the firewall, which ask as _back() does."""
        self._view = view
        self._family = family
        self._bits = 32 if family == "inet" else 128
        self._filter = ReversePath(view.lookup, self._devices)
        self._rules = [rule for rule in view.rules if rule.family == family]
        self._marks = sorted({rule.fwmark for rule in self._rules if rule.fwmark})[:MOST_MARKS]
        self._onward = self._onward_routes({link.ifindex for link in strict})

    def _devices(self, position: int) -> list[int]:
        return [hop.oif for hop in self._view.route_rows("inet", [position])[0].hops]

    def _onward_routes(self, indexes: set[int]) -> Positions:
        """Routes over these interfaces that lead further than to one address on the link."""
        routes = self._view.routes(self._family)
        pointers = [at for at, extra in enumerate(routes.extras) if any(hop.oif in indexes for hop in extra.multipath)]
        over = among(routes.oif, sorted(indexes))
        over = over | among(routes.extra, pointers) if pointers else over
        over = over & (routes.type == RTN_UNICAST) & (routes.protocol != KERNEL) & (routes.table != RT_TABLE_LOCAL)
        positions = np.flatnonzero(over & (routes.dst_len < self._bits))
        return positions if len(positions) < MANY else positions[routes.dst_len[positions] <= self._bits // 2]

    def leading_on(self) -> set[int]:
        """Interfaces, by ifindex, that have a route which leads on."""
        routes, onward = self._view.routes(self._family), self._onward
        pointers = distinct(routes.extra[onward]).tolist()
        several = {hop.oif for at in pointers if at >= 0 for hop in routes.extras[at].multipath}
        return several | set(distinct(routes.oif[onward]).tolist())

    def own(self, link: Link) -> str | None:
        """The interface's first address of global scope."""
        mine = (a for a in self._view.addresses if a.ifindex == link.ifindex and a.family == self._family)
        own = (address for address in mine if address.scope == 0)
        return next((address.local for address in own), None)

    def _back(self, link: Link, address: str, source: str) -> Reverse:
        """Whether the filter lets in a packet to an address of this host.

        IPv6: nft_fib6_eval() and rpfilter_lookup_reverse6() ask as for a packet, and compare the interface; a standby
        route of a higher metric by this interface does not count.
        """
        if self._family == "inet":
            return self._filter.strict(link, Query(family="inet", dst=address, src=source))
        way = self._view.lookup(Query(family="inet6", dst=source, src=address))
        answers = [one for one in (way, *way.alternatives) if one.type == "unicast"]
        here = any(hop.oif == link.ifindex for one in answers for hop in one.hops)
        return Reverse(here or way.type == "local", way)

    def dropped(self, link: Link, sources: Iterable[str], address: str, length: int = 128) -> tuple[str, Lookup] | None:
        """The first source and its way back where the filter lets none of the sources in; else None.

        A source that passes by a prefix longer than ``length`` says nothing about the route in question.
        """
        first = None
        for source in sources:
            reverse = self._back(link, address, source)
            if reverse.passes:
                if reverse.way.prefixlen is not None and reverse.way.prefixlen > length:
                    continue
                return None
            first = first or (source, reverse.way)
        return first

    def expected(self, link: Link) -> Iterator[Dropped]:
        """What must arrive on the interface, by the routes over it, and is dropped."""
        for position, row in self._ways_over(link):
            leading = [rule for rule in self._rules if rule.table == row.table and can_match(rule)][:MOST_RULES]
            answers = [answer for rule in leading for answer in self._answers(link, position, row, rule)]
            yield from (answer for answer in answers if answer is not None)
            address = row.prefsrc or self.own(link)
            if address is None or answers:
                continue
            lost = self.dropped(link, specimens(row.dst), address, length=int(row.dst.rpartition("/")[2]))
            if lost is not None:
                # Without a rule the table has lost it; with one, a better route is in use.
                has = f"{row.dst} in table {table_word(row.table)} goes by it"
                why = (
                    f"{has}, though a better route is in use" if leading else f"{has}, and no rule leads there any more"
                )
                yield Dropped(link=link, source=lost[0], address=address, way=lost[1], why=why, standby=bool(leading))

    def beside(self, link: Link) -> Iterator[Dropped]:
        """What others may send to the interface's address, by which no route leads on, and is dropped."""
        address = self.own(link)
        if address is None:
            return
        lost = self.dropped(link, specimens("0.0.0.0/0" if self._family == "inet" else "::/0"), address, length=0)
        if lost is not None:
            why = f"no route leads on by {link.ifname}"
            yield Dropped(link=link, source=lost[0], address=address, way=lost[1], why=why, standby=True)

    def _ways_over(self, link: Link) -> Iterator[tuple[int, Route]]:
        """A few routes over the interface: for each table those of the shortest prefixes."""
        routes, positions = self._view.routes(self._family), self._onward
        several = [at for at, extra in enumerate(routes.extras) if any(h.oif == link.ifindex for h in extra.multipath)]
        over = routes.oif[positions] == link.ifindex
        positions = positions[over | among(routes.extra[positions], several) if several else over]
        for table in distinct(routes.table[positions])[:MOST_TABLES].tolist():
            here = positions[routes.table[positions] == table]
            shortest = here[np.argsort(routes.dst_len[here], kind="stable")][:MOST_ROUTES].tolist()
            yield from zip(shortest, self._view.route_rows(self._family, shortest), strict=True)

    def _answers(self, link: Link, position: int, row: Route, rule: PolicyRule) -> list[Dropped | None]:
        """For a rule by which packets do leave over this route: their answers where they are dropped, None where they
        are not; empty where no packet takes the route by this rule.

        Answers ask for their way back with addresses and ports exchanged: rules that select by these, by the guests'
        interface or by TOS match them again. A mark, an owner and a bound interface are not theirs.
        """
        same = (rule.ip_proto, rule.sport_start, rule.dport_start, rule.dscp, rule.tos or None, rule.src_len or None)
        if any(selector is not None for selector in same) or rule.iif not in (None, "lo"):
            return [None]
        length = int(row.dst.rpartition("/")[2])
        for query in self._departures(row, rule):
            if self._view.lookup(query).route != position:
                continue
            address = row.prefsrc or self.own(link)
            if address is None or (query.mark and self._valid_mark(link)):
                return [None]  # the firewall may give the mark back to the answers
            back = self._back(link, address, query.dst)
            if back.passes:
                if (back.way.prefixlen or 0) > length:
                    continue  # a neighbour on the link: it says nothing of who is behind
                return [None]
            mark = f" with mark {query.mark:#x}" if query.mark and not rule.fwmark else ""
            why = f"rule {rule.priority} ({rule_words(rule)}) sends by it{mark}, so the answers come in there"
            return [Dropped(link=link, source=query.dst, address=address, way=back.way, why=why, mark=query.mark)]
        return []

    def _valid_mark(self, link: Link) -> bool:
        if self._family == "inet6":
            return False  # the question is the firewall's: it asks with the mark if it says so
        everywhere = self._view.sysctl_int("net.ipv4.conf.all.src_valid_mark") or 0
        return effective(link, everywhere, "src_valid_mark") > 0

    def _departures(self, row: Route, rule: PolicyRule) -> Iterator[Query]:
        """Packets of this host that the rule may send to the route's destinations."""
        routed = ipaddress.ip_network(row.dst)
        wanted = ipaddress.ip_network(f"{rule.dst}/{rule.dst_len}", strict=False) if rule.dst_len else routed
        marks, uid, oif = [0, *self._marks], None, None
        if not rule.invert:
            marks, uid, oif = [rule.fwmark] if rule.fwmark else marks, rule.uid_start, rule.oif
            routed = max(routed, wanted, key=lambda network: network.prefixlen)
        for mark in marks:
            for destination in specimens(str(routed)):
                yield Query(family=self._family, dst=destination, mark=mark, uid=uid, oif=oif)


def announced(view: HostView, link: Link) -> str | None:
    """Name of a BGP session over the interface's own IPv4 subnet that stands and that prefixes were sent to: traffic
    for them comes in there, from anywhere. None where there is none, or BIRD was not read."""
    own = [a for a in view.addresses if a.ifindex == link.ifindex and a.family == "inet"]
    subnets = [ipaddress.ip_network(f"{a.local}/{a.prefixlen}", strict=False) for a in own]
    for daemon in view.bird.daemons:
        for protocol in daemon.protocols:
            if protocol.bgp_state != "Established" or not any(channel.exported for channel in protocol.channels):
                continue
            neighbour = protocol.neighbor_address
            if neighbour and any(ipaddress.ip_address(neighbour) in net for net in subnets):
                return protocol.name
    return None


def overruled(view: HostView, dropped: Dropped) -> list[Subject]:
    """The route back over the interface itself, if there is one, that the route which is taken has beaten: its prefix
    and table are the same."""
    if dropped.way.route is None:
        return []
    (row,) = view.route_rows("inet6" if ":" in dropped.source else "inet", [dropped.way.route])
    return [subject("route", dst=row.dst, table=row.table, ifname=dropped.link.ifname)]


def led_elsewhere(view: HostView, link: Link) -> Iterator[Subject]:
    """The narrowest routes that lead out by other interfaces: one that was moved there explains such drops."""
    routes = view.routes("inet")
    chosen = np.flatnonzero((routes.type == RTN_UNICAST) & (routes.protocol != KERNEL) & (routes.oif != link.ifindex))
    order = chosen[np.argsort(routes.dst_len[chosen], kind="stable")[::-1]]
    yield from (route_subject(view, row) for row in view.route_rows("inet", order[:MOST_LED].tolist()))
