"""Packets that policy routing cannot tell apart, looked up once: a thousand endpoints behind one default route.

Two packets to different addresses get the same answer where everything else about them is the same, both addresses lie
between the same "to" prefixes of rules, and their longest prefix is the same one in every table that a rule can lead
to: all shorter prefixes are then the same as well, and netdiag.index.policy looks at nothing else of a unicast address
(ports count where a rule names one). But a packet to the host itself gets its destination as source: what a route of
type local answers is not shared.

Pure. Errors as those of ``Routing.lookup``.
"""

from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

from msgspec.structs import replace

from netdiag.index.fib import Fib
from netdiag.index.output4 import LIMITED_BROADCAST, multicast
from netdiag.index.packet import Lookup, Query
from netdiag.index.policy import Routing
from netdiag.index.rulewalk import RuleWalk
from netdiag.index.select6 import link_scoped
from netdiag.model.route import RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN, RTN_LOCAL

MOST_TABLES = 8
"""Where rules lead to more, telling packets apart costs as much as looking them up."""

Kind = tuple[object, ...]


class Alike:
    """The lookups of one namespace, of which those that must be equal are made once."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing
        self._shared: dict[Kind, Lookup | None] = {}
        """None: each packet of the kind has an answer of its own."""

    @cached_property
    def _families(self) -> dict[str, "_Family"]:
        routing = self._routing
        return {family: _Family(fib, routing.walk(family)) for family, fib in routing.fibs.items()}

    def lookup(self, query: Query) -> Lookup:
        """What ``Routing.lookup`` answers."""
        kind = self._families[query.family].kind(query)
        shared = self._shared.get(kind) if kind is not None else None
        if shared is not None:
            return _asked(shared, query)
        answer = self._routing.lookup(query)
        if kind is not None and kind not in self._shared:
            self._shared[kind] = None if self._local(answer) else answer
        return answer

    def _local(self, answer: Lookup) -> bool:
        types = self._routing.fibs[answer.query.family].routes.type
        return any(one.route is not None and types[one.route] == RTN_LOCAL for one in _all(answer))


class _Family:
    """What of one family's rules and tables can tell two packets apart."""

    def __init__(self, fib: Fib, walk: RuleWalk) -> None:
        self._fib = fib
        self._v4 = fib.family == "inet"
        tables = {RT_TABLE_LOCAL, RT_TABLE_MAIN, RT_TABLE_DEFAULT} | walk.tables
        self._longest = [fib.longest(table) for table in fib.tables() if table in tables]
        self._edges = walk.destination_edges
        self._sport, self._dport = walk.port_selectors

    def kind(self, query: Query) -> Kind | None:
        """Equal for packets that get equal answers; None: this one is like no other."""
        if len(self._longest) > MOST_TABLES:
            return None
        try:
            key = self._fib.key(query.dst)
        except ValueError:
            return None
        number = key if isinstance(key, int) else int.from_bytes(key, "big")
        if self._special(number):
            return None
        return (
            query.family,
            query.src,
            query.iif,
            query.oif,
            query.mark,
            query.uid,
            query.tos,
            query.ip_proto,
            query.sport if self._sport else None,
            query.dport if self._dport else None,
            query.tun_id,
            bisect_right(self._edges, number),
            *[longest(key) for longest in self._longest],
        )

    def _special(self, number: int) -> bool:
        """Whether an address by itself, and not what holds it, decides about something."""
        if self._v4:
            return number in (0, LIMITED_BROADCAST) or multicast(number)
        return number == 1 or link_scoped(number)


def _all(answer: Lookup) -> Iterator[Lookup]:
    yield answer
    for other in answer.alternatives:
        yield from _all(other)


def _asked(answer: Lookup, query: Query) -> Lookup:
    """The same answer to another question."""
    return replace(answer, query=query, alternatives=tuple(_asked(other, query) for other in answer.alternatives))
