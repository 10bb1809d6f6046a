"""The lookups over one namespace's tables, each built when first asked for and shared by all rules. Pure."""

from dataclasses import dataclass, replace
from functools import cached_property

from netdiag.index.alike import Alike
from netdiag.index.expanded import with_hops
from netdiag.index.fib import Fib
from netdiag.index.links import LinkStack
from netdiag.index.local import LocalAddresses
from netdiag.index.motion import moving
from netdiag.index.netfilter import Netfilter
from netdiag.index.policy import Lookup, Query, Routing
from netdiag.model.counters import CounterSample
from netdiag.model.policyrule import PolicyRule
from netdiag.model.snapshot import Tables


@dataclass(frozen=True)
class Deltas:
    """Two samples of the counters and the time between them."""

    first: CounterSample
    second: CounterSample

    @property
    def seconds(self) -> float:
        """Seconds of CLOCK_BOOTTIME between the samples."""
        return self.second.at - self.first.at

    def snmp(self, counter: str) -> int | None:
        """How far ``TcpExt.ListenDrops`` or the like moved; None where it is missing or went back (a reset)."""
        before, after = self.first.snmp.get(counter), self.second.snmp.get(counter)
        if before is None or after is None or after < before:
            return None
        return after - before


LOOKUPS = 20_000
"""Answers of policy routing that are kept."""


class HostIndex:
    """The lookups over one namespace's tables, each built when first asked for."""

    def __init__(self, tables: Tables) -> None:
        self.tables = with_hops(tables)
        self._lookups: dict[Query, Lookup] = {}
        self._behind: dict[PolicyRule, Routing] = {}

    @cached_property
    def stack(self) -> LinkStack:
        return LinkStack(self.tables.links, self.tables.peer_links)

    @cached_property
    def moving(self) -> frozenset[str]:
        return moving(self.tables)

    @cached_property
    def fib(self) -> dict[str, Fib]:
        return {"inet": Fib(self.tables.routes), "inet6": Fib(self.tables.routes6)}

    @cached_property
    def local(self) -> LocalAddresses:
        return LocalAddresses(self.tables, self.fib)

    @cached_property
    def netfilter(self) -> Netfilter:
        return Netfilter(self.tables.nft, {link.ifname: link.ifindex for link in self.tables.links})

    @cached_property
    def _alike(self) -> Alike:
        return Alike(self.routing)

    def lookup(self, query: Query) -> Lookup:
        """What policy routing decides for a packet; asked once, however many want to know."""
        known = self._lookups.get(query)
        if known is None:
            known = self._alike.lookup(query)
            if len(self._lookups) < LOOKUPS:
                self._lookups[query] = known
        return known

    def lookup_behind(self, query: Query, rule: PolicyRule) -> Lookup:
        """What the policy rules behind one would decide for a packet, were they asked."""
        known = self._behind.get(rule)
        if known is None:
            mine = [one for one in self.tables.rules if one.family == rule.family]
            rest = tuple(mine[mine.index(rule) + 1 :]) if rule in mine else ()
            known = self._behind[rule] = Routing(replace(self.tables, rules=rest), self.fib, self.stack)
        return known.lookup(query)

    @cached_property
    def routing(self) -> Routing:
        return Routing(self.tables, self.fib, self.stack)
