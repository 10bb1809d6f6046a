"""The ways in which a namespace may search its IPv4 tables: by the rules, or as if there were none.

Mirrors fib_lookup() of include/net/ip_fib.h. Until the first policy rule is added or deleted in a namespace, its rules
are not asked: tables local and main are one trie (fib_trie_table() with an alias, net/ipv4/fib_trie.c), so that the
longest prefix of both wins, and table default comes after it. From then on (fib_unmerge(), fib_has_custom_rules) and
for ever the rules are walked, also when they look again as they did at first. A snapshot does not tell which it is:
where the ways differ, netdiag names both.

Pure.
"""

import errno
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address

from msgspec.structs import replace

from netdiag.index.packet import Flow, Found, Hop, Lookup, Query, Step
from netdiag.index.rulewalk import Outcome, RuleWalk
from netdiag.index.select4 import Select4
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import (
    RT_TABLE_DEFAULT,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTN_BROADCAST,
    RTN_LOCAL,
    RTNH_F_ONLINK,
)

LOOPBACK = 1
RT_SCOPE_LINK = 253
MERGED_NOTE = "tables local and main are searched as one until a policy rule is added or deleted; then this differs"


def untouched(rules: tuple[PolicyRule, ...]) -> bool:
    """Whether IPv4 rules look as the kernel makes them; one that was put back has another origin (RTPROT_BOOT)."""
    made = ((0, RT_TABLE_LOCAL), (32766, RT_TABLE_MAIN), (32767, RT_TABLE_DEFAULT))
    return rules == tuple(PolicyRule(family="inet", priority=p, table=table, protocol=2) for p, table in made)


class WalkedTables:
    """Tables as the rules lead to them."""

    def __init__(
        self,
        walk: RuleWalk,
        select: Select4,
        loopbacks: Mapping[int, int],
        answer: Callable[[Flow, Outcome, tuple[Lookup, ...]], Lookup],
    ) -> None:
        """``loopbacks``: the VRF that stands for loopback, by ifindex; ``answer`` makes a Lookup of an outcome."""
        self._walk = walk
        self._select = select
        self._loopbacks = loopbacks
        self._answer = answer
        self._hosted: dict[tuple[int, int, str], bool] = {}

    def decide(self, flow: Flow) -> Lookup:
        """fib_lookup(), then the choice among next hops."""
        return self._decided(flow, self._outcome(flow))

    def bare(self, flow: Flow) -> Lookup:
        """fib_lookup() alone: the route and its first usable next hop, local routes with the interface they name."""
        return self._plain(flow, self._outcome(flow))

    def _plain(self, flow: Flow, outcome: Outcome) -> Lookup:
        return self._answer(flow, outcome, tuple(self._plain(flow, other) for other in outcome.alternatives))

    def local_device(self, address: int) -> int:
        """ifindex of the route of type local in table local that holds an address; 0: none."""
        found = self._local_table(_bare(address))
        return found.hops[0].oif if found is not None and found.type == RTN_LOCAL and not found.errno else 0

    def object_scope(self, hop: Hop) -> int | None:
        """Scope that the kernel noted for a hop of a nexthop object; None for any other."""
        return self._select.hops.object_scope(hop)

    def _reached(self, found: Found) -> Found:
        """The hops, without gateways that are not used; in both forms where that cannot be known."""
        if len(found.notes) < 2 and all(hop.gateway is None for hop in found.hops):
            return found
        hops: list[Hop] = []
        notes = list(found.notes)
        for hop in found.hops:
            used = self._gatewayed(hop)
            if used is not False or hop.gateway is None:
                hops.append(hop)
            if not used and hop.gateway is not None:
                hops.append(replace(hop, gateway=None, own_gateway=hop.gateway))
            if used is None:
                notes.append(
                    f"gateway {hop.gateway} is used only if it was not the host itself when the route was made"
                )
        return replace(found, hops=tuple(hops), notes=tuple(dict.fromkeys(notes)))

    def _gatewayed(self, hop: Hop) -> bool | None:
        """Whether a hop's gateway is used: it must have scope link. None: that cannot be known.

        fib_check_nh_v4_gw() of net/ipv4/fib_semantics.c gave it the scope of the route by which it was reached when the
        hop was made: a gateway that was the host itself got scope host. The dump tells it for nexthop objects alone.
        """
        if hop.gateway is None or hop.route is None:
            return False
        if ":" in hop.gateway or hop.flags & RTNH_F_ONLINK:
            return True
        scope = self.object_scope(hop)
        if scope is not None:
            return scope == RT_SCOPE_LINK
        key = (int(self._select.fib.routes.table[hop.route]), hop.oif, hop.gateway)
        if key not in self._hosted:
            self._hosted[key] = self._may_be_host(*key)
        return None if self._hosted[key] else True

    def _may_be_host(self, table: int, oif: int, gateway: str) -> bool:
        """Some route of scope host holds the gateway, by which it may have been reached."""
        tables = {table, RT_TABLE_LOCAL} | self._walk.tables
        routes = self._select.fib.routes
        return any(
            routes.scope[position] > RT_SCOPE_LINK and any(hop.oif == oif for hop in self._select.hops.of(position))
            for number in tables
            for group in self._select.fib.candidates(number, gateway)
            for position in group.positions
        )

    def _outcome(self, flow: Flow) -> Outcome:
        return self._walk.walk(flow)

    def _local_table(self, flow: Flow) -> Found | None:
        return self._select.table(RT_TABLE_LOCAL, flow)

    def _decided(self, flow: Flow, outcome: Outcome) -> Lookup:
        others = tuple(self._decided(flow, other) for other in outcome.alternatives)
        found = outcome.found
        if found is not None and not found.errno:
            if found.type == RTN_LOCAL or (found.type == RTN_BROADCAST and flow.arriving):
                oif = self._loopbacks.get(found.hops[0].oif, LOOPBACK)
                found = replace(found, hops=(Hop(route=found.position, oif=oif),))
            else:
                found = self._reached(self._select.spread(found, flow, self._gatewayed))
            outcome = replace(outcome, found=found)
        return self._answer(flow, outcome, others)


class MergedTables(WalkedTables):
    """Tables of a namespace whose rules were never touched.

    ``lenient``: older kernels go on to table default after *any* failure of main, newer ones only where main has no
    route (6.18.19 does the one, 6.18.44 the other).
    """

    lenient = False

    def _outcome(self, flow: Flow) -> Outcome:
        rules = {rule.table: rule for rule in self._walk.rules}
        found = self._local_table(flow)
        if found is None or found.errno == errno.EAGAIN or (found.errno and self.lenient):
            found = self._select.table(RT_TABLE_DEFAULT, flow)
        if found is None or found.errno == errno.EAGAIN:
            steps = [
                Step(rule=rule, matched=True, outcome=f"lookup {table}: no route") for table, rule in rules.items()
            ]
            return Outcome(errno=errno.ENETUNREACH, steps=tuple(steps))
        order = (RT_TABLE_LOCAL, RT_TABLE_MAIN, RT_TABLE_DEFAULT)
        passed = order[: order.index(found.table)]
        steps = [Step(rule=rules[table], matched=True, outcome=f"lookup {table}: no route") for table in passed]
        last = Step(rule=rules[found.table], matched=True, outcome=f"lookup {found.table}: route found", decisive=True)
        return Outcome(found=found, errno=found.errno, rule=rules[found.table], steps=(*steps, last))

    def _local_table(self, flow: Flow) -> Found | None:
        return self._select.merged(flow)


class LenientTables(MergedTables):
    """The same on kernels that ask table default after any failure."""

    lenient = True


def _bare(address: int) -> Flow:
    """A flow with a destination and nothing else."""
    return Flow(query=Query(family="inet", dst=str(IPv4Address(address))), dst=address, dst_number=address)
