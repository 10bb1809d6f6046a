"""What it checks
  Datagrams to UDP ports at which nothing listens, while netdiag looked (Udp.NoPorts, Udp6NoPorts).

Why it matters
  A client still sends to a service that moved or died, or somebody scans. Each is answered by an ICMP message.

Confirm
  nstat -az UdpNoPorts Udp6NoPorts, twice

Fix
  Ignore it, or find the client: tcpdump -ni any "icmp[0]=3 and icmp[1]=3" shows whom this host refuses.

Not flagged
  It is only ever a note: scans from outside do the same. Those of the past; fewer than ten.

References
  net/ipv4/udp.c __udp4_lib_rcv(); RFC 4113 udpNoPorts
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.counted import counted
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="udp-nolisten-icmp",
    title="datagrams to ports where nothing listens",
    severity="info",
    reads=("deltas",),
)
COUNTERS = {"Udp.NoPorts": "snmp", "Udp6NoPorts": "snmp6"}
FEWEST = 10


def check(view: HostView) -> Iterator[Draft]:
    moved = {name: view.deltas.snmp(name) or 0 for name in COUNTERS}
    total = sum(moved.values())
    if total < FEWEST:
        return
    yield RULE.found(
        subject=subject("host"),
        message=f"{total} datagrams came in {view.deltas.seconds:.1f} s to UDP ports where nothing listens",
        evidence=[(name, count, f"/proc/net/{COUNTERS[name]} {name}") for name, count in moved.items() if count],
        confirm=["nstat -az UdpNoPorts Udp6NoPorts"],
        fix="find the client with tcpdump -ni any icmp, or ignore it",
    )


def examples() -> Iterator[Example]:
    for name in COUNTERS:
        built = counted({name: FEWEST}, others=tuple(COUNTERS)).build()
        yield Example(name=name, why="it moved", tables=built, fires=1, severity="info", says=(f"{FEWEST} ",))
    first = next(iter(COUNTERS))
    for moved, why in ((0, "totals since boot say nothing"), (-1, "a reset"), (FEWEST - 1, "too few to mention")):
        tables = counted({first: moved}, others=tuple(COUNTERS)).build()
        yield Example(name=f"moved by {moved}", why=why, tables=tables)
