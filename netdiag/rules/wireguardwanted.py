"""Who wants a WireGuard peer at this moment, though it has no keepalive: what the host shows of packets for it.

A peer that is sent anything makes new keys within a round trip. So where BIRD calls a neighbour behind it, where TCP
sends again and again to an address behind it, where a tracked connection to its endpoint was used a moment ago, or
where packets went into the interface for which no handshake was begun, keys that are dead tell that it does not answer
(drivers/net/wireguard/send.c, timers.c). Pure; nothing can fail. The rule must consult bird, sockets, conntrack,
conntrack_state and deltas.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_SEEN_REPLY
from netdiag.model.link import Stats64
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP
from netdiag.model.sockets import AF_INET, AF_INET6, ESTABLISHED, SYN_SENT, Socket
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.bgpsessions import sessions, way
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example
from netdiag.rules.sockettables import packed
from netdiag.rules.wireguard.wg_no_endpoint_tx import GROUPS, moved, to_groups
from netdiag.rules.wireguardpeers import INITIATION, REJECT_AFTER_TIME, devices, second_looks
from netdiag.rules.wireguardways import peer_for

Fact = tuple[str, object, str]
"""Fact, value and source, as evidence wants it."""
MOST = 128
"""Sockets that are looked at."""
CALLING = 90.0
"""Seconds after which BIRD has called: it waits out its error wait time (60) and its connect delay (5)."""
TRIES = {"syn_sent": 2, "established": 3}
"""Retransmissions by which a peer that lives would have been woken."""
UDP_TIMEOUTS = {"udp_timeout": 30, "udp_timeout_stream": 120}
"""The kernel's own."""
SEVERAL = 2
"""Packets between the looks."""
AGAIN = 10
"""Tries in vain: fifty seconds."""
JUST = 10
"""Seconds since a tracked packet to a peer that is being tried: every five seconds."""


def wanted(view: HostView) -> dict[tuple[str, str], Fact]:
    """By interface and public key: what shows that somebody sends to a peer whose keys are dead."""
    tunnels = {link.ifindex: device for device, link in devices(view)}
    found: dict[tuple[str, str], Fact] = {}
    if any(_dead(view, peer) is not None for device in tunnels.values() for peer in device.peers):
        every = (_called, _sent, _tracked, _entered)
        for (device, peer), fact in (each for sign in every for each in sign(view, tunnels)):
            found.setdefault((device.ifname, peer.public_key), fact)
    return found


Found = tuple[tuple[WireguardDevice, WireguardPeer], Fact]


def _dead(view: HostView, peer: WireguardPeer) -> float | None:
    """Seconds since the last handshake, where its keys are dead; None: they live, or there never were any."""
    if peer.latest_handshake is None:
        return None
    age = view.wireguard.at - peer.latest_handshake
    return age if age > REJECT_AFTER_TIME else None


def _behind(tunnels: dict[int, WireguardDevice], oifs: set[int], address: str) -> Iterator[Any]:
    """Device and peer that packets take which leave by one of these interfaces."""
    for device in (tunnels[oif] for oif in oifs if oif in tunnels):
        peer = peer_for(device, address)
        if peer is not None:
            yield device, peer


def _called(view: HostView, tunnels: dict[int, WireguardDevice]) -> Iterator[Found]:
    """Neighbours that BIRD has called since their peers' last handshakes. In Idle it calls nobody: it waits for an
    interface on whose subnet the neighbour is, or out its error wait time, which grows with errors."""
    for session in sessions(view):
        age, answer = session.age(), way(view, session)
        if age is None or answer is None:
            continue
        if session.state != "Connect" and not (session.state == "Active" and age > CALLING):
            continue
        for device, peer in _behind(tunnels, {hop.oif for hop in answer.hops}, str(session.address)):
            since = _dead(view, peer)
            if since is not None and since > age:
                fact = (f"BGP session {session.name} calls {session.address}", f"for {age:.0f} s", session.source)
                yield (device, peer), fact


def unanswered(view: HostView) -> list[Socket]:
    """TCP connections that send again and again."""
    table = view.sockets
    again = (table.state == SYN_SENT) & (table.retrans >= TRIES["syn_sent"])
    again |= (table.state == ESTABLISHED) & (table.retrans >= TRIES["established"]) & (table.timer == 1)
    chosen = (table.protocol == IPPROTO_TCP) & ((table.family == AF_INET) | (table.family == AF_INET6)) & again
    return list(table.rows(np.flatnonzero(chosen)[:MOST]))


def _sent(view: HostView, tunnels: dict[int, WireguardDevice]) -> Iterator[Found]:
    """Far ends of TCP connections that get no answer."""
    for row in unanswered(view):
        family = "inet6" if ":" in row.dst else "inet"
        answer = view.lookup(Query(family=family, dst=row.dst.partition("%")[0], src=row.src.partition("%")[0]))
        for device, peer in _behind(tunnels, {hop.oif for hop in answer.hops}, row.dst):
            if _dead(view, peer) is not None:
                yield (device, peer), (f"TCP to {row.dst} port {row.dport}", "sends again, no answer", "SOCK_DIAG tcp")


def _tracked(view: HostView, tunnels: dict[int, WireguardDevice]) -> Iterator[Found]:
    """Endpoints with which datagrams were exchanged a moment ago, and a second without an answer."""
    table, settings = view.conntrack, view.conntrack_state.settings
    for device in tunnels.values():
        mine = (table.proto == IPPROTO_UDP) & (table.orig_sport == device.listen_port)
        if not mine.any():
            continue
        for peer in device.peers:
            if peer.endpoint is None:
                continue
            raw = packed(peer.endpoint)[1]
            rows = mine & (table.orig_dport == peer.endpoint_port) & (table.orig_dst == raw).all(axis=1)
            for position in np.flatnonzero(rows)[:1].tolist():
                entry = table.row(position)
                name = "udp_timeout_stream" if entry.status & IPS_SEEN_REPLY else "udp_timeout"
                idle = settings.get(name, UDP_TIMEOUTS[name]) - entry.timeout
                if 1 <= idle <= JUST:
                    yield (
                        (device, peer),
                        (f"tracked datagrams to {peer.endpoint}", f"{idle} s ago", "CTNETLINK CTA_TIMEOUT"),
                    )


def _entered(view: HostView, tunnels: dict[int, WireguardDevice]) -> Iterator[Found]:
    """The one peer with dead keys of a daemon that took packets between the looks and sent nothing to anybody: had the
    first of them woken it, that would have been a try. (The kernel counts no packet that waits for keys.) Of several
    the one that was tried again and again, where hardly anything was ever sent to the others."""
    if not view.read_whole("deltas"):
        return
    later = second_looks(view)
    for ifindex, device in tunnels.items():
        link = view.link(ifindex)
        dead = [peer for peer in device.peers if peer.endpoint and peer.allowed_ips and _dead(view, peer) is not None]
        dead = [peer for peer in dead if _tried(peer)] if len(dead) > 1 and not any(map(_used, dead)) else dead
        if link is None or not device.userspace or len(dead) != 1:
            continue
        rows = [(peer, later.get((device.ifname, peer.public_key))) for peer in device.peers]
        mute = all(row is not None and row.tx_bytes == peer.tx_bytes for peer, row in rows)
        count = moved(view, link, "tx_packets") - to_groups(view)
        if mute and count >= SEVERAL:
            source = f"RTM_GETLINK {device.ifname} IFLA_STATS64"
            yield (device, dead[0]), (f"packets that went into {device.ifname} meanwhile", count, source)


def _tried(peer: WireguardPeer) -> bool:
    """Whether most of what was sent to it can be tries that nobody answered."""
    return peer.tx_bytes - 2 * peer.rx_bytes >= AGAIN * INITIATION


def _used(peer: WireguardPeer) -> bool:
    """Whether more than a few packets were sent to it that were no tries."""
    return not _tried(peer) and peer.tx_bytes >= AGAIN * INITIATION


class _Both(BirdHost, WireguardBuilder):
    """A host with both daemons."""


def wanted_examples() -> Iterator[Example]:
    """Peers without a keepalive, and one look."""

    def host(*, age: float = 900, built: Any = None, **peer: Any) -> Any:
        made = built or _Both()
        made.link("eth0").address("eth0", "192.0.2.1/24").address("eth0", "2001:db8::1/64")
        made.wireguard("wg0").address("wg0", "10.0.0.1/24").address("wg0", "fd00::1/64")
        made.wg_peer("wg0", "a", age=age, allowed_ips=("10.0.0.2/32", "fd00::2/128"), **peer)
        return made.second_look("wg0", "a", seconds=1.0)

    def case(name: str, why: str, made: Any, fires: int, *says: str) -> Example:
        weight: dict[str, Any] = {"severity": "warning", "confidence": "likely"} if fires else {}
        return Example(name=name, why=why, tables=made.build(), fires=fires, says=says, **weight)

    yield case("idle, and nobody wants it", "most peers of a mesh", host(), 0)
    for state, since, age, fires in (
        ("Connect", "11:59:50.000", 900, 1),
        ("Active", "11:58:00.000", 900, 1),
        ("Active", "11:58:29.500", 900, 1),
        ("Active", "11:58:30.000", 900, 0),
        ("Active", "11:40:00.000", 900, 0),
        ("Connect", "11:45:00.000", 900, 0),
        ("Connect", "yesterday", 900, 0),
        ("Idle", "11:58:00.000", 900, 0),
        ("Connect", "11:59:50.000", 100, 0),
        ("Passive", "11:58:00.000", 900, 0),
    ):
        bird = _Both().bgp_down("m1", "", bgp_state=state, neighbor_address="10.0.0.2", since=since)
        name = f"BGP in {state} since {since}, keys of {age} s"
        says = ("BGP session m1 calls 10.0.0.2",) if fires else ()
        yield case(name, "a call wakes a peer that lives", host(built=bird, age=age), fires, *says)
    bird = _Both().bgp_down("m1", "", bgp_state="Connect", neighbor_address="10.0.0.3")
    yield case("BGP to somebody else", "nobody calls this one", host(built=bird), 0)
    for name, at in (("beside the tunnel", "192.0.2.9"), ("to no address that BIRD tells", None)):
        bird = _Both().bgp_down("m1", "", bgp_state="Connect", neighbor_address=at)
        yield case(f"BGP {name}", "it wakes no peer", host(built=bird), 0)
    bird = _Both().bgp_down("m1", "", bgp_state="Connect", neighbor_address="10.0.0.3")
    two = host(built=bird).wg_peer("wg0", "b", age=60, allowed_ips=("10.0.0.3/32",))
    yield case("BGP to another peer that lives", "it wakes that one", two, 0)
    for six in (False, True):
        for number, retrans, timer, age, fires in (
            (2, 2, 1, 900, 1),
            (2, 1, 1, 900, 0),
            (1, 3, 1, 900, 1),
            (1, 2, 1, 900, 0),
            (1, 3, 2, 900, 0),
            (2, 5, 1, 180, 0),
        ):
            src, dst = ("fd00::1", "fd00::2") if six else ("10.0.0.1", "10.0.0.2")
            made = host(age=age)
            fields: dict[str, Any] = {"state": number, "retrans": retrans, "timer": timer, "wqueue": 1}
            made.socket(src=src, sport=40000, dst=dst, dport=443, **fields)
            name = f"TCP to {dst}, state {number}, timer {timer}, sent again {retrans} times, keys of {age} s"
            yield case(name, "it wakes a peer that lives", made, fires)
    for endpoint, near in (("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1")):
        for status, left, sport, told in (
            (0x8, 27, 51820, 1),
            (0x8, 30, 51820, 0),
            (0x8, 20, 51820, 1),
            (0x8, 19, 51820, 0),
            (0xE, 119, 51820, 1),
            (0xE, 110, 51820, 1),
            (0xE, 109, 51820, 0),
            (0x8, 27, 40000, 0),
        ):
            made = host(endpoint=endpoint).wg_peer("wg0", "b", endpoint=None, allowed_ips=())
            made.conntrack(17, f"{near} 5353 {endpoint} 53", f"{endpoint} 53 {near} 5353", timeout=27)
            ends = f"{near} {sport} {endpoint} 51820", f"{endpoint} 51820 {near} {sport}"
            made.conntrack(17, *ends, status=status, timeout=left)
            name = f"datagrams to {endpoint} from {sport}, status {status:#x}, {left} s left"
            yield case(name, "a try every five seconds keeps the entry young", made, told)
    entering: tuple[tuple[str, str, dict[str, Any], int], ...] = (
        ("two", "somebody sends to it", {}, 1),
        ("one", "it may have been the first", {"count": 1}, 0),
        ("two, to groups", "they are no peer's", {"groups": 2}, 0),
        ("two, and some were sent to it", "it may be awake by now", {"tx": 96}, 0),
        ("two, and another peer was sent some", "they were for that one", {"beside": 96}, 0),
        ("two, and another one with dead keys", "for which of them", {"beside_age": 900}, 0),
        ("two, tried again and again beside one that is idle", "it is that one", _tries((2280, 400), (436, 400)), 1),
        ("two, tried not that often", "for which of them", _tries((2279, 400), (436, 400)), 0),
        ("two, both tried", "for which of them", _tries((2280, 400), (9000, 400)), 0),
        ("two, beside one that was used", "for which of them", _tries((2280, 400), (1480, 400)), 0),
        ("two, beside one that was hardly used", "it is that one", _tries((2280, 400), (1479, 400)), 1),
        ("two, of the kernel's", "it counts none that waits", {"userspace": False}, 0),
        ("two, of living keys", "it needs no new ones", {"age": 170}, 0),
    )
    for name, why, fields, fires in entering:
        yield case(f"packets into the interface: {name}", why, _entering(**fields), fires)


def _tries(sent: tuple[int, int], beside: tuple[int, int]) -> dict[str, Any]:
    return {"beside_age": 900, "sent": sent, "beside_sent": beside}


def _entering(
    *,
    count: int = 2,
    groups: int = 0,
    tx: int = 0,
    beside: int = 0,
    beside_age: float = 60,
    age: float = 900,
    userspace: bool = True,
    sent: tuple[int, int] = (0, 0),
    beside_sent: tuple[int, int] = (0, 0),
) -> WireguardBuilder:
    """A daemon's interface with two peers, that took so many packets between the looks."""
    made = WireguardBuilder().wireguard("wg0", userspace=userspace)
    made.link("eth0").address("eth0", "192.0.2.1/24").address("wg0", "10.0.0.1/24")
    (out, come), (other_out, other_come) = sent, beside_sent
    made.wg_peer("wg0", "a", age=age, allowed_ips=("10.0.0.2/32",), tx_bytes=out, rx_bytes=come)
    made.second_look("wg0", "a", tx=tx, seconds=1.0)
    made.wg_peer("wg0", "b", age=beside_age, allowed_ips=("10.0.0.3/32",), tx_bytes=other_out, rx_bytes=other_come)
    made.second_look("wg0", "b", tx=beside, seconds=1.0)
    before, after = (
        {"snmp": {GROUPS[0]: told}, "links": (made.link_counters("wg0", stats=Stats64(tx_packets=number)),)}
        for told, number in ((0, 10), (groups, 10 + count))
    )
    made.counters(before=before, after=after)
    return made
