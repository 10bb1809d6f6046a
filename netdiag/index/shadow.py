"""Which policy rules never decide anything because an earlier rule takes every packet that they match.

The kernel tries rules in order and stops at the first one whose action gives an answer (fib_rules_lookup() in
net/core/fib_rules.c). A later rule is dead where an earlier one matches at least the same packets and always answers:
it refuses them, or its table has a route for every destination that is left. It does not answer where the table's route
is a throw, where ``suppress_prefixlength`` or ``suppress_ifgroup`` may set the result aside, where the route has only
dead next hops, or where the packet is bound to another interface than the route's. A ``goto`` that jumps over the
earlier rule makes the later one reachable again.

What is said holds for packets that are not bound to an interface: those pass by a route over another one, as do IPv6
packets for link-local addresses and ::1. Only one earlier rule is looked at, not what several take together. Pure;
ValueError for a rule whose prefix is none.
"""

import ipaddress
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from netdiag.index.fib import Fib
from netdiag.index.links import LinkStack
from netdiag.index.reach import can_match, selects
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN, RTN_THROW, RTNH_F_DEAD, Route

REFUSALS = frozenset({"blackhole", "unreachable", "prohibit"})
MOST_COVERS = 64
"""How many earlier rules of one kind of selector are compared with a later one; real rule sets have a handful."""
_SPLITS = 3
"""A prefix may be covered in up to 2 ** 3 parts: VPNs spell "everything" as 0.0.0.0/1 and 128.0.0.0/1."""

Facet = tuple[str, Hashable]


class Shadow(NamedTuple):
    """A rule that is never asked, and the earlier one that answers in its place."""

    rule: PolicyRule
    by: PolicyRule


def _facets(rule: PolicyRule) -> dict[str, tuple[Hashable, Hashable]]:
    """Each selector that is set: its name, its kind (prefix length, mask) and its value."""
    # The kernel leaves out a mark of 0 that has a mask (fib_nl_fill_rule()).
    mask = rule.fwmask if rule.fwmask is not None else (0xFFFFFFFF if rule.fwmark else 0)
    given: dict[str, tuple[Hashable, Hashable, bool]] = {
        "src": (rule.src_len, rule.src, bool(rule.src_len)),
        "dst": (rule.dst_len, rule.dst, bool(rule.dst_len)),
        "mark": (mask, (rule.fwmark or 0) & mask, mask != 0),
        "iif": (None, rule.iif, rule.iif is not None),
        "oif": (None, rule.oif, rule.oif is not None),
        "tos": (None, rule.tos, rule.tos != 0),
        "dscp": (None, rule.dscp, rule.dscp is not None),
        "proto": (None, rule.ip_proto, rule.ip_proto is not None),
        "tunnel": (None, rule.tun_id, rule.tun_id is not None),
        "uid": (None, (rule.uid_start, rule.uid_end), rule.uid_start is not None),
        "sport": (None, (rule.sport_start, rule.sport_end), rule.sport_start is not None),
        "dport": (None, (rule.dport_start, rule.dport_end), rule.dport_start is not None),
        "l3mdev": (None, True, rule.l3mdev),
    }
    return {name: (kind, value) for name, (kind, value, is_set) in given.items() if is_set}


def same_packets(one: PolicyRule, other: PolicyRule) -> bool:
    """Whether two rules have the same selectors."""
    return one.invert == other.invert and one.l3mdev == other.l3mdev and _facets(one) == _facets(other)


def _narrowed(name: str, kind: Hashable, facet: tuple[Hashable, Hashable]) -> Hashable:
    """What a later rule's selector says about the bits that an earlier one of this kind looks at; None: too little."""
    own_kind, value = facet
    if name in ("src", "dst"):
        if not isinstance(own_kind, int) or not isinstance(kind, int) or own_kind < kind:
            return None
        return str(ipaddress.ip_network(f"{value}/{kind}", strict=False).network_address)
    if name == "mark":
        if not isinstance(own_kind, int) or not isinstance(kind, int) or kind & ~own_kind:
            return None
        return value & kind if isinstance(value, int) else None
    return value


def without_mark(rule: PolicyRule) -> bool:
    """Whether a rule takes whatever has not a certain mark, and asks for nothing else."""
    return rule.invert and bool(rule.fwmark) and set(_facets(rule)) == {"mark"} and not rule.l3mdev


class _Covers:
    """Earlier rules by what they select, so that those that cover a later one are found without trying all."""

    def __init__(self) -> None:
        self._by_shape: dict[tuple[Facet, ...], dict[tuple[Hashable, ...], list[int]]] = {}

    def add(self, position: int, rule: PolicyRule) -> None:
        facets = _facets(rule)
        shape = tuple((name, kind) for name, (kind, _) in facets.items())
        values = tuple(_narrowed(name, kind, (kind, value)) for name, (kind, value) in facets.items())
        bucket = self._by_shape.setdefault(shape, {}).setdefault(values, [])
        if len(bucket) < MOST_COVERS:
            bucket.append(position)

    def of(self, rule: PolicyRule) -> Iterator[int]:
        """Positions of earlier rules that match every packet that this one matches."""
        facets = {} if rule.invert else _facets(rule)
        for shape, buckets in self._by_shape.items():
            if all(name in facets for name, _ in shape):
                values = tuple(_narrowed(name, kind, facets[name]) for name, kind in shape)
                yield from buckets.get(values, ())


class Shadows:
    """The question for one family of one namespace."""

    def __init__(self, rules: Iterable[PolicyRule], fib: Fib, stack: LinkStack) -> None:
        self._fib = fib
        self._stack = stack
        self._rules: Sequence[PolicyRule] = [rule for rule in rules if rule.family == fib.family]
        self._anything = "0.0.0.0/0" if fib.family == "inet" else "::/0"
        self._answers: dict[tuple[int, str, str | None], bool] = {}
        first: dict[int, int] = {}
        for position, rule in enumerate(self._rules):
            first.setdefault(rule.priority, position)
        self._jumps = [
            (position, first[rule.goto])
            for position, rule in enumerate(self._rules)
            if rule.goto is not None and rule.goto in first
        ]

    def find(self, *, unmarked: bool = False) -> Iterator[Shadow]:
        """Every rule with a table of its own that never gets a packet, with the first rule that takes them all.

        ``unmarked``: packets without a mark are meant, so that a "not fwmark" takes them all.

        Rules for the tables main, default and local are left out, and what stands behind main for all packets as
        default does: a catch-all in front of them is how one replaces them. But one that leads chosen packets to main
        is told where an earlier rule refuses them.
        """
        covers = _Covers()
        plain = (rule.table == RT_TABLE_MAIN and self._may_cover(rule) and not selects(rule) for rule in self._rules)
        main = next((at for at, found in enumerate(plain) if found), 0)
        for position, rule in enumerate(self._rules):
            own = rule.table not in (None, RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL)
            chosen = rule.table == RT_TABLE_MAIN and selects(rule) and rule.suppress_prefixlength is None
            if (own or chosen) and can_match(rule):
                takers = sorted(other for other in covers.of(rule) if self._takes(other, position))
                if chosen and takers and self._rules[takers[0]].action not in REFUSALS:
                    continue
                last_resort = not selects(rule) and position > main and main
                if takers and not (last_resort and takers[0] < main):
                    yield Shadow(rule, self._rules[takers[0]])
            if unmarked and without_mark(rule) and self._may_cover(replace(rule, invert=False)):
                covers.add(position, replace(rule, fwmark=None, fwmask=None))
            if self._may_cover(rule):
                covers.add(position, rule)

    @staticmethod
    def _may_cover(rule: PolicyRule) -> bool:
        """Whether it has a table or refuses (a goto or nop does neither), and nothing about it is conditional."""
        always = rule.suppress_prefixlength is None and rule.suppress_ifgroup is None
        answers = rule.action in REFUSALS or (rule.table is not None and always)
        return answers and not (rule.invert or rule.unknown) and can_match(rule)

    def _takes(self, earlier: int, later: int) -> bool:
        if any(jump < earlier < target <= later for jump, target in self._jumps):
            return False
        taker, rule = self._rules[earlier], self._rules[later]
        if taker.action in REFUSALS:
            return True
        whole = rule.invert or not rule.dst_len
        asked = self._anything if whole else f"{rule.dst}/{rule.dst_len}"
        key = (taker.table or 0, asked, rule.oif)
        if key not in self._answers:
            self._answers[key] = self._answered(*key, splits=_SPLITS)
        return self._answers[key]

    def _answered(self, table: int, prefix: str, oif: str | None, *, splits: int) -> bool:
        """Whether the table has an answer for every address of the prefix."""
        fib = self._fib
        throws = fib.positions(table)[fib.routes.type[fib.positions(table)] == RTN_THROW]
        network = ipaddress.ip_network(prefix, strict=False)
        for position in throws.tolist():
            if ipaddress.ip_network(fib.routes.row(position).dst).overlaps(network):
                return False
        if any(self._answers_with(row, oif) for row in fib.routes.rows(fib.routes_covering(table, prefix))):
            return True
        if not splits or network.prefixlen == network.max_prefixlen or not len(fib.routes_within(table, prefix)):
            return False
        return all(self._answered(table, str(half), oif, splits=splits - 1) for half in network.subnets())

    def _answers_with(self, row: Route, oif: str | None) -> bool:
        """Whether this route takes any packet that comes to it, of whatever TOS or source."""
        if row.tos or (row.extra is not None and row.extra.src_len):
            return False
        if row.type in REFUSALS:
            return True
        if not row.hops:
            return row.nh_id is not None
        links = [self._stack.by_index.get(hop.oif) for hop in row.hops if not hop.flags & RTNH_F_DEAD]
        return any(
            link is not None and link.up and (oif is None or link is self._stack.by_name.get(oif)) for link in links
        )
