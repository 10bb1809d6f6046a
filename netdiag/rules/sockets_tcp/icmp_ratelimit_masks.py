"""What it checks
  ICMP messages that this host did not send while netdiag looked because of its own limits
  (Icmp.OutRateLimitGlobal, Icmp.OutRateLimitHost).

Why it matters
  What is held back are errors: "fragmentation needed" of path MTU discovery, "time exceeded" of traceroute. Paths then
  look lossy that are not, and large packets can vanish without a word.

Confirm
  nstat -az IcmpOutRateLimitGlobal IcmpOutRateLimitHost, twice

Fix
  sysctl -w net.ipv4.icmp_msgs_per_sec=10000 net.ipv4.icmp_ratelimit=100, or take the types that matter out of
  net.ipv4.icmp_ratemask. Under a flood the limit is what protects the host.

Not flagged
  It is only ever a note: a scan or a flood does the same. Kernels before 6.1 do not count.
  Answers to datagrams for closed ports.

References
  net/ipv4/icmp.c icmpv4_xrlim_allow(), icmp_global_allow(); Documentation/networking/ip-sysctl.rst icmp_ratelimit
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.counted import counted
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="icmp-ratelimit-masks",
    title="ICMP errors are held back by this host's own limit",
    severity="info",
    reads=("deltas",),
)
COUNTERS = {"Icmp.OutRateLimitGlobal": "snmp", "Icmp.OutRateLimitHost": "snmp"}
REFUSED = ("Udp.NoPorts", "Udp6NoPorts")
"""Datagrams to closed ports: that their answers are held back harms nobody."""
FEWEST = 2


def check(view: HostView) -> Iterator[Draft]:
    moved = {name: view.deltas.snmp(name) or 0 for name in COUNTERS}
    total = sum(moved.values())
    refused = sum(view.deltas.snmp(name) or 0 for name in REFUSED)
    if total < FEWEST or total <= refused:
        return
    yield RULE.found(
        subject=subject("host"),
        message=f"{total} ICMP messages were held back in {view.deltas.seconds:.1f} s by the limits of this host",
        evidence=[(name, count, f"/proc/net/{COUNTERS[name]} {name}") for name, count in moved.items() if count],
        confirm=["nstat -az IcmpOutRateLimitGlobal IcmpOutRateLimitHost"],
        fix="sysctl -w net.ipv4.icmp_msgs_per_sec=10000  # if path MTU discovery or traceroute suffer from it",
    )


def examples() -> Iterator[Example]:
    for name in COUNTERS:
        built = counted({name: FEWEST}, others=tuple(COUNTERS)).build()
        yield Example(name=name, why="it moved", tables=built, fires=1, severity="info", says=(f"{FEWEST} ",))
    first = next(iter(COUNTERS))
    closed = counted({first: 9, "Udp.NoPorts": 9}, others=tuple(COUNTERS)).build()
    yield Example(name="closed ports", why="nobody misses those answers", tables=closed)
    for moved, why in ((0, "totals since boot say nothing"), (-1, "a reset"), (FEWEST - 1, "too few to mention")):
        tables = counted({first: moved}, others=tuple(COUNTERS)).build()
        yield Example(name=f"moved by {moved}", why=why, tables=tables)
