"""What it checks
  A multipath route whose next hops have weights that differ by ten times or more.

Why it matters
  A weight of 100 beside a 1 sends one packet flow in a hundred over the second path: the load is as skewed as if there
  were one path alone. Meant for links of different speed, but often a metric written where the weight belongs.

Confirm
  ip route show PREFIX
  ip nexthop show

Fix
  ip route replace PREFIX nexthop via A weight 1 nexthop via B weight 1: running flows may change their path once. What
  a daemon made must be mended there.

Not flagged
  Never more than an info: unequal weights may be meant (UCMP). Weights that differ by less than ten times.

References
  net/ipv4/fib_semantics.c fib_rebalance(); ip-route(8) weight (the kernel's rtnh_hops is the weight less one)
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.index.ways import Way, ways
from netdiag.model.finding import Draft, subject
from netdiag.model.route import Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="ecmp-nexthop-asym-weights",
    title="the paths of a route have very unequal weights",
    severity="info",
    reads=("links", "routes", "nexthops"),
)
TIMES = 10
LOOKED_AT = 1000
"""Routes over one group of which the lowest stands for all."""


def _place(row: Route) -> tuple[int, str]:
    return row.table, row.dst


def check(view: HostView) -> Iterator[Draft]:
    for family in ("inet", "inet6"):
        found: dict[tuple[tuple[str | None, int], ...], tuple[Route, Way]] = {}
        for way in ways(view.routes(family), view.nexthops):
            weights = [leg.weight for leg in way.legs]
            if max(weights) < TIMES * min(weights):
                continue
            group = tuple(sorted((leg.gateway or view.ifname(leg.oif), leg.weight) for leg in way.legs))
            rows = view.route_rows(family, way.positions[:LOOKED_AT].tolist())
            row = min(rows, key=_place)
            if group not in found or _place(row) < _place(found[group][0]):
                found[group] = row, way
        for row, way in found.values():
            weights = [leg.weight for leg in way.legs]
            listed = ", ".join(f"{leg.gateway or view.ifname(leg.oif or 0)} {leg.weight}" for leg in way.legs[:4])
            six = "-6 " if family == "inet6" else ""
            yield RULE.found(
                subject=subject("route", dst=row.dst, table=row.table),
                message=f"the route to {row.dst} has paths with weights from {min(weights)} to {max(weights)}",
                evidence=[("weights", listed, f"RTM_GETROUTE {row.dst} RTA_MULTIPATH rtnh_hops")],
                confirm=[f"ip {six}route show {row.dst} table {row.table}"],
                fix="give the next hops equal weights, unless their links differ that much",
            )


def _case(name: str, why: str, weights: tuple[int, int], fires: int = 0, **more: Any) -> Example:
    host = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").link("eth1").address("eth1", "10.1.0.1/24")
    hops = [host.hop("eth0", "10.0.0.2", weight=weights[0]), host.hop("eth1", "10.1.0.2", weight=weights[1])]
    host.route("203.0.113.0/24", hops=hops).route("198.51.100.0/24", hops=hops)
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    yield _case("1 and 100", "a metric in the wrong place; two routes, told once", (1, 100), 1, severity="info")
    yield _case("1 and 10", "from here on", (10, 1), 1)
    yield _case("1 and 9", "links of different speed", (1, 9))
    yield _case("equal", "the usual case", (5, 5))
    host = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").link("eth1").address("eth1", "10.1.0.1/24")
    hops = [host.hop("eth0", "10.0.0.2", weight=1), host.hop("eth1", "10.1.0.2", weight=100)]
    for dst, mtu in (("203.0.113.0/24", 1400), ("198.51.100.0/24", 1300), ("199.0.0.0/8", 1200)):
        host.route(dst, hops=hops, metrics={"mtu": mtu})
    lowest = subject("route", dst="198.51.100.0/24")
    yield Example(name="three over one group", why="the lowest is told", tables=host.build(), fires=1, subject=lowest)
    other = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").link("eth1").address("eth1", "10.1.0.1/24")
    for dst, last in (("203.0.113.0/24", 2), ("198.51.100.0/24", 3)):
        hops = [other.hop(f"eth{number}", f"10.{number}.0.{last}", weight=99 * number + 1) for number in (0, 1)]
        other.route(dst, hops=hops)
    yield Example(name="over other gateways there", why="another group", tables=other.build(), fires=2)
    dev = HostBuilder().link("ppp0").link("ppp1").link("ppp2")
    for dst, one in (("203.0.113.0/24", "ppp1"), ("198.51.100.0/24", "ppp2")):
        dev.route(dst, hops=[dev.hop("ppp0", weight=1), dev.hop(one, weight=100)])
    yield Example(name="over tunnels without gateways", why="other tunnels, another group", tables=dev.build(), fires=2)
