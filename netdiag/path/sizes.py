"""How long a packet may be at an interface, and what becomes of one that is longer.

Mirrors ip_dst_mtu_maybe_forward() of include/net/ip.h, ip6_dst_mtu_maybe_forward() of include/net/ip6_route.h,
ip_fragment() of net/ipv4/ip_output.c and ip6_forward() of net/ipv6/ip6_output.c: a path MTU that was learnt counts
first, then the route's own mtu, then the device's (IPv6 has one of its own for each interface). IPv4 heeds what was
learnt only for own packets, unless net.ipv4.ip_forward_use_pmtu is set or the entry is locked. What is too long and
must not be cut is refused: EMSGSIZE for an own packet, "fragmentation needed" or "packet too big" for one that is
forwarded. IPv6 routers cut nothing. Pure; nothing can fail.
"""

from dataclasses import replace
from typing import NamedTuple

from netdiag.index.packet import Hop
from netdiag.model.link import Link
from netdiag.model.route import Route
from netdiag.model.walk import Fate
from netdiag.path.host import PathHost
from netdiag.path.trail import Packet

HEADER = {"inet": 20, "inet6": 40}
LEAST = {"inet": 552, "inet6": 1280}
"""The smallest path MTU that is taken from ICMP: net.ipv4.route.min_pmtu as it is by default, IPV6_MIN_MTU."""
FORWARD_USE = "net.ipv4.ip_forward_use_pmtu"


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
    """The route's metric, also where it goes beyond the device; else the device's."""
    metric = row.extra.metrics.get("mtu") if row is not None and row.extra is not None else None
    if row is None or not metric:
        return of_device(link, family)
    return Limit(metric, f"{link.ifname}'s route to {row.dst} has mtu {metric}")


class Learnt(NamedTuple):
    """A path MTU that ICMP told of, and whether it counts for this packet."""

    mtu: int
    heeded: bool
    thing: str
    why: str

    @property
    def limit(self) -> Limit:
        """As a limit."""
        return Limit(self.mtu, self.thing)


def learnt(host: PathHost, packet: Packet, hop: Hop, table: int | None, *, forwarded: bool) -> Learnt | None:
    """The exception to the route that was learnt for the packet's destination by this next hop; None: there is none."""
    for row in host.path_mtus(packet.dst):
        placed = (row.ifindex, row.gateway) == (hop.oif, hop.gateway) and row.table in (None, table)
        if not placed or (row.expires is not None and row.expires <= 0):
            continue
        told = "how long it is kept is not told" if row.expires is None else f"forgotten in {row.expires:.0f} s"
        thing = f"path MTU to {row.dst} learnt by ICMP is {row.mtu}"
        use = host.number(FORWARD_USE)
        heeded = packet.family == "inet6" or not forwarded or row.locked or bool(use)
        if not heeded:
            value = "was not read" if use is None and host.gap("sysctls") else "is 0"
            told += f"; not heeded for what is forwarded: {FORWARD_USE} {value}"
        return Learnt(row.mtu, heeded, thing, told)
    return None


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
