"""Neighbours of both families with their states and ages, and the proxy entries that this host answers for.

Source: two RTM_GETNEIGH dumps, one of them with NTF_PROXY (net/core/neighbour.c neigh_dump_info()). Needs no privilege.
Partial where a message could not be decoded.
"""

from netdiag.collectors import Collected, Options, verdict_of
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.neighbours import NeighbourColumns, concatenate
from netdiag.sources.protocol import Source


def collect(source: Source, options: Options) -> Collected:
    """Neighbours first, proxy entries behind them."""
    sink, proxies = NeighbourColumns(), NeighbourColumns()
    results = [
        source.dump(requests.neighbours(), sink),
        source.dump(requests.neighbours(proxy=True), proxies),
    ]
    table = concatenate(sink.finish(), proxies.finish())
    status, detail = verdict_of(results, sink.malformed + proxies.malformed)
    return Collected(tables={"neighbours": table}, rows=len(table), status=status, detail=detail)
