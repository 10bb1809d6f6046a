"""Whether policy rules keep two interfaces with the same addresses or subnets apart: what makes them a design.

A host with two cards in one subnet, or with one address twice, works if packets are routed by where they come from:
by the interface (``ip rule iif``/``oif``, which makes each interface a router of its own) or by the source address
(``ip rule from``, one table an address). Pure; asks for ``rules``, for what a lookup asks for, and ``neighbours``.
"""

from ipaddress import ip_address

import numpy as np

from netdiag.index.guests import sides
from netdiag.index.policy import Query
from netdiag.index.specimen import specimens
from netdiag.index.subnets import Subnet
from netdiag.index.view import HostView
from netdiag.model.link import Link
from netdiag.model.neighbour import NUD_DELAY, NUD_PROBE, NUD_REACHABLE, NUD_STALE
from netdiag.rules.silentneighbours import failing

HEARD = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE


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


def inside(view: HostView, family: str, link: Link) -> bool:
    """A network that lives in this host alone, for its containers and guests: none of the wider subnet's hosts can be
    behind it, as they may be behind a second card."""
    if link.kind == "bridge" and not view.stack.ports(link.ifindex):
        return True
    guests = sides(view.stack, view.routes(family), view.addresses).guests
    return any(side.link.ifindex == link.ifindex for side in guests)


def found_behind(view: HostView, first: Subnet, second: Subnet) -> bool:
    """One subnet twice: somebody of it was heard behind the second interface, and behind the first, by which packets
    leave, somebody was asked and nobody answers. On one link the others would."""
    table, heard = view.neighbours, set[int]()
    for row in table.rows(np.flatnonzero(table.state & HEARD != 0)):
        if row.ifindex in (first.link.ifindex, second.link.ifindex) and ip_address(row.dst) in first.network:
            heard.add(row.ifindex)
    if heard != {second.link.ifindex}:
        return False
    asked = (dst for ifindex, dst in failing(view) if ifindex == first.link.ifindex)
    return any(dst is not None and ip_address(dst) in first.network for dst in asked)


def bound_arp(view: HostView, link: Link) -> bool:
    """ARP keeps to the interface that has the address; the larger of all and the interface counts."""
    return all(effective(view, "ipv4", link, key) >= 1 for key in ("arp_ignore", "arp_announce"))


def effective(view: HostView, version: str, link: Link, key: str) -> int:
    """A setting of which the larger of all and the interface counts."""
    names = (f"net.{version}.conf.{which}.{key}" for which in ("all", link.ifname))
    return max(view.sysctl_int(name) or 0 for name in names)
