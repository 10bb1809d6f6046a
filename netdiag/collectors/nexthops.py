"""Nexthop objects and groups, which routes can share.

Source: one RTM_GETNEXTHOP dump (Linux 5.3, net/ipv4/nexthop.c rtm_dump_nexthop()). Needs no privilege. An older kernel
has no such objects and says so (EOPNOTSUPP): then the table is known to be empty.
"""

from netdiag.collectors import Collected, Options, verdict_of
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.small import NexthopSink
from netdiag.sources.protocol import Source, Unreadable


def collect(source: Source, options: Options) -> Collected:
    """Every object of the namespace."""
    sink = NexthopSink()
    try:
        result = source.dump(requests.nexthops(), sink)
    except Unreadable as error:
        if error.why != "absent":
            raise
        return Collected(tables={"nexthops": ()}, detail="this kernel has no nexthop objects")
    status, detail = verdict_of([result], sink.malformed)
    return Collected(tables={"nexthops": tuple(sink.nexthops)}, rows=len(sink.nexthops), status=status, detail=detail)
