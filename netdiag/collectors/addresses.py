"""Addresses of every interface, both families, with their flags and lifetimes.

Source: one RTM_GETADDR dump (net/ipv4/devinet.c inet_fill_ifaddr(), net/ipv6/addrconf.c inet6_fill_ifaddr()). Needs no
privilege. The kernel marks a dump during which an address came or went (inconsistent after three tries); partial where
a message could not be decoded.
"""

from netdiag.collectors import Collected, Options, verdict_of
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.addresses import AddressSink
from netdiag.sources.protocol import Source


def collect(source: Source, options: Options) -> Collected:
    """Every address of the namespace."""
    sink = AddressSink()
    result = source.dump(requests.addresses(), sink)
    status, detail = verdict_of([result], sink.malformed)
    table = tuple(sink.addresses)
    return Collected(tables={"addresses": table}, rows=len(table), status=status, detail=detail)
