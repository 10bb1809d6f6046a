"""Packets that a policy rule selects, made up of its selectors, as far as anybody here can send such.

Pure; nothing can fail.
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

from netdiag.index.packet import Query
from netdiag.index.policy import Lookup
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.policyrule import PolicyRule


def packets_of(view: HostView, rule: PolicyRule) -> Iterator[Query]:
    """Packets that the rule matches; none where it has a selector that nothing here can meet."""
    common: dict[str, Any] = {"family": rule.family}
    destinations = specimens(f"{rule.dst}/{rule.dst_len}" if rule.dst_len and not rule.invert else everything(rule))
    if not rule.invert:
        if any(not _up(view, ifname) for ifname in (rule.iif, rule.oif) if ifname is not None):
            return
        common |= {"mark": rule.fwmark or 0, "uid": rule.uid_start, "ip_proto": rule.ip_proto, "oif": rule.oif}
        common |= {"sport": rule.sport_start, "dport": rule.dport_start, "tun_id": rule.tun_id or 0}
        common |= {"tos": rule.dscp << 2 if rule.dscp is not None else rule.tos}
        common |= {"iif": rule.iif if rule.iif != "lo" else None}
        if rule.src_len:
            sender = _sender(view, rule)
            if sender is None:
                return
            common |= {"src": sender[0], "iif": common["iif"] or sender[1]}
    for destination in destinations:
        yield Query(dst=destination, **common)


def lacks_all(view: HostView, answer: Lookup, rule: PolicyRule) -> bool:
    """Whether packets that nothing singles out find no route behind the rule: those of some sources or marks that find
    none do not make a host lack its default route."""
    plain = view.lookup(Query(family=rule.family, dst=answer.query.dst))
    return not answer.ok and any(step.matched and step.rule == rule for step in plain.steps)


def everything(rule: PolicyRule) -> str:
    """The prefix of all addresses of the rule's family."""
    return "0.0.0.0/0" if rule.family == "inet" else "::/0"


def _up(view: HostView, ifname: str) -> bool:
    link = view.stack.by_name.get(ifname)
    return link is not None and link.up


def _sender(view: HostView, rule: PolicyRule) -> tuple[str, int | None] | None:
    """Somebody who sends with a source that the rule names: (address, interface that it comes in by).

    This host itself where it has such an address; else, where it forwards, whoever is behind the interface that the
    addresses are routed to by more than a default route.
    """
    source = ipaddress.ip_network(f"{rule.src}/{rule.src_len}", strict=False)
    addresses = specimens(str(source))
    for own in view.addresses:
        if ipaddress.ip_address(own.local) in source:
            return own.local, None
    for address in addresses:
        if view.local.local_route(rule.family, address) is not None:
            return address, None
    for address in addresses if _forwards(view, rule.family) else ():
        answer = view.lookup(Query(family=rule.family, dst=address))
        if answer.type == "unicast" and answer.prefixlen:
            return address, answer.oif
    return None


def _forwards(view: HostView, family: str) -> bool:
    if family == "inet6":
        return view.sysctl_int("net.ipv6.conf.all.forwarding") == 1
    return any(link.inet_conf.get("forwarding") for link in view.links)
