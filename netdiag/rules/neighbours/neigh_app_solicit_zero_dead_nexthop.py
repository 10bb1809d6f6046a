"""What it checks
  A next hop of an IPv4 multipath route does not answer ARP (FAILED, or INCOMPLETE for a second or more) while another
  one does, and the kernel does not look at that when it spreads flows (net.ipv4.fib_multipath_use_neigh=0).

Why it matters
  The share of the flows that the hash gives to the dead next hop is lost, although the route has a living one. The
  carrier is there, so nothing else takes the hop out.

Confirm
  ip route show PREFIX
  ip neigh show GATEWAY
  sysctl net.ipv4.fib_multipath_use_neigh

Fix
  sysctl -w net.ipv4.fib_multipath_use_neigh=1: next hops whose neighbour has failed are passed over. It changes which
  flows take which hop as soon as one fails. That the next hop is dead is told by neigh-gateway-failed.

Not flagged
  Routes with one next hop, and those all of whose next hops fail. Routes over nexthop groups, which look at neighbours
  by themselves. IPv6, which has no such setting. An info beside neigh-gateway-failed, which is the fault.

References
  net/ipv4/fib_semantics.c fib_select_multipath(), fib_good_nh(); Documentation/networking/ip-sysctl.rst
"""

from collections.abc import Iterator

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.route import RTN_UNICAST, Route, RouteHop
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule
from netdiag.rules.silentneighbours import failing

RULE = Rule(
    id="neigh-app-solicit-zero-dead-nexthop",
    title="flows are spread over a next hop that does not answer",
    severity="info",
    reads=("links", "routes", "neighbours", "sysctls"),
)
NAME = "net.ipv4.fib_multipath_use_neigh"
MOST = 256
"""Multipath routes that are looked at."""


def check(view: HostView) -> Iterator[Draft]:
    if view.sysctl_int(NAME) != 0:
        return
    silent = failing(view)
    if not silent:
        return
    routes = view.routes("inet")
    several = np.flatnonzero((routes.oif == 0) & (routes.nh_id == 0) & (routes.type == RTN_UNICAST))[:MOST]
    for route in routes.rows(several):
        dead = [hop for hop in route.hops if (hop.oif, hop.gateway) in silent]
        if dead and len(dead) < len(route.hops):
            yield _draft(view, route, dead[0], silent[dead[0].oif, dead[0].gateway].state)
            return


def _draft(view: HostView, route: Route, dead: RouteHop, state: str) -> Draft:
    ifname = view.ifname(dead.oif)
    return RULE.found(
        subject=subject("sysctl", name=NAME),
        message=f"{dead.gateway} on {ifname} does not answer, and {route.dst} still spreads flows over it: the kernel"
        " is told not to look",
        evidence=[
            (f"neighbour {dead.gateway}", state, f"RTM_GETNEIGH {dead.gateway} dev {ifname} NDM_STATE"),
            (NAME, 0, "/proc/sys/net/ipv4/fib_multipath_use_neigh"),
        ],
        confirm=[
            f"ip neigh show to {dead.gateway}",
            f"ip route show {route.dst} table {route.table}",
            f"sysctl {NAME}",
        ],
        fix=f"sysctl -w {NAME}=1",
        touches=[
            subject("neighbour", dst=dead.gateway, ifname=ifname),
            subject("route", dst=route.dst, table=route.table),
        ],
    )


def examples() -> Iterator[Example]:
    def case(
        name: str,
        why: str,
        fires: int = 0,
        *,
        failed: int = 1,
        hops: int = 2,
        use: int | None = 0,
        state: str = "failed",
        asked: float = 1.0,
    ) -> Example:
        host = HostBuilder()
        for number in range(1, 3):
            host.link(f"eth{number}").address(f"eth{number}", f"10.0.{number}.2/24")
        if use is not None:
            host.sysctl(NAME, use)
        ways = [host.hop(f"eth{number}", f"10.0.{number}.1") for number in range(1, hops + 1)]
        for number in range(1, failed + 1):
            host.neighbour(f"10.0.{number}.1", dev=f"eth{number}", state=state, updated=asked)
        if hops > 1:
            host.route("203.0.113.0/24", hops=ways)
        else:
            host.route("203.0.113.0/24", via="10.0.1.1", dev="eth1")
        said = ("10.0.1.1 on eth1 does not answer",) if fires else ()
        return Example(name=name, why=why, tables=host.build(), fires=fires, says=said)

    yield case("one of two", "half of the flows are lost", 1)
    yield case("both", "there is no living one", failed=2)
    yield case("one is asked again and again", "INCOMPLETE under traffic", 1, state="incomplete")
    yield case("one was asked just now", "the answer may be under way", state="incomplete", asked=0.2)
    yield case("none", "all is well", failed=0)
    yield case("one next hop", "nothing to choose from", hops=1)
    yield case("the kernel looks", "as advised", use=1)
    yield case("not told", "an old kernel", use=None)
    stray = HostBuilder().link("eth1").link("eth2").sysctl(NAME, 0).neighbour("10.0.1.77", dev="eth1", state="failed")
    stray.route("203.0.113.0/24", hops=[stray.hop("eth1", "10.0.1.1"), stray.hop("eth2", "10.0.2.1")])
    yield Example(name="a stray failure", why="it is no next hop", tables=stray.build())
