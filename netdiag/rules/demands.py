"""What this host demonstrably sends packets to: neighbours of BGP sessions, WireGuard endpoints, far ends of tunnels,
guests, and neighbours on its own links.

Used by rules that ask whether something that refuses packets (a blackhole route, a policy rule) was meant: nobody means
to refuse what is in use. A demand is a question for the routing tables and the objects that suffer where the answer is
no. Tables that a rule only consults may be missing; their demands are then missing as well. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import islice

import numpy as np

from netdiag.index.guests import faces_guest
from netdiag.index.links import PAIRED
from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.distinct import among
from netdiag.model.finding import Subject, subject
from netdiag.model.neighbour import NUD_DELAY, NUD_PERMANENT, NUD_PROBE, NUD_REACHABLE, NUD_STALE
from netdiag.model.protocols import BGP_PORT, IPPROTO_TCP
from netdiag.model.route import RTN_UNICAST
from netdiag.rules.bgpsessions import sessions
from netdiag.rules.wireguardpeers import device_subject, peer_subject, query_to

READS = ("links", "addresses", "routes", "rules", "sysctls", "neighbours")
CONSULTS = ("bird", "wireguard")
MOST = 256
"""Questions of one kind; a lookup costs about 0.1 ms."""
LIVE = NUD_REACHABLE | NUD_DELAY | NUD_PROBE | NUD_STALE | NUD_PERMANENT
PAIR = {"inet": 30, "inet6": 127}
"""Bits of a subnet that has room for this host and one guest."""
MOST_INNER = 8
WIDEST = {4: 16, 6: 32}
"""Bits: a wider prefix of a peer is an aggregate, of which some may be refused on purpose."""
FRESH = 300.0
"""Seconds since a handshake within which a peer counts as in use: sessions end after 180 (REJECT_AFTER_TIME)."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Somebody whom this host sends to."""

    query: Query
    words: str
    """``the neighbour of BGP session up1``."""
    kind: str
    """``bgp``, ``wireguard``, ``tunnel``, ``guest`` or ``neighbour``."""
    busy: bool
    """Packets go there all the time."""
    suffers: tuple[Subject, ...] = ()
    """What breaks where it cannot be reached."""
    ifindex: int | None = None
    """The interface that it is on, where that is known."""


def demands(view: HostView) -> Iterator[Demand]:
    """All of them, the most telling kind first."""
    yield from _bgp(view)
    yield from _wireguard(view)
    yield from _tunnels(view)
    yield from _guests(view)
    yield from _neighbours(view)


def _bgp(view: HostView) -> Iterator[Demand]:
    for session in list(sessions(view))[:MOST]:
        address, ifname = session.protocol.neighbor_address, session.protocol.neighbor_ifname
        if address is None or session.switched_off or (session.waits and not session.up):
            continue
        device, family = ifname or session.protocol.other.get("VRF"), "inet6" if ":" in address else "inet"
        protocol, port = (None, None) if session.up else (IPPROTO_TCP, BGP_PORT)  # who dialled one that stands?
        yield Demand(
            query=Query(family=family, dst=address, oif=device, ip_proto=protocol, dport=port),
            words=f"the neighbour of BGP session {session.name}",
            kind="bgp",
            busy=True,
            suffers=(session.subject,),
        )


def _wireguard(view: HostView) -> Iterator[Demand]:
    wireguard = view.wireguard
    peers = ((device, peer) for device in wireguard.devices for peer in device.peers)
    for device, peer in islice(peers, MOST):
        query = query_to(device, peer)
        if query is None:
            continue
        recent = peer.latest_handshake is not None and wireguard.at - peer.latest_handshake < FRESH
        yield Demand(
            query=query,
            words=f"the endpoint of a peer of {device.ifname}",
            kind="wireguard",
            busy=bool(peer.persistent_keepalive) or recent,
            suffers=(peer_subject(device, peer), device_subject(device)),
        )


def _tunnels(view: HostView) -> Iterator[Demand]:
    for link in view.links:
        remote = link.info.get("remote") or link.info.get("remote6")
        if not link.up or not isinstance(remote, str) or remote in ("0.0.0.0", "::"):
            continue
        yield Demand(
            query=Query(family="inet6" if ":" in remote else "inet", dst=remote),
            words=f"the far end of tunnel {link.ifname}",
            kind="tunnel",
            busy=True,
            suffers=(subject("link", ifname=link.ifname),),
        )


def _guests(view: HostView) -> Iterator[Demand]:
    facing = {link.ifindex for link in view.links if faces_guest(link) or link.kind in PAIRED}
    if not facing:
        return
    for family, length in (("inet", 32), ("inet6", 128)):
        routes = view.routes(family)
        alone = (routes.dst_len == length) & (routes.type == RTN_UNICAST) & among(routes.oif, list(facing))
        for row in view.route_rows(family, np.flatnonzero(alone)[:MOST].tolist()):
            ifname = view.ifname(row.oif or 0)
            yield Demand(
                query=Query(family=family, dst=row.dst.partition("/")[0]),
                words=f"the guest behind {ifname}",
                kind="guest",
                busy=True,
                suffers=(subject("link", ifname=ifname),),
                ifindex=row.oif,
            )


def _neighbours(view: HostView) -> Iterator[Demand]:
    table = view.neighbours
    for row in table.rows(np.flatnonzero(table.state & LIVE)[:MOST]):
        link = view.link(row.ifindex)
        if link is None:
            continue
        yield Demand(
            query=Query(family=row.family, dst=row.dst),
            words=f"a neighbour on {link.ifname}",
            kind="neighbour",
            busy=row.state in ("reachable", "delay", "probe"),
            suffers=(subject("neighbour", dst=row.dst, ifname=link.ifname),),
            ifindex=row.ifindex,
        )


def serves(view: HostView, family: str, address: str) -> bool:
    """Whether it is a gateway of some route."""
    key, used = view.fib(family).key(address), view.routes(family).gateway
    same = (used == np.frombuffer(key, np.uint8)).all(axis=1) if isinstance(key, bytes) else used == key
    return bool(same.any()) or any(
        address in (extra.via, *(hop.gateway for hop in extra.multipath)) for extra in view.routes(family).extras
    )


def inner(view: HostView) -> Iterator[Demand]:
    """What living WireGuard peers carry: the first address of each of their prefixes, the widest ones left out."""
    wireguard = view.wireguard
    peers = ((device, peer) for device in wireguard.devices for peer in device.peers)
    for device, peer in islice(peers, MOST):
        fresh = peer.latest_handshake is not None and wireguard.at - peer.latest_handshake < FRESH
        for prefix in peer.allowed_ips[:MOST_INNER] if fresh and device.ifindex is not None else ():
            network = ip_network(prefix, strict=False)
            if network.prefixlen < WIDEST[network.version]:
                continue
            yield Demand(
                query=Query(
                    family="inet" if network.version == 4 else "inet6",
                    dst=str(network[1] if network.num_addresses > 1 else network[0]),
                ),
                words=f"of {prefix} behind a living peer of {device.ifname}",
                kind="inner",
                busy=True,
                suffers=(peer_subject(device, peer), device_subject(device)),
                ifindex=device.ifindex,
            )


def pairs(view: HostView) -> Iterator[Demand]:
    """Guests that are alone with this host in the subnet of a tap which somebody holds."""
    for address in view.addresses:
        link = view.link(address.ifindex)
        if link is None or not (link.lower_up and link.info.get("type") == "tap"):
            continue
        if address.prefixlen < PAIR[address.family]:
            continue
        network = ip_network(f"{address.local}/{address.prefixlen}", strict=False)
        for other in {str(host) for host in network.hosts()} - {address.local}:
            yield Demand(
                query=Query(family=address.family, dst=other),
                words=f"the guest behind {link.ifname}",
                kind="guest",
                busy=True,
                suffers=(subject("link", ifname=link.ifname),),
                ifindex=link.ifindex,
            )
