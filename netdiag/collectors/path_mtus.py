"""Path MTUs that were learnt from ICMP "fragmentation needed" and "packet too big".

Source: RTM_GETROUTE dumps with RTM_F_CLONED, which strict checking takes for "exceptions only" (Linux 5.3; net/ipv4/
fib_trie.c fib_table_dump(), net/ipv6/route.c rt6_dump_route()). Needs no privilege. Absent where the kernel knows
neither family. What IPv4 learnt and no packet has used since is in no dump (fnhe_dump_bucket()).
"""

import math

from netdiag.collectors import Collected, Options, verdict_of
from netdiag.model.pathmtu import PathMtu
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.messages import DumpResult
from netdiag.sources.netlink.routes import RouteColumns
from netdiag.sources.protocol import Source, Unreadable

KEPT = 10_000
LOCKED_MTU = 1 << 2
"""Bit of RTAX_MTU in RTAX_LOCK (rt_fill_info() of net/ipv4/route.c)."""


def collect(source: Source, options: Options) -> Collected:
    """Both families; redirects, which come in the same dump, are left out."""
    found: list[PathMtu] = []
    results: list[DumpResult] = []
    malformed = 0
    for family in ("inet", "inet6"):
        sink = RouteColumns(family)
        try:
            results.append(source.dump(requests.route_exceptions(family), sink))
        except Unreadable as error:
            if error.why != "absent":
                raise
            continue
        for row in sink.finish().rows():
            metrics = row.extra.metrics if row.extra else {}
            mtu = metrics.get("mtu")
            if mtu:
                expires = None if row.expires is None or math.isnan(row.expires) else float(row.expires)
                found.append(
                    PathMtu(
                        family=family,
                        dst=row.dst.partition("/")[0],
                        mtu=mtu,
                        ifindex=row.oif,
                        gateway=row.gateway,
                        expires=expires,
                        table=row.table,
                        locked=bool(metrics.get("lock", 0) & LOCKED_MTU),
                    )
                )
        malformed += sink.malformed
    if not results:
        raise Unreadable("absent", "the kernel knows neither IPv4 nor IPv6 routes")
    status, detail = verdict_of(results, malformed)
    return Collected(tables={"path_mtus": tuple(found[:KEPT])}, rows=len(found), status=status, detail=detail)
