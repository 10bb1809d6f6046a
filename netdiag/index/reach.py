"""Which routing tables the policy rules of a family lead to at all.

Rules are walked in their order as fib_rules_lookup() does (net/core/fib_rules.c), but for every packet at once: a rule
whose selector could match some packet leads to its table. So a table that is not in the answer is never looked at for
any packet, while one that is in it may be looked at for few. Pure.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator

import msgspec

from netdiag.model.link import Link
from netdiag.model.policyrule import PolicyRule

_TERMINAL = frozenset({"blackhole", "unreachable", "prohibit"})


def selects(rule: PolicyRule, *, by_dst: bool = True) -> bool:
    """Whether the rule has any selector, so that some packets pass it by; that of the destination if ``by_dst``."""
    given = (
        rule.iif,
        rule.oif,
        rule.fwmark,
        rule.fwmask,
        rule.dscp,
        rule.uid_start,
        rule.ip_proto,
        rule.sport_start,
        rule.dport_start,
        rule.tun_id,
    )
    more = rule.src_len or (rule.dst_len and by_dst) or rule.tos or rule.l3mdev or rule.unknown
    return any(value is not None for value in given) or bool(more)


def takes_own(rule: PolicyRule) -> bool:
    """Whether every packet that this host begins, and whose source is still open, matches: the rule selects nothing, or
    not a source (one that is open is in no network, whatever else the rule names), or what comes from here."""
    if rule.invert:
        return bool(rule.src_len)
    return not selects(msgspec.structs.replace(rule, iif=None if rule.iif == "lo" else rule.iif))


def can_match(rule: PolicyRule) -> bool:
    """False where no packet can match now: an interface that does not exist, or ``not`` of everything."""
    if rule.invert:
        return selects(rule)
    return not (rule.iif_detached or rule.oif_detached)


def tables_to(
    rules: Iterable[PolicyRule], links: Iterable[Link], family: str, prefix: str, answers: Callable[[int], bool]
) -> tuple[dict[int, int], PolicyRule | None]:
    """The same as ``reachable_tables`` for packets to a prefix, and the rule that ends the search for all of them.

    Rules for other destinations lead nowhere; one for these alone, whatever else the packets are, ends the search where
    its table ``answers`` for the whole prefix.
    """
    wanted = ipaddress.ip_network(prefix, strict=False)
    passed: list[PolicyRule] = []
    for rule in rules:
        if rule.family != family:
            continue
        passed.append(rule)
        if not rule.dst_len or rule.invert:
            continue
        held = ipaddress.ip_network(f"{rule.dst}/{rule.dst_len}", strict=False)
        if not held.overlaps(wanted):
            passed.pop()
            continue
        kept = rule.suppress_prefixlength is None and rule.suppress_ifgroup is None
        if held.prefixlen > wanted.prefixlen or selects(rule, by_dst=False) or rule.action != "lookup":
            continue
        if kept and rule.table is not None and answers(rule.table):
            return reachable_tables(passed, links, family), rule
    return reachable_tables(passed, links, family), None


def _walked(rules: Iterable[PolicyRule], family: str) -> Iterator[tuple[PolicyRule, PolicyRule | None]]:
    """Each rule of the family, and the one that leads or ends all packets before they come to it; None: some may come.

    A ``goto`` for some packets opens a second way: what one for all leads past may be where those go on.
    """
    starts: list[int] = [0]
    by: PolicyRule | None = None
    for rule in rules:
        if rule.family != family:
            continue
        if all(start > rule.priority for start in starts):
            yield rule, by
            continue
        yield rule, None
        goto = None if rule.goto_unresolved or not can_match(rule) else rule.goto
        if not rule.invert and not selects(rule) and (goto is not None or rule.action in _TERMINAL):
            starts, by = [start for start in starts if start > rule.priority], rule
        if goto is not None:
            starts.append(goto)


def jumped_over(rules: Iterable[PolicyRule], family: str) -> dict[PolicyRule, PolicyRule]:
    """Rules that no packet comes to, each with the ``goto`` for all packets that leads past it."""
    return {rule: by for rule, by in _walked(rules, family) if by is not None and by.goto is not None}


def reachable_tables(rules: Iterable[PolicyRule], links: Iterable[Link], family: str) -> dict[int, int]:
    """Table numbers, each with the length in bits of the shortest prefix that some rule takes from it.

    That length is above 0 where every rule to the table has ``suppress_prefixlength``: its default route is then
    ignored. The table of a VRF counts as reachable through an ``l3mdev`` rule. Empty where a family has no rules.
    """
    vrfs: list[int | None] = [link.info.get("table") for link in links if link.kind == "vrf"]
    found: dict[int, int] = {}
    for rule, by in _walked(rules, family):
        if by is not None or rule.action != "lookup" or not can_match(rule):
            continue
        shortest = 0 if rule.suppress_prefixlength is None else rule.suppress_prefixlength + 1
        for table in vrfs if rule.l3mdev else [rule.table]:
            if table is not None:
                found[table] = min(shortest, found.get(table, shortest))
    return found
