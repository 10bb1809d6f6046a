"""Which routing tables the policy rules of a family lead to at all.

Rules are walked in their order as fib_rules_lookup() does (net/core/fib_rules.c), but for every packet at once: a rule
whose selector could match some packet leads to its table. So a table that is not in the answer is never looked at for
any packet, while one that is in it may be looked at for few. Pure.
"""

from collections.abc import Iterable

from netdiag.model.link import Link
from netdiag.model.policyrule import PolicyRule

_TERMINAL = frozenset({"blackhole", "unreachable", "prohibit"})


def selects(rule: PolicyRule) -> bool:
    """Whether the rule has any selector, so that some packets pass it by."""
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
    return any(value is not None for value in given) or bool(rule.src_len or rule.dst_len or rule.tos or rule.unknown)


def can_match(rule: PolicyRule) -> bool:
    """False where no packet can match now: an interface that does not exist, or ``not`` of everything."""
    if rule.invert:
        return selects(rule)
    return not (rule.iif_detached or rule.oif_detached)


def reachable_tables(rules: Iterable[PolicyRule], links: Iterable[Link], family: str) -> dict[int, int]:
    """Table numbers, each with the length in bits of the shortest prefix that some rule takes from it.

    That length is above 0 where every rule to the table has ``suppress_prefixlength``: its default route is then
    ignored. The table of a VRF counts as reachable through an ``l3mdev`` rule. Empty where a family has no rules.
    """
    vrfs: list[int | None] = [link.info.get("table") for link in links if link.kind == "vrf"]
    found: dict[int, int] = {}
    jump = 0
    for rule in rules:
        if rule.family != family or rule.priority < jump or not can_match(rule):
            continue
        always = not selects(rule)
        if rule.action in _TERMINAL and always:
            break
        if rule.action == "goto" and always and rule.goto is not None and not rule.goto_unresolved:
            jump = rule.goto
        if rule.action != "lookup":
            continue
        shortest = 0 if rule.suppress_prefixlength is None else rule.suppress_prefixlength + 1
        for table in vrfs if rule.l3mdev else [rule.table]:
            if table is not None:
                found[table] = min(shortest, found.get(table, shortest))
    return found
