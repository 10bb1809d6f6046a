"""What it checks
  Packets that were dropped while netdiag looked because there was no route for them (IpExt.InNoRoutes,
  Ip.OutNoRoutes, Ip6InNoRoutes, Ip6OutNoRoutes).

Why it matters
  On a router a prefix is missing; on a host a program sends to where there is no way. It tells that, not where to.

Confirm
  nstat -az IpExtInNoRoutes IpOutNoRoutes Ip6InNoRoutes Ip6OutNoRoutes, twice

Fix
  Find the destination: netdiag trace drops, or tcpdump for ICMP "net unreachable" that this host sends; then add the
  route that is missing.

Not flagged
  It is only ever a note: packets from outside to addresses that are nowhere are noise of every router. Those of the
  past; fewer than three.

References
  net/ipv4/route.c ip_error(), net/ipv4/ip_output.c; RFC 4293 ipIfStatsInNoRoutes
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.counted import counted
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="ip-in-noroutes",
    title="packets without a route",
    severity="info",
    reads=("deltas",),
)
COUNTERS = {
    "IpExt.InNoRoutes": "netstat",
    "Ip.OutNoRoutes": "snmp",
    "Ip6InNoRoutes": "snmp6",
    "Ip6OutNoRoutes": "snmp6",
}
FEWEST = 3


def check(view: HostView) -> Iterator[Draft]:
    moved = {name: view.deltas.snmp(name) or 0 for name in COUNTERS}
    total = sum(moved.values())
    if total < FEWEST:
        return
    yield RULE.found(
        subject=subject("host"),
        message=f"{total} packets had no route in {view.deltas.seconds:.1f} s",
        evidence=[(name, count, f"/proc/net/{COUNTERS[name]} {name}") for name, count in moved.items() if count],
        confirm=["nstat -az IpExtInNoRoutes IpOutNoRoutes Ip6InNoRoutes Ip6OutNoRoutes"],
        fix="find the destination with tcpdump -ni any icmp, and add the route that is missing",
    )


def examples() -> Iterator[Example]:
    for name in COUNTERS:
        built = counted({name: FEWEST}, others=tuple(COUNTERS)).build()
        yield Example(name=name, why="it moved", tables=built, fires=1, severity="info", says=(f"{FEWEST} ",))
    first = next(iter(COUNTERS))
    for moved, why in ((0, "totals since boot say nothing"), (-1, "a reset"), (FEWEST - 1, "too few to mention")):
        tables = counted({first: moved}, others=tuple(COUNTERS)).build()
        yield Example(name=f"moved by {moved}", why=why, tables=tables)
