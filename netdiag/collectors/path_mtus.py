"""Path MTUs that were learnt from ICMP "fragmentation needed" and "packet too big".

Source: RTM_GETROUTE dumps with RTM_F_CLONED, which strict checking takes for "exceptions only" (Linux 5.3; net/ipv4/
fib_trie.c fib_table_dump(), net/ipv6/route.c rt6_dump_route()). Needs no privilege. Absent where the kernel knows
neither family.
"""

import math

from netdiag.collectors import Collected, Options, verdict_of
from netdiag.model.pathmtu import PathMtu
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.messages import DumpResult
from netdiag.sources.netlink.routes import RouteColumns
from netdiag.sources.protocol import Source, Unreadable

KEPT = 10_000


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
            mtu = row.extra.metrics.get("mtu") if row.extra else None
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
                    )
                )
        malformed += sink.malformed
    if not results:
        raise Unreadable("absent", "the kernel knows neither IPv4 nor IPv6 routes")
    status, detail = verdict_of(results, malformed)
    return Collected(tables={"path_mtus": tuple(found[:KEPT])}, rows=len(found), status=status, detail=detail)
