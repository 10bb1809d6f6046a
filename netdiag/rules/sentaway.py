"""Guests whose packets a rule for everything sends away: the main table has a host route to them, and is not asked.

Used by rule-shadowed. Pure; nothing can fail.
"""

from typing import NamedTuple

from netdiag.index.policy import Lookup
from netdiag.index.reach import selects
from netdiag.index.view import HostView
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN, Route
from netdiag.rules.demands import Demand, demands


class SentAway(NamedTuple):
    """A guest, the route that its packets take, and the one of the main table that they should."""

    demand: Demand
    taken: Route
    kept: Route


def sent_away(view: HostView) -> dict[PolicyRule, list[SentAway]]:
    """By the rule that takes the packets."""
    lost: dict[PolicyRule, list[SentAway]] = {}
    for demand in demands(view) if any(_catches_all(rule) for rule in view.rules) else ():
        answer = view.lookup(demand.query)
        if demand.kind != "guest" or answer.rule is None or not _catches_all(answer.rule):
            continue
        kept = _of_main(view, demand)
        if kept is not None and demand.ifindex not in [hop.oif for hop in answer.hops] and not _alone(answer):
            assert answer.route is not None  # the rule's table decided
            taken = view.routes(demand.query.family).row(answer.route)
            lost.setdefault(answer.rule, []).append(SentAway(demand, taken, kept))
    return lost


def _catches_all(rule: PolicyRule) -> bool:
    """A rule for every packet, in front of the main table, with a table of its own."""
    return rule.table not in (None, RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL) and not selects(rule)


def _alone(answer: Lookup) -> bool:
    """Whether the answer is a host route: the guest is somewhere else by now."""
    return answer.prefixlen == (32 if answer.query.family == "inet" else 128)


def _of_main(view: HostView, demand: Demand) -> Route | None:
    """The main table's host route to a guest, over an interface with a carrier that is nobody's way out."""
    routes = view.routes(demand.query.family)
    group = next(view.fib(demand.query.family).candidates(RT_TABLE_MAIN, demand.query.dst), None)
    outwards = bool(((routes.dst_len == 0) & (routes.oif == demand.ifindex)).any())
    if group is None or outwards:
        return None
    row, link = routes.row(group.positions[0]), view.link(demand.ifindex)
    assert link is not None  # a guest is known by its link
    return row if row.oif == demand.ifindex and link.lower_up else None
