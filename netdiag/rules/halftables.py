"""Tables of a second uplink that lost their default route and kept the link's subnet, where the other family kept both.

Used by rule-references-empty-table. Pure; nothing can fail.
"""

import ipaddress
from collections.abc import Iterator

from netdiag.index.policy import Lookup, Query
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import Route

FEW = 16
"""Routes of a table that holds its link's subnets and no more."""
EVERYTHING = {"inet": "0.0.0.0/0", "inet6": "::/0"}


def half_tables(view: HostView, family: str, spared: set[object]) -> Iterator[tuple[PolicyRule, Route, Lookup]]:
    """A rule for an own address, a route that its table kept, and where the address's packets go instead.

    ``spared``: tables that are not looked at.
    """
    told: set[int] = set()
    for rule in view.rules:
        table = rule.table if rule.family == family else None
        if table is None or table in spared or table in told:
            continue
        rows = view.route_rows(family, view.fib(family).positions(table)[:FEW].tolist())
        links = {row.oif for row in rows}
        own = _own_source(view, rule, links)
        if own is None or len(rows) == FEW or not all(_of_a_link(row) for row in rows):
            continue
        answers = (view.lookup(Query(family=family, dst=one, src=own)) for one in specimens(EVERYTHING[family]))
        astray = next((one for one in answers if one.ok and not links & {hop.oif for hop in one.hops}), None)
        if astray is not None and links & _default_links(view, "inet6" if family == "inet" else "inet", table):
            told.add(table)
            yield rule, rows[0], astray


def _own_source(view: HostView, rule: PolicyRule, links: set[int | None]) -> str | None:
    """The address of this host that the rule selects (``from 10.1.0.1``), or one of the links' in its prefix."""
    if not rule.src_len or rule.invert:
        return None
    network = ipaddress.ip_network(f"{rule.src}/{rule.src_len}", strict=False)
    near = (row.local for row in view.addresses if row.local == rule.src or row.ifindex in links)
    return next((one for one in near if ipaddress.ip_address(one) in network), None)


def _of_a_link(row: Route) -> bool:
    """A route to what is on a link; one that refuses or has a gateway is not."""
    return not row.gateway and row.hops != ()


def _default_links(view: HostView, family: str, table: int) -> set[int | None]:
    """Interfaces of a table's default routes by a gateway."""
    positions = view.fib(family).positions(table)
    chosen = positions[view.routes(family).dst_len[positions] == 0]
    return {row.oif for row in view.route_rows(family, chosen.tolist()) if row.gateway}
