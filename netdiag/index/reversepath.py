"""Whether IPv4's reverse path filter lets a packet in: __fib_validate_source() of net/ipv4/fib_frontend.c.

The filter of an interface is the larger of its own rp_filter and that of "all": 0 off, 1 strict, 2 loose
(IN_DEV_RPFILTER(), Documentation/networking/ip-sysctl.rst). A strict one asks for the way back to the packet's source,
with the packet's destination as source, and drops the packet (EXDEV, TcpExt IPReversePathFilter) unless a next hop of
the route that answers is the interface it came by. What the question carries: the mark only where src_valid_mark is set
on "all" or the interface; the ports exchanged; no owner but uid 0; no bound interface; and as incoming interface
loopback for a packet to this host itself, or the interface that a forwarded packet will leave by.

Members of a VRF are not judged here. Pure; ValueError for text that is no IPv4 address.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from netdiag.index.packet import Lookup, Query
from netdiag.model.link import Link

STRICT = 1
LOOPBACK = 1
"""ifindex of loopback in every namespace (LOOPBACK_IFINDEX)."""


class Reverse(NamedTuple):
    """The filter's answer."""

    passes: bool
    way: Lookup
    """The way back to the source."""


def effective(link: Link, everywhere: int, setting: str = "rp_filter") -> int:
    """The value that counts, of a setting where the larger one of the interface and "all" does."""
    return max(everywhere, link.inet_conf.get(setting, 0))


class ReversePath:
    """The question for one namespace."""

    def __init__(self, ask: Callable[[Query], Lookup], devices: Callable[[int], Iterable[int]]) -> None:
        """``ask`` decides a packet's route; ``devices`` names the interfaces of all next hops of the route at a
        position, those included that a packet would not take now."""
        self._ask = ask
        self._devices = devices

    def strict(self, link: Link, packet: Query, out: int | None = None) -> Reverse:
        """A packet with a source that came in by ``link``, whose filter is strict.

        ``packet``: its mark is to be 0 unless src_valid_mark is set. ``out``: the interface that it is forwarded to;
        None for a packet to this host itself. Where the answer cannot be known
        (netdiag.index.packet.Lookup.alternatives) it passes.
        """
        way = self._ask(
            Query(
                family="inet",
                dst=packet.src or "0.0.0.0",
                src=packet.dst,
                iif=out or LOOPBACK,
                mark=packet.mark,
                tos=packet.tos,
                ip_proto=packet.ip_proto,
                sport=packet.dport,
                dport=packet.sport,
            )
        )
        return Reverse(any(self._matches(link, answer) for answer in (way, *way.alternatives)), way)

    def _matches(self, link: Link, way: Lookup) -> bool:
        if way.type == "local":
            return True  # its own address as source is a martian, which the filter does not count
        if way.type != "unicast":
            return False
        named = {hop.oif for hop in (*way.hops, *way.left_out)}
        return link.ifindex in named or (way.route is not None and link.ifindex in set(self._devices(way.route)))
