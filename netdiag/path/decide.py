"""The routing decision as steps: every rule that was tried, the route that won and those that lost. Pure."""

import re
from collections.abc import Iterator

from netdiag.index.packet import Lookup, Query
from netdiag.model.route import Route
from netdiag.path.host import PathHost
from netdiag.path.trail import Trail
from netdiag.path.words import TABLE_NAMES, route_text, rule_text

MOST_LOST = 5
"""Routes that lost, at most so many are named."""
REFUSALS = {
    "ENETUNREACH": "no route",
    "EHOSTUNREACH": "unreachable",
    "EACCES": "prohibited",
    "EINVAL": "blackhole",
}


def rules(host: PathHost, answer: Lookup, trail: Trail) -> None:
    """The rules that were tried, in order, and what the packet has where one did not match."""
    for step in answer.steps:
        why = "" if step.matched else _has(host, answer.query, step.outcome)
        trail.add("rule", _tables_named(step.text), rule_text(step.rule), decisive=step.decisive, why=why)


def _has(host: PathHost, query: Query, selector: str) -> str:
    """What the packet has instead of what a rule wants."""
    iif = host.ifname(query.iif) if isinstance(query.iif, int) else query.iif
    oif = host.ifname(query.oif) if isinstance(query.oif, int) else query.oif
    said = {
        "iif": f"it comes in by {iif}" if iif else "this host sends it: iif lo",
        "oif": f"it is bound to {oif}" if oif else "its socket is bound to no interface",
        "fwmark": f"its mark is {query.mark:#x}",
        "uidrange": f"its owner is uid {query.uid or 0}",
        "from": f"it is from {query.src}" if query.src else "it has no source yet",
        "to": f"it is to {query.dst}",
        "tos": f"its tos is {query.tos:#x}",
        "dscp": f"its dscp is {query.tos >> 2}",
        "ipproto": f"its protocol is {query.ip_proto}" if query.ip_proto else "no protocol was given",
        "sport": f"its source port is {query.sport}" if query.sport else "no source port was given",
        "dport": f"its destination port is {query.dport}" if query.dport else "no destination port was given",
    }
    return said.get(selector, "")


def _tables_named(text: str) -> str:
    """``lookup main: no route`` for ``lookup 254: no route``."""
    return re.sub(r"lookup (\d+)", lambda found: f"lookup {TABLE_NAMES.get(int(found[1]), found[1])}", text)


def row_of(host: PathHost, answer: Lookup, position: int | None = None) -> Route | None:
    """The deciding route, or the one at a position, made readable."""
    position = answer.route if position is None else position
    if position is None:
        return None
    routes = host.tables.routes if answer.query.family == "inet" else host.tables.routes6
    return routes.row(position)


def route(host: PathHost, answer: Lookup, trail: Trail, position: int | None = None) -> str:
    """The route, as a step; gives its text."""
    row = row_of(host, answer, position)
    if row is None:
        return ""
    text = route_text(row, host.ifname)
    kind = answer.type or row.type
    why = f"to the sender: {answer.error}" if answer.errno and kind != "blackhole" else ""
    trail.add("route", kind, text, decisive=True, why=why, lost=_lost(host, answer, row))
    return text


def _lost(host: PathHost, answer: Lookup, won: Route) -> Iterator[str]:
    """The other routes of the table for this destination, and why they were not taken."""
    for hop in answer.left_out:
        via = f"via {hop.gateway} " if hop.gateway else ""
        yield f"next hop {via}dev {host.ifname(hop.oif)}: {hop.why}"
    fib = host.routing.fibs[answer.query.family]
    taken = {hop.route for hop in answer.hops} | {answer.route}
    length, told = answer.prefixlen or 0, 0
    if answer.table is None:
        return
    for group in fib.candidates(answer.table, answer.query.dst):
        for position in group.positions:
            if position in taken:
                continue
            if told == MOST_LOST:
                yield "and more"
                return
            told += 1
            other = fib.routes.row(position)
            yield f"{route_text(other, host.ifname).partition(': ')[2]}: {_why_lost(other, group.length, won, length)}"


def _why_lost(other: Route, length: int, won: Route, taken: int) -> str:
    if length > taken:
        return "its next hop is not used, or it does not fit the packet"
    if length < taken:
        return f"its prefix is shorter (/{length})"
    if other.tos != won.tos:
        return "for another tos" if other.tos else "without a tos"
    if other.priority != won.priority:
        worse = other.priority > won.priority
        return f"its metric {other.priority} is higher" if worse else "its next hop is not used"
    return "equal, and behind it in the table"


def hop_text(host: PathHost, answer: Lookup, number: int) -> str:
    """``via 192.0.2.1 dev eth1``."""
    hop = answer.hops[number]
    via = f"via {hop.gateway} " if hop.gateway else ""
    return f"{via}dev {host.ifname(hop.oif)}"


def refusal(answer: Lookup, text: str) -> str:
    """Why there is no way, in a phrase."""
    if answer.route is not None and text:
        return text
    if answer.rule is not None and answer.rule.action not in ("lookup", "goto", "nop"):
        return f"rule {rule_text(answer.rule)}"
    if answer.error == "ENETUNREACH" and not any("source" in note or "interface" in note for note in answer.notes):
        return f"no route to {answer.query.dst} in any table that the rules lead to"
    said = REFUSALS.get(answer.error or "", str(answer.error))
    return "; ".join(answer.notes) or said
