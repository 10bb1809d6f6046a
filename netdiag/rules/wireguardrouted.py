"""Which way packets for prefixes go, in any routing table that counts for them: for the rule about allowed addresses.

A routing table counts where some policy rule leads these packets to it; of its routes the longest for an address. Pure;
nothing can fail.
"""

import ipaddress
from bisect import bisect_left
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from netdiag.index.reach import tables_to
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.distinct import among, distinct
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RT_TABLE_LOCAL, RTN_UNICAST, RTNH_F_DEAD, Route
from netdiag.rules.routewords import ip_command, rule_words
from netdiag.rules.waysout import ROUTING_DAEMONS
from netdiag.rules.wireguardways import family_of, network, usable_tables

MOST_WITHIN = 64
"""Routes for parts of a prefix that are looked at."""
MOST_STEERED = 64
"""Prefixes whose policy rules are followed one by one."""
MOST_NAMED = 4


class Routed:
    """Where the packets for a prefix go, in any table that counts."""

    def __init__(self, view: HostView) -> None:
        self.view = view
        self.tables = {family: usable_tables(view, family) for family in ("inet", "inet6")}
        self.steered: set[str] = set()

    def steer(self, prefixes: Iterable[str]) -> None:
        """Note which of these prefixes some policy rule asks for: they have tables of their own."""
        asked = [network(f"{rule.dst}/{rule.dst_len}") for rule in self.view.rules if rule.dst_len]
        starts = {version: sorted(int(n.network_address) for n in asked if n.version == version) for version in (4, 6)}
        wider = {(one.version, one.prefixlen, int(one.network_address)) for one in asked}
        sizes = sorted({one.prefixlen for one in asked})

        def meets(prefix: str) -> bool:
            held = network(prefix)
            first, bits, at = int(held.network_address), held.max_prefixlen, starts[held.version]
            here = bisect_left(at, first)
            if here < len(at) and at[here] <= int(held.broadcast_address):
                return True
            up = ((size, bits - size) for size in sizes if size < held.prefixlen)
            return any((held.version, size, first >> rest << rest) in wider for size, rest in up)

        self.steered.update(islice((prefix for prefix in prefixes if meets(prefix)) if asked else (), MOST_STEERED))

    def tables_for(self, prefix: str) -> tuple[dict[int, int], PolicyRule | None]:
        """Tables that packets to this prefix may be routed by, and the rule for them alone that hides all others."""
        family = family_of(prefix)
        if prefix not in self.steered:
            return self.tables[family], None
        fib, length = self.view.fib(family), network(prefix).prefixlen

        def answers(table: int) -> bool:
            groups = [group for group in fib.candidates(table, specimens(prefix)[0]) if group.length <= length]
            held = [row for group in groups for row in self.view.route_rows(family, group.positions)]
            within = self.view.route_rows(family, fib.routes_within(table, prefix)[:MOST_WITHIN])
            lives = any(not row.hops or not all(hop.flags & RTNH_F_DEAD for hop in row.hops) for row in held)
            return lives and all(row.type != "throw" for row in (*held, *within))

        return tables_to(self.view.rules, self.view.links, family, prefix, answers)

    def oifs(self, family: str, positions: Iterable[int]) -> set[int]:
        """Interfaces of unicast routes."""
        rows = self.view.route_rows(family, positions)
        return {hop.oif for row in rows if row.type == "unicast" for hop in row.hops if hop.oif}

    def within(self, family: str, positions: npt.NDArray[np.int64]) -> set[int]:
        """The same for any number of routes; of multipath ones only the first few hundred are looked into."""
        routes = self.view.routes(family)
        single = positions[(routes.oif[positions] > 0) & (routes.type[positions] == RTN_UNICAST)]
        several = positions[routes.oif[positions] == 0][:256].tolist()
        return set(distinct(routes.oif[single]).tolist()) | self.oifs(family, several)

    def plainly(self, prefixes: list[str], ifindex: int) -> set[str]:
        """Those whose first address goes by the interface in some table: most of them, told all at once."""
        found: set[str] = set()
        for family in ("inet", "inet6"):
            asked = [prefix for prefix in prefixes if family_of(prefix) == family]
            if not asked:
                continue
            keys, routes = np.concatenate([_one(family, prefix) for prefix in asked]), self.view.routes(family)
            for table, shortest in self.tables[family].items():
                at = self.view.fib(family).lookup_many(table, keys)
                good = (at >= 0) & (routes.oif[at] == ifindex) & (routes.type[at] == RTN_UNICAST)
                good &= routes.dst_len[at] >= shortest
                found.update(prefix for prefix, yes in zip(asked, good.tolist(), strict=True) if yes)
        return found

    def ways(self, prefixes: list[str]) -> dict[str, set[int]]:
        """For each prefix the interfaces that packets for some address of it leave by; 1 where that is this host's own.

        Prefixes of one length between the same routes of every table share one answer.
        """
        found: dict[str, set[int]] = {}
        for family in ("inet", "inet6"):
            asked = list(dict.fromkeys(prefix for prefix in prefixes if family_of(prefix) == family))
            if not asked:
                continue
            fib, first = self.view.fib(family), np.concatenate([_one(family, prefix) for prefix in asked])
            last = np.concatenate([_one(family, prefix, last=True) for prefix in asked])
            own = (fib.lookup_many(RT_TABLE_LOCAL, first) >= 0) & (first == last).reshape(len(asked), -1).all(axis=1)
            edges = [(fib.pieces(table, first), fib.pieces(table, last)) for table in self.tables[family]]
            whole = np.all([begin == end for begin, end in edges], axis=0) if edges else np.ones(len(asked), bool)
            known: dict[tuple[str, ...], set[int]] = {}
            for number, prefix in enumerate(asked):
                place: tuple[str, ...] = (prefix,)
                if whole[number] and prefix not in self.steered:
                    place = (prefix.partition("/")[2], *(str(begin[number]) for begin, _ in edges))
                if place not in known:
                    known[place] = self.by(prefix)
                found[prefix] = known[place] | ({1} if own[number] else set())
        return found

    def by(self, prefix: str) -> set[int]:
        """Interfaces that packets for some address of the prefix leave by."""
        family = family_of(prefix)
        fib, found = self.view.fib(family), set[int]()
        for table, shortest in self.tables_for(prefix)[0].items():
            inside = fib.routes_within(table, prefix)
            if longer := self.covering(family, inside, prefix):
                found |= {hop.oif for row in longer for hop in row.hops if hop.oif}
                continue
            found |= self.within(family, inside)
            for address in specimens(prefix)[:2]:
                for group in fib.candidates(table, address):
                    hops = self.oifs(family, group.positions) if group.length >= shortest else set()
                    found |= hops
                    if hops:
                        break
        return found

    def covering(self, family: str, inside: npt.NDArray[np.int64], prefix: str) -> list[Route]:
        """Routes made by hand for parts of the prefix that leave nothing of it to a shorter one; empty without such.

        Those of a routing daemon are its choice of this moment.
        """
        routes, held = self.view.routes(family), network(prefix)
        longer = inside[routes.dst_len[inside] > held.prefixlen]
        if len(longer) > MOST_WITHIN or among(routes.protocol[longer], ROUTING_DAEMONS).any():
            return []
        rows = [row for row in self.view.route_rows(family, longer) if not row.flags & RTNH_F_DEAD]
        parts: Any = [network(row.dst) for row in rows]
        return rows if list(ipaddress.collapse_addresses(parts)) == [held] else []

    def instead(self, prefix: str) -> tuple[str, str] | None:
        """What takes the packets of a prefix past a route into the tunnel, and the command against it."""
        family = family_of(prefix)
        tables, end = self.tables_for(prefix)
        if end is not None:
            words = rule_words(end)
            return f"by rule {end.priority} ({words})", f"{ip_command(family)} rule del pref {end.priority} {words}"
        for table in tables:
            if longer := self.covering(family, self.view.fib(family).routes_within(table, prefix), prefix):
                parts = [f"{ip_command(family)} route del {row.dst} table {table}" for row in longer]
                return f"by the longer routes {longer[0].dst} ... of table {table}", " && ".join(parts[:MOST_NAMED])
        return None


def _one(family: str, prefix: str, *, last: bool = False) -> Any:
    held = network(prefix)
    packed = (held.broadcast_address if last else held.network_address).packed
    if family == "inet":
        return np.array([int.from_bytes(packed, "big")], np.uint32)
    return np.frombuffer(packed, np.uint8).reshape(1, 16)
