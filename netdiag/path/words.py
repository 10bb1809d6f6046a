"""Rules and routes as ``ip rule`` and ``ip route`` print them, for the steps of a walk. Pure; nothing can fail."""

from collections.abc import Callable

from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RT_SCOPE_NAMES, RTNH_F_ONLINK, RTPROT_NAMES, Route, RouteHop

TABLE_NAMES = {253: "default", 254: "main", 255: "local"}

Name = Callable[[int], str]
"""Name of an interface by its index."""


def table_word(table: int | None) -> str:
    """``main`` and the like where the kernel itself knows the table by name, else its number."""
    return TABLE_NAMES.get(table or 0, str(table))


def rule_text(rule: PolicyRule) -> str:
    """``100: from 10.0.0.0/8 lookup 100``."""
    return f"{rule.priority}: {' '.join([*_selectors(rule), *_action(rule)])}"


def _selectors(rule: PolicyRule) -> list[str]:
    words = ["not"] if rule.invert else []
    words += ["from", _prefix(rule.src, rule.src_len) if rule.src_len and rule.src else "all"]
    words += ["to", _prefix(rule.dst, rule.dst_len)] if rule.dst_len and rule.dst else []
    words += ["tos", f"{rule.tos:#x}"] if rule.tos else []
    words += ["dscp", str(rule.dscp)] if rule.dscp is not None else []
    if rule.fwmark is not None or rule.fwmask:
        mask = "" if rule.fwmask in (None, 0xFFFFFFFF) else f"/{rule.fwmask:#x}"
        words += ["fwmark", f"{rule.fwmark or 0:#x}{mask}"]
    words += ["iif", rule.iif, *(["[detached]"] if rule.iif_detached else [])] if rule.iif is not None else []
    words += ["oif", rule.oif, *(["[detached]"] if rule.oif_detached else [])] if rule.oif is not None else []
    words += ["uidrange", f"{rule.uid_start}-{rule.uid_end}"] if rule.uid_start is not None else []
    words += ["ipproto", str(rule.ip_proto)] if rule.ip_proto is not None else []
    words += ["sport", _ports(rule.sport_start, rule.sport_end)] if rule.sport_start is not None else []
    words += ["dport", _ports(rule.dport_start, rule.dport_end)] if rule.dport_start is not None else []
    words += ["tun_id", str(rule.tun_id)] if rule.tun_id is not None else []
    return words


def _action(rule: PolicyRule) -> list[str]:
    if rule.action == "lookup":
        words = ["lookup", "[l3mdev-table]" if rule.l3mdev else table_word(rule.table)]
    elif rule.action == "goto":
        words = ["goto", str(rule.goto), *(["[unresolved]"] if rule.goto_unresolved else [])]
    else:
        words = [rule.action]
    if rule.suppress_prefixlength is not None:
        words += ["suppress_prefixlength", str(rule.suppress_prefixlength)]
    if rule.suppress_ifgroup is not None:
        words += ["suppress_ifgroup", str(rule.suppress_ifgroup)]
    return words


def _prefix(address: str, length: int) -> str:
    return address if length == (128 if ":" in address else 32) else f"{address}/{length}"


def _ports(start: int | None, end: int | None) -> str:
    return str(start) if end in (None, start) else f"{start}-{end}"


def route_text(row: Route, name: Name) -> str:
    """``table main: default via 192.0.2.1 dev eth1 proto bird metric 32``."""
    words = [] if row.type == "unicast" else [row.type]
    words.append("default" if row.default else _prefix(*_parts(row.dst)))
    if row.extra is not None and row.extra.src_len and row.extra.src:
        words += ["from", _prefix(row.extra.src, row.extra.src_len)]
    words += ["nhid", str(row.nh_id)] if row.nh_id is not None else []
    if len(row.hops) == 1:
        words += hop_words(row.hops[0], row.family, name)
    words += ["proto", RTPROT_NAMES.get(row.protocol, str(row.protocol))]
    words += ["scope", RT_SCOPE_NAMES.get(row.scope, str(row.scope))] if row.scope else []
    words += ["src", row.prefsrc] if row.prefsrc else []
    words += ["tos", f"{row.tos:#x}"] if row.tos else []
    words += ["metric", str(row.priority)] if row.priority else []
    metrics = row.extra.metrics if row.extra else {}
    words += [word for key, value in metrics.items() if key == "mtu" for word in ("mtu", str(value))]
    if len(row.hops) > 1:
        for hop in row.hops:
            words += ["nexthop", *hop_words(hop, row.family, name), "weight", str(hop.weight)]
    return f"table {table_word(row.table)}: {' '.join(words)}"


def _parts(dst: str) -> tuple[str, int]:
    address, _, length = dst.partition("/")
    return address, int(length)


def hop_words(hop: RouteHop, family: str, name: Name) -> list[str]:
    """``via 192.0.2.1 dev eth1``."""
    words: list[str] = []
    if hop.gateway is not None:
        other = (":" in hop.gateway) != (family == "inet6")
        words += ["via", *(["inet6" if ":" in hop.gateway else "inet"] if other else []), hop.gateway]
    words += ["dev", name(hop.oif)] if hop.oif else []
    words += ["encap", hop.encap] if hop.encap else []
    return words + (["onlink"] if hop.flags & RTNH_F_ONLINK else [])
