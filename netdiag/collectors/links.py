"""Interfaces with all that netlink tells of them: kind and its settings, sizes, carrier, statistics, XDP, sysctls.

Source: one RTM_GETLINK dump (net/core/rtnetlink.c rtnl_fill_ifinfo()). Needs no privilege. The kernel marks a dump
during which an interface came or went (inconsistent after three tries); partial where a message could not be decoded.
"""

from netdiag.collectors import Collected, Options, verdict_of
from netdiag.model.link import Link
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.links import LinkSink
from netdiag.sources.netlink.messages import DumpResult
from netdiag.sources.protocol import Source


def read_links(source: Source, *, stats: bool = True) -> tuple[list[Link], tuple[DumpResult, int]]:
    """Every interface; how the dump went and how many messages were malformed. Raises Unreadable."""
    sink = LinkSink()
    result = source.dump(requests.links(stats=stats), sink)
    return sink.links, (result, sink.malformed)


def collect(source: Source, options: Options) -> Collected:
    """Every interface of the namespace."""
    links, (result, malformed) = read_links(source)
    status, detail = verdict_of([result], malformed)
    return Collected(tables={"links": tuple(links)}, rows=len(links), status=status, detail=detail)
