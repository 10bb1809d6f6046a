"""Routes of every table and both families, as columns.

Source: two RTM_GETROUTE dumps (net/ipv4/fib_frontend.c inet_dump_fib(), net/ipv6/ip6_fib.c inet6_dump_fib()). Needs no
privilege. Inconsistent where the tables changed while they were read, three times in a row; partial where a message
could not be decoded. A kernel without IPv6 has no IPv6 routes: that is not a gap. Cached routes are not in a dump.
"""

from netdiag.collectors import Collected, Options, uptime_of, verdict_of
from netdiag.model.route import Routes
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.messages import DumpResult
from netdiag.sources.netlink.routes import RouteColumns
from netdiag.sources.protocol import Source, Unreadable


def read_routes(source: Source, family: str) -> tuple[Routes, DumpResult, int]:
    """Every route of one family, how the dump went, and how many messages were malformed. Raises Unreadable."""
    sink = RouteColumns(family)
    result = source.dump(requests.routes(family), sink)
    return sink.finish(), result, sink.malformed


def collect(source: Source, options: Options) -> Collected:
    """Both families."""
    at = uptime_of(source)
    routes, result, malformed = read_routes(source, "inet")
    try:
        routes6, result6, malformed6 = read_routes(source, "inet6")
    except Unreadable as error:
        if error.why != "absent":
            raise
        routes6, result6, malformed6 = Routes.empty("inet6"), result, 0
    status, detail = verdict_of([result, result6], malformed + malformed6)
    return Collected(
        tables={"routes": routes, "routes6": routes6, "routes_at": at},
        rows=len(routes) + len(routes6),
        status=status,
        detail=detail,
    )
