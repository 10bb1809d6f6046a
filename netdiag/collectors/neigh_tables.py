"""Thresholds and counters of the kernel's two neighbour tables (ARP and ND), which all namespaces share.

Source: one RTM_GETNEIGHTBL dump (net/core/neighbour.c neightbl_fill_info()). Needs no privilege.
"""

from netdiag.collectors import Collected, Options, verdict_of
from netdiag.model.sysctl import NeighTable
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.messages import DumpResult
from netdiag.sources.netlink.small import NeighTableSink
from netdiag.sources.protocol import Source


def read_neigh_tables(source: Source) -> tuple[tuple[NeighTable, ...], DumpResult, int]:
    """Both tables, how the dump went, and how many messages were malformed. Raises Unreadable."""
    sink = NeighTableSink()
    result = source.dump(requests.neighbour_tables(), sink)
    return tuple(sink.tables), result, sink.malformed


def collect(source: Source, options: Options) -> Collected:
    """Both tables."""
    tables, result, malformed = read_neigh_tables(source)
    status, detail = verdict_of([result], malformed)
    return Collected(tables={"neigh_tables": tables}, rows=len(tables), status=status, detail=detail)
