"""What a policy rule that never gets a packet would have decided, and whether that differs from what happens instead.

Used by the rules about policy rules that an earlier one makes dead, see netdiag.index.shadow. Pure.
"""

import ipaddress

from netdiag.index.shadow import Shadow
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import Route

MOST_COMPARED = 32


def decided_otherwise(view: HostView, shadow: Shadow) -> Route | None:
    """A route of the dead rule's table that sends its packets another way than the earlier rule does."""
    fib = view.fib(shadow.rule.family)
    positions = fib.positions(shadow.rule.table or 0)
    ordered = positions[fib.routes.dst_len[positions].argsort(kind="stable")]
    for row in view.route_rows(shadow.rule.family, ordered[:MOST_COMPARED].tolist()):
        shared = common_part(shadow.rule, row.dst)
        if row.type == "throw" or shared is None:
            continue
        if any(
            taken_way(view, shadow.rule, address) != taken_way(view, shadow.by, address)
            for address in specimens(shared)
        ):
            return row
    return None


def decided_alike(view: HostView, shadow: Shadow) -> Route | None:
    """A route of the dead rule's table that sends its packets the way that the earlier rule sends them."""
    fib = view.fib(shadow.rule.family)
    positions = fib.positions(shadow.rule.table or 0)
    for row in view.route_rows(shadow.rule.family, positions[:MOST_COMPARED].tolist()):
        if row.hops and common_part(shadow.rule, row.dst) is not None:
            return row
    return None


def common_part(rule: PolicyRule, dst: str) -> str | None:
    """The part of a route's destinations that the rule's "to" lets pass, as a prefix; None where there is none.

    What ``not to`` leaves of a wider prefix is no prefix: then all of it is given.
    """
    if not rule.dst_len:
        return dst
    wanted = ipaddress.ip_network(f"{rule.dst}/{rule.dst_len}", strict=False)
    routed = ipaddress.ip_network(dst)
    longer = max(routed, wanted, key=lambda network: network.prefixlen)
    if rule.invert:
        return None if longer == routed and routed.overlaps(wanted) else dst
    return str(longer) if routed.overlaps(wanted) else None


def way_of(row: Route) -> object:
    """Next hops, or the nexthop object that stands for them; None for a route that refuses."""
    return {(hop.oif, hop.gateway) for hop in row.hops} or row.nh_id


def taken_way(view: HostView, rule: PolicyRule, address: str) -> object:
    """The way that a rule gives to a destination; None where it refuses or has none."""
    fib = view.fib(rule.family)
    group = next(fib.candidates(rule.table or 0, address), None)
    return way_of(fib.routes.row(group.positions[0])) if group is not None else None
