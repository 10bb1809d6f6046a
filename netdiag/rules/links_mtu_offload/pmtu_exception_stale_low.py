"""What it checks
  Destinations for which this host has learnt a path MTU far below the MTU of the interface: under 1000 bytes, which no
  ordinary tunnel makes.

Why it matters
  All segments to this one destination are tiny: throughput falls, packets per second and processor time rise, while
  everything else is fine. A forged or confused ICMP message is enough, and the entry stays for ten minutes, renewed
  by each further message.

Confirm
  ip route get DESTINATION: cache expires N mtu M

Fix
  ip route flush cache (ip -6 route flush cache): forgets all that was learnt; it is learnt again where it is true.
  Raise net.ipv4.route.min_pmtu (552) if such messages come again, or filter their source.

Not flagged
  1280 and above, what tunnels leave over. As more than a note: 1000 to 1279. An MTU near that of the interface, which
  is small itself. An entry that is a route's own mtu, not learnt.

References
  RFC 1191, RFC 8201; net/ipv4/route.c __ip_rt_update_pmtu(), ip_sysctl route/min_pmtu, route/mtu_expires
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.pathmtu import PathMtu
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="pmtu-exception-stale-low",
    title="a tiny path MTU was learnt",
    severity="warning",
    confidence="likely",
    reads=("path_mtus", "links"),
)
TINY, LOW = 1000, 1280
NEAR = 0.8
"""Share of the interface's MTU from which on nothing was lost by it."""
NAMED = 5


def check(view: HostView) -> Iterator[Draft]:
    low = []
    for row in view.path_mtus:
        link = view.link(row.ifindex)
        if row.mtu < LOW and not (link is not None and row.mtu >= NEAR * link.mtu):
            low.append((row, link))
    for row, link in sorted(low, key=lambda pair: (pair[0].mtu, pair[0].dst))[:NAMED]:
        dev = f" by {link.ifname}, whose mtu is {link.mtu}" if link is not None else ""
        version = "-6 " if row.family == "inet6" else ""
        yield RULE.found(
            subject=subject("prefix", prefix=row.dst),
            severity="warning" if row.mtu < TINY else "info",
            message=f"packets to {row.dst} are at most {row.mtu} bytes long{dev}: a path MTU that was learnt by ICMP",
            evidence=[
                ("learnt path MTU", row.mtu, f"RTM_GETROUTE RTM_F_CLONED {row.dst} RTAX_MTU"),
                ("forgotten in", "not told" if row.expires is None else f"{row.expires:.0f} s", "RTA_CACHEINFO"),
                ("destinations with one below 1280", len(low), "RTM_GETROUTE RTM_F_CLONED"),
            ],
            confirm=[f"ip {version}route get {row.dst}"],
            fix=f"ip {version}route flush cache",
        )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, says: Any, mtu: int, *, dst: str = "198.51.100.7", device: int = 1500) -> Example:
        host = HostBuilder().link("eth0", mtu=device)
        row = PathMtu(
            family="inet6" if ":" in dst else "inet", dst=dst, mtu=mtu, ifindex=host.ifindex("eth0"), expires=500.0
        )
        tables = host.path_mtus(row).build()
        return Example(name=name, why=why, tables=tables, fires=0 if says is None else 1, severity=says)

    yield case("the least that is taken", "the plain fault", "warning", 552)
    yield case("just tiny", "no tunnel makes it", "warning", 999)
    yield case("a thousand", "it may be narrow", "info", 1000)
    yield case("just far below the interface", "the same", "info", 1199)
    yield case("eight tenths", "a tunnel in a tunnel", None, 1200)
    yield case("1280", "what every IPv6 path has", None, 1280)
    yield case("IPv6 at its least", "as it must be", None, 1280, dst="2001:db8:7::1")
    yield case("a tunnel", "the right answer", None, 1420)
    yield case("a small interface", "nothing was lost by it", None, 552, device=576)
    yield case("eight tenths of the interface", "nothing was lost by it", None, 800, device=1000)
    yield Example(name="none learnt", why="the usual state", tables=HostBuilder().link("eth0").build())
    wide = HostBuilder().link("eth9", mtu=9000)
    for mtu, fires in ((4000, 0), (LOW, 0), (LOW - 1, 1)):
        row = PathMtu(family="inet", dst="198.51.100.7", mtu=mtu, ifindex=wide.ifindex("eth9"), expires=100.0)
        tables = wide.path_mtus(row).build()
        yield Example(name=f"{mtu} of 9000", why="what is ordinary further on", tables=tables, fires=fires)
    away = PathMtu(family="inet", dst="198.51.100.7", mtu=500, ifindex=None, expires=100.0)
    unknown = HostBuilder().path_mtus(away).build()
    yield Example(name="by an unknown interface", why="as low", tables=unknown, fires=1)
