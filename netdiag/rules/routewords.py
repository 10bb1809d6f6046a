"""Routes as words: for the subject of a finding, for its message, and for an ``ip route`` command that makes the route.

Used by rules that speak about single routes. Spelling as iproute2's (ip-route(8)). Pure; nothing can fail.
"""

from collections.abc import Iterable
from ipaddress import ip_network

from netdiag.index.view import HostView
from netdiag.model.finding import Subject, subject
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RT_TABLE_MAIN, RTNH_F_ONLINK, Route, RouteHop
from netdiag.rules.shape import quoted

BOOT = 3
"""RTPROT_BOOT (include/uapi/linux/rtnetlink.h): what ip route notes where nothing else is said."""
TABLE_NAMES = {253: "default", 254: "main", 255: "local"}


def table_word(table: int | None) -> str:
    """``main`` and the like where the kernel itself knows the table by name, else its number."""
    return TABLE_NAMES.get(table or 0, str(table))


def ip_command(family: str) -> str:
    """``ip`` or ``ip -6``."""
    return "ip" if family == "inet" else "ip -6"


def route_subject(view: HostView, row: Route) -> Subject:
    """The route as a finding's object; ``ifname`` only where it has one next hop."""
    hops = row.hops
    ifname = view.ifname(hops[0].oif) if len(hops) == 1 and hops[0].oif else None
    return subject("route", dst=row.dst, table=row.table, ifname=ifname)


def way_words(view: HostView, row: Route) -> str:
    """Where a route leads, for a person: ``via 192.0.2.1 dev eth0``, or its type."""
    hops = [(f"via {hop.gateway} " if hop.gateway else "") + f"dev {view.ifname(hop.oif)}" for hop in row.hops]
    return ", ".join(hops) or row.type


def _hop_words(view: HostView, family: str, hop: RouteHop) -> list[str]:
    words = []
    if hop.gateway is not None:
        other = (":" in hop.gateway) != (family == "inet6")
        words += ["via", *([("inet6" if ":" in hop.gateway else "inet")] if other else []), hop.gateway]
    if hop.oif:
        words += ["dev", quoted(view.ifname(hop.oif))]
    return words + (["onlink"] if hop.flags & RTNH_F_ONLINK else [])


def route_words(view: HostView, row: Route) -> str | None:
    """The words behind ``ip route replace`` that make this route again, but without a preferred source.

    None where the route has something that the words would lose (metrics, encapsulation, a source prefix ...).
    """
    extra = row.extra
    if extra is not None and (extra.metrics or extra.encap or extra.src_len or extra.unknown or extra.pref):
        return None
    words = [row.dst if not row.default else "default"]
    if row.nh_id is not None:
        words += ["nhid", str(row.nh_id)]
    elif len(row.hops) == 1:
        words += _hop_words(view, row.family, row.hops[0])
    words += ["metric", str(row.priority)] if row.priority else []
    words += ["tos", str(row.tos)] if row.tos else []
    words += ["proto", str(row.protocol)] if row.protocol != BOOT else []
    words += ["table", str(row.table)] if row.table != RT_TABLE_MAIN else []
    if row.nh_id is None and len(row.hops) > 1:
        for hop in row.hops:
            words += ["nexthop", *_hop_words(view, row.family, hop), "weight", str(hop.weight)]
    return " ".join(words)


def rule_subject(rule: PolicyRule, among: Iterable[PolicyRule] = ()) -> Subject:
    """The policy rule as a finding's object; where others ``among`` have its priority, its words tell them apart."""
    double = any((other.family, other.priority) == (rule.family, rule.priority) and other != rule for other in among)
    words = rule_words(rule) if double else None
    return subject("rule", priority=rule.priority, family=rule.family, words=words)


def rule_words(rule: PolicyRule) -> str:
    """A policy rule as ``ip rule`` prints it, without its priority: ``from 10.0.0.0/8 lookup 100``."""
    words = ["not"] if rule.invert else []
    words += ["from", f"{rule.src}/{rule.src_len}" if rule.src_len else "all"]
    words += ["to", f"{rule.dst}/{rule.dst_len}"] if rule.dst_len else []
    if rule.fwmark is not None or rule.fwmask:
        mask = "" if rule.fwmask in (None, 0xFFFFFFFF) else f"/{rule.fwmask:#x}"
        words += ["fwmark", f"{rule.fwmark or 0:#x}{mask}"]
    words += ["iif", quoted(rule.iif)] if rule.iif is not None else []
    words += ["oif", quoted(rule.oif)] if rule.oif is not None else []
    words += ["tos", f"{rule.tos:#x}"] if rule.tos else []
    words += ["dscp", str(rule.dscp)] if rule.dscp is not None else []
    words += ["uidrange", f"{rule.uid_start}-{rule.uid_end}"] if rule.uid_start is not None else []
    words += ["ipproto", str(rule.ip_proto)] if rule.ip_proto is not None else []
    words += ["sport", _ports(rule.sport_start, rule.sport_end)] if rule.sport_start is not None else []
    words += ["dport", _ports(rule.dport_start, rule.dport_end)] if rule.dport_start is not None else []
    words += ["tun_id", str(rule.tun_id)] if rule.tun_id is not None else []
    words += ["l3mdev"] if rule.l3mdev else []
    if rule.action == "lookup":
        words += ["lookup", table_word(rule.table)] if rule.table is not None else []
    elif rule.action == "goto":
        words += ["goto", str(rule.goto)]
    else:
        words.append(rule.action)
    if rule.suppress_prefixlength is not None:
        words += ["suppress_prefixlength", str(rule.suppress_prefixlength)]
    if rule.suppress_ifgroup is not None:
        words += ["suppress_ifgroup", str(rule.suppress_ifgroup)]
    return " ".join(words)


def packet_words(rule: PolicyRule) -> str:
    """What ``ip route get`` must be told of a packet besides addresses and mark, so that the rule takes it."""
    port = rule.dport_start if rule.dport_start == rule.dport_end else None
    return (f" ipproto {rule.ip_proto}" if rule.ip_proto else "") + (f" dport {port}" if port else "")


LAST_TABLES = (None, 253, 254)
"""Tables that the kernel's own last rules lead to, default and main; and no table."""
MAINS = 32766
"""The priority of the kernel's rule for main."""


def delete_rule(rule: PolicyRule) -> str:
    """The command that takes a policy rule away."""
    return f"{ip_command(rule.family)} rule del pref {rule.priority} {rule_words(rule)}"


def rule_aside(view: HostView, rule: PolicyRule) -> str:
    """The commands that put a policy rule behind every one with a table of its own, in front of main where there is
    room; away with it, where no such rule comes after it."""
    others = [other for other in view.rules if other.family == rule.family]
    behind = [one.priority for one in others if one.table not in LAST_TABLES and rule.priority < one.priority < MAINS]
    if not behind:
        return delete_rule(rule)
    used, start = {other.priority for other in others}, max(behind) + 1
    free = next(number for number in range(start, start + len(used) + 2) if number not in used)
    return f"{ip_command(rule.family)} rule add pref {free} {rule_words(rule)} && {delete_rule(rule)}"


def _ports(start: int, end: int | None) -> str:
    return str(start) if end in (None, start) else f"{start}-{end}"


def around(address: str) -> Subject:
    """The network that an address is likely in (/24, /64): what a lost subnet and those who look for it share."""
    return subject("prefix", prefix=str(ip_network(f"{address}/{64 if ':' in address else 24}", strict=False)))
