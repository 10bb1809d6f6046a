"""What two rules say alike about routes whose preferred source is no address of this host.

prefsrc-not-local speaks about all tables, route-src-stale-custom-table, which explains it there, about those beside
main and local; the search is netdiag.index.prefsrc. Pure; nothing can fail.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netdiag.index.fib import Positions
from netdiag.index.policy import Query
from netdiag.index.prefsrc import foreign_sources
from netdiag.index.reach import can_match, selects
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import Route
from netdiag.rules.routewords import ip_command, route_subject, route_words, rule_words, table_word
from netdiag.rules.shape import Rule

READS = ("links", "addresses", "routes", "rules", "sysctls")
MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class _Stale:
    """Routes of one table that name one source which is not ours."""

    family: str
    table: int
    source: str
    positions: Positions


def findings(rule: Rule, view: HostView, *, main: bool) -> Iterator[Draft]:
    """One finding for each table and source, however many routes name it."""
    for family in ("inet", "inet6"):
        protocol = "ipv4" if family == "inet" else "ipv6"
        if view.sysctl_int(f"net.{protocol}.ip_nonlocal_bind"):
            continue
        for (table, source), positions in sorted(foreign_sources(view.fib(family), view.local, main=main).items()):
            yield _draft(rule, view, _Stale(family=family, table=table, source=source, positions=positions))


def _draft(rule: Rule, view: HostView, stale: _Stale) -> Draft:
    family, table, source, count = stale.family, stale.table, stale.source, len(stale.positions)
    first = view.route_rows(family, [_first(view, stale)])[0]
    severity, why = _harm(view, stale, first)
    ip = ip_command(family)
    others = f" (and {count - 1} more there)" if count > 1 else ""
    words = route_words(view, first)
    owner = f"{ip} address add {source}/{32 if family == 'inet' else 128} dev lo"
    fix = owner if words is None else f"{ip} route replace {words}  # or: {owner}"
    shown = view.route_rows(family, stale.positions[:MOST_NAMED].tolist())
    links = sorted({view.ifname(hop.oif) for row in shown for hop in row.hops if hop.oif})
    return rule.found(
        subject=route_subject(view, first),
        message=f"route {first.dst} of table {table_word(table)}{others} sends from {source}, "
        f"which is no address of this host: {why}",
        severity=severity,
        evidence=[
            (f"preferred source of {first.dst}", source, f"RTM_GETROUTE table {table} RTA_PREFSRC"),
            (f"interfaces that have {source}", "none", "RTM_GETADDR IFA_LOCAL"),
            (f"routes of table {table} with that source", count, "RTM_GETROUTE"),
        ],
        confirm=[
            f"{ip} route show table {table} src {source}",
            f"{ip} route get {specimens(first.dst)[0]} from {source}",
            f"{ip} -br address show",
        ],
        fix=fix,
        touches=[
            *(subject("link", ifname=ifname) for ifname in links),
            subject("address", address=source),
        ],
    )


def _first(view: HostView, stale: _Stale) -> int:
    """The route that stands for the others, the same one on every run: the shortest prefix, of these the lowest."""
    routes, lengths = view.routes(stale.family), view.routes(stale.family).dst_len[stale.positions]
    shortest = stale.positions[lengths == lengths.min()]
    parts = [routes.dst[shortest]] if routes.dst.ndim == 1 else list(routes.dst[shortest].T[::-1])
    return int(shortest[np.lexsort(parts)[0]])


def _harm(view: HostView, stale: _Stale, first: Route) -> tuple[Severity, str]:
    """How bad it is, and the words for it: does a packet without a source of its own come to one of these routes?"""
    lost = "TCP and connected sockets fail with ENETUNREACH, other packets leave with a source that gets no answer"
    if stale.family == "inet6":
        lost = "packets leave with a source that gets no answer"
    leading = [rule for rule in view.rules if rule.family == stale.family and _leads(view, rule, stale.table)]
    choosing = [rule for rule in leading if not rule.src_len and rule.iif in (None, "lo")]
    for rule in choosing:
        if selects(rule) or rule.l3mdev:
            return "critical", f"{lost} (rule {rule.priority}: {rule_words(rule)})"
    asked = (Query(family=stale.family, dst=address) for address in specimens(first.dst))
    if any(view.lookup(query).route in stale.positions for query in asked):
        return "critical", lost
    if not leading:
        return "warning", "no rule leads to this table, so nothing uses it yet"
    return "warning", "packets that come here have another source or a better route, so nothing uses it yet"


def _leads(view: HostView, rule: PolicyRule, table: int) -> bool:
    """Whether a rule looks into the table for some packets."""
    if not can_match(rule):
        return False
    if rule.l3mdev:
        return any(link.info.get("table") == table for link in view.links)
    return rule.table == table
