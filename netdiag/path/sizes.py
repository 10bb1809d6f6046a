"""How long a packet may be at an interface, and what becomes of one that is longer.

Mirrors ip_dst_mtu_maybe_forward() of include/net/ip.h, ip_fragment() of net/ipv4/ip_output.c and ip6_forward() of
net/ipv6/ip6_output.c: the route's own mtu counts, else the device's (IPv6 has one of its own for each interface).
What is too long and must not be cut is refused: EMSGSIZE for an own packet, "fragmentation needed" or "packet too big"
for one that is forwarded. IPv6 routers cut nothing. Path MTUs that were learnt are in no table. Pure; nothing can fail.
"""

from dataclasses import replace
from typing import NamedTuple

from netdiag.model.link import Link
from netdiag.model.route import Route
from netdiag.model.walk import Fate
from netdiag.path.trail import Packet

HEADER = {"inet": 20, "inet6": 40}


class Limit(NamedTuple):
    """The longest packet, and what says so."""

    mtu: int
    reason: str


def narrower(*limits: Limit | None) -> Limit | None:
    """The narrowest of those that are known; the first of equals."""
    known = [limit for limit in limits if limit is not None]
    return min(known, key=lambda limit: limit.mtu) if known else None


def of_device(link: Link, family: str) -> Limit:
    """The device's, or what IPv6 has of its own there."""
    own = link.inet6_conf.get("mtu", link.mtu) if family == "inet6" else link.mtu
    if own < link.mtu:
        return Limit(own, f"net.ipv6.conf.{link.ifname}.mtu is {own}")
    return Limit(link.mtu, f"{link.ifname} has mtu {link.mtu}")


def of_route(row: Route | None, link: Link, family: str) -> Limit:
    """The route's metric, else the device's."""
    metric = row.extra.metrics.get("mtu") if row is not None and row.extra is not None else None
    if row is None or not metric:
        return of_device(link, family)
    own = of_device(link, family)
    # IPv4 takes the metric as it is; IPv6 never goes beyond the interface (ip6_mtu()).
    if family == "inet6" and own.mtu < metric:
        return own
    return Limit(metric, f"{link.ifname}'s route to {row.dst} has mtu {metric}")


class Fitted(NamedTuple):
    """A packet at an interface: as it goes on, or what becomes of it."""

    packet: Packet
    fate: Fate | None
    decision: str
    why: str


def fit(packet: Packet, limit: Limit, *, forwarded: bool) -> Fitted | None:
    """What becomes of the packet's length at the routing layer; None: it fits, or its size was not asked for."""
    size = packet.size
    if size is None or size <= limit.mtu:
        return None
    if forwarded and (packet.family == "inet6" or packet.df):
        said = "packet too big" if packet.family == "inet6" else "fragmentation needed"
        return Fitted(packet, "refused", "refused", f"{size} bytes do not fit ({limit.reason}): ICMP {said}")
    if packet.df:
        return Fitted(packet, "refused", "refused", f"{size} bytes do not fit ({limit.reason}): EMSGSIZE")
    header = HEADER[packet.family] + (8 if packet.family == "inet6" else 0)
    piece = (limit.mtu - header) // 8 * 8
    count = -(-(size - HEADER[packet.family]) // piece) if piece > 0 else 0
    shorter = replace(packet, size=min(limit.mtu, piece + header))
    return Fitted(shorter, None, f"fragmented into {count}", f"{size} bytes do not fit: {limit.reason}")
