"""Policy rules that each guest of a host has, and one has not: told by its like.

A CNI plugin with a table for each uplink (Amazon's VPC CNI) gives every pod a rule "to POD lookup main" ahead of the
rules that send pods out by their uplink. Where one is lost, the pod is reached from this host and from outside, while
what its siblings send to it leaves by the uplink. Pure; nothing can fail.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from netdiag.index.guests import sides
from netdiag.index.packet import Query
from netdiag.index.reach import selects
from netdiag.index.view import HostView
from netdiag.model.link import Link
from netdiag.model.policyrule import PolicyRule

READS = ("links", "addresses", "routes", "rules", "sysctls")
MANY = 3
"""So many times as many guests must have such a rule as have none."""
MOST = 256
"""Guests that are asked about."""


@dataclass(frozen=True, kw_only=True)
class Forsaken:
    """A guest without the rule that its siblings have, whose packets are misled for it."""

    rule: PolicyRule
    """The rule that it lacks."""
    link: Link
    siblings: int
    """How many guests have one."""
    sender: Link
    """A sibling whose packets to it go astray."""
    astray: str
    """Where to: the interfaces, or nowhere."""


def forsaken(view: HostView) -> Iterator[Forsaken]:
    """Every such guest."""
    for family in ("inet", "inet6"):
        around = sides(view.stack, view.routes(family), view.addresses)
        alone = [one for one in around.guests if one.kind == "routed" and one.count == 1]
        guests = {one.prefix.partition("/")[0]: one.link for one in alone[:MOST]}
        named = [one for one in view.rules if _for_one(one) and one.dst in guests]
        lacking = set(guests) - {one.dst for one in named}
        groups: dict[tuple[int, int | None], dict[str, PolicyRule]] = {}
        for one in named:
            groups.setdefault((one.priority, one.table), {})[one.dst or ""] = one
        for having in groups.values():
            if lacking and len(having) >= MANY * len(lacking):
                yield from _misled(view, having, guests, lacking)


def _for_one(rule: PolicyRule) -> bool:
    """``to ADDRESS lookup TABLE``, and no other selector."""
    whole = rule.dst_len == (32 if rule.family == "inet" else 128)
    return whole and rule.action == "lookup" and not rule.invert and not selects(rule, by_dst=False)


def _misled(
    view: HostView, having: dict[str, PolicyRule], guests: dict[str, Link], lacking: set[str]
) -> Iterator[Forsaken]:
    first, second = sorted(having)[:2]
    for address in sorted(lacking):
        for sender in (first, second):
            link, other = guests[address], second if sender == first else first
            rule = having[sender]
            found = _asked(view, rule.family, guests[sender], sender, address)
            if found is None or link.ifindex in found:
                continue
            if _asked(view, rule.family, guests[sender], sender, other) != {guests[other].ifindex}:
                continue
            yield Forsaken(
                rule=PolicyRule(
                    family=rule.family,
                    priority=rule.priority,
                    table=rule.table,
                    dst=address,
                    dst_len=rule.dst_len,
                ),
                link=link,
                siblings=len(having),
                sender=guests[sender],
                astray=" and ".join(sorted(view.ifname(one) for one in found)) or "nowhere",
            )
            break


def _asked(view: HostView, family: str, by: Link, sender: str, to: str) -> set[int] | None:
    """The interfaces by which a guest's packet leaves, none where it is refused; None: nobody knows."""
    answer = view.lookup(Query(family=family, dst=to, src=sender, iif=by.ifname))
    return None if answer.alternatives else {hop.oif for hop in answer.hops}
