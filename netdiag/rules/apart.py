"""Whether policy rules keep two interfaces with the same addresses or subnets apart: what makes them a design.

A host with two cards in one subnet, or with one address twice, works if packets are routed by where they come from:
by the interface (``ip rule iif``/``oif``, which makes each interface a router of its own) or by the source address
(``ip rule from``, one table an address). Pure; asks for ``rules``, and for what a lookup asks for.
"""

from netdiag.index.policy import Query
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView


def named_by_rule(view: HostView, family: str, ifname: str) -> bool:
    """Some policy rule of the family selects packets by this interface."""
    return any(rule.family == family and ifname in (rule.iif, rule.oif) for rule in view.rules)


def leaves_by(view: HostView, family: str, src: str, prefix: str, ifindex: int) -> bool:
    """What this host sends from ``src`` to hosts of ``prefix`` leaves by that interface.

    Addresses of the prefix that are this host's own, or have a route to themselves, say nothing about the others: it
    is enough that one of several leaves that way.
    """
    answers = [view.lookup(Query(family=family, dst=dst, src=src)) for dst in specimens(prefix)]
    return any(answer.oif == ifindex for answer in answers)
