"""One packet from host to host: the walk of a host, continued on the host that gets what it sends, until it ends.

A host is followed by the one that WireGuard's public key names, after a walk of the encrypted packet itself; else by
the one whose interface has the address of the next hop, proven by its hardware address or by a network that both ends
are in. Where several next hops are possible, each is followed, and only what they agree on is said to be known. What
leaves the hosts that were collected is "sent".

Connection tracking goes along: on the way back a host that saw the packet knows its answer, and to one that did not
see it the answer of TCP or ICMP is invalid, which is what makes two ways a fault behind a stateful filter.

Pure; ValueError for an address that is none.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from netdiag.index.fleet import End as Device
from netdiag.index.fleet import FleetHost, FleetView, Pair
from netdiag.index.view import HostIndex
from netdiag.model.address import Address
from netdiag.model.link import Link
from netdiag.model.protocols import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_UDP
from netdiag.model.walk import Fate, PathStep
from netdiag.path.host import PathHost
from netdiag.path.sizes import Limit, narrower
from netdiag.path.trail import End, Ends, Packet, Trail
from netdiag.path.walker import Walker
from netdiag.path.wireguard import Wireguard

FARTHEST = 24
"""Hosts in a row that are followed."""
DEEPEST = 3
"""Tunnels in tunnels."""
REPLY = {"inet": 0, "inet6": 129}
"""Types of an echo reply."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What one host did with the packet."""

    host: str
    iif: str | None
    """The interface that it came by; None: this host sent it."""
    end: End
    steps: tuple[PathStep, ...]
    onward: str = ""
    """How it got to the next host, or why that is not known."""


@dataclass(frozen=True, kw_only=True)
class FleetEnd:
    """How the walk over the hosts ends."""

    verdict: Fate
    reason: str
    host: str
    """Where it ends."""
    stages: tuple[Stage, ...]
    limit: Limit | None = None
    """The longest packet that goes all the known way."""
    packet: Packet | None = None
    """As it arrived where it ends."""
    guest: Link | None = None
    """The tap behind which the machine is that gets it."""
    passed: Mapping[str, tuple[Ends, Ends]] = field(default_factory=dict)
    """Hosts that tracked its connection, with its addresses before and after."""

    @property
    def lost(self) -> bool:
        """It does not arrive, for certain."""
        return self.verdict in ("dropped", "refused")


class _Next(NamedTuple):
    """The host that gets what was sent."""

    host: FleetHost | None
    link: Link | None
    how: str
    lost: str = ""
    """Why it does not get there."""
    doubt: str = ""
    limit: Limit | None = None
    guest: bool = False


class FleetWays:
    """All hosts, ready to be asked; what is built for one packet serves the next."""

    def __init__(self, view: FleetView) -> None:
        self.view = view
        self._hosts = {host.name: host for host in view.hosts}
        self._ready: dict[str, PathHost] = {}
        self._crossed: dict[tuple[str, str], _Next] = {}

    def ready(self, name: str) -> PathHost:
        """A host with its lookups."""
        found = self._ready.get(name)
        if found is None:
            snapshot = self._hosts[name].snapshot
            found = PathHost(HostIndex(snapshot.tables), snapshot.coverage)
            self._ready[name] = found
        return found

    @cached_property
    def owners(self) -> dict[str, list[tuple[FleetHost, Link]]]:
        """Who has an address on an interface that is up."""
        found: dict[str, list[tuple[FleetHost, Link]]] = defaultdict(list)
        for host in self.view.hosts:
            links = {link.ifindex: link for link in host.tables.links}
            for row in host.tables.addresses:
                link = links.get(row.ifindex)
                if link is not None and link.up:
                    found[row.local].append((host, link))
        return found

    @cached_property
    def _peers(self) -> dict[tuple[str, str], Pair]:
        return {(str(pair.near.device.public_key), pair.peer.public_key): pair for pair in self.view.pairs}

    def go(
        self,
        name: str,
        packet: Packet,
        known: Mapping[str, tuple[Ends, Ends]] | None = None,
        depth: int = 0,
    ) -> FleetEnd:
        """Follow a packet that a host sends, or that comes to it (``iif``). ``known``: an answer, and the hosts that
        know of what it answers."""
        return self._on(_State(name, packet, (), None, {}), known, depth)

    def back(self, there: FleetEnd) -> FleetEnd | None:
        """The answer to a packet that arrived; None where there is nobody to answer."""
        if there.verdict != "delivered" or there.packet is None or there.packet.src is None:
            return None
        first, left = there.passed.get(there.host, (there.packet.ends, there.packet.ends))
        sent = there.packet.answer(0, None)
        source = first.dst if left.dst == there.packet.dst else there.packet.dst
        answer = replace(sent, src=source, iif=there.guest.ifindex if there.guest is not None else 0, undone=None)
        return self.go(there.host, answer, there.passed)

    # -- one host ----------------------------------------------------------------------------------------------------

    def _on(self, at: "_State", known: Mapping[str, tuple[Ends, Ends]] | None, depth: int) -> FleetEnd:
        host, trail = self.ready(at.host), Trail()
        iif = host.ifname(at.packet.iif) if at.packet.iif else None
        place = (at.host, at.packet.iif, at.packet.src, at.packet.dst)
        if place in at.seen or len(at.stages) >= FARTHEST:
            reason = f"routing loop: it comes to {at.host} again, until its time to live is over"
            return at.ended("dropped", reason)
        at = at._replace(seen=(*at.seen, place))
        packet = self._tracked(at, known)
        end = Walker(host).go(packet, trail)
        limit = narrower(at.limit, Limit(end.mtu, f"{at.host}: {end.mtu_reason}") if end.mtu else None)
        at = at._replace(limit=limit)
        stage = Stage(host=at.host, iif=iif, end=end, steps=tuple(trail.steps))
        if end.ways and end.verdict in ("sent", "forwarded", "unknown"):
            return self._several(at, stage, known, depth)
        return self._after(at, stage, end, known, depth)

    def _tracked(self, at: "_State", known: Mapping[str, tuple[Ends, Ends]] | None) -> Packet:
        """The packet with what this host's connection tracking knows of it."""
        packet = at.packet
        if known is None:
            return packet
        if at.host in known:
            return replace(packet, related=True, ct="established", undone=known[at.host])
        if packet.ip_proto == IPPROTO_UDP:
            return replace(packet, related=False, ct="new", undone=None)
        answers = REPLY[packet.family] if packet.ip_proto in (IPPROTO_ICMP, IPPROTO_ICMPV6) else None
        return replace(packet, related=False, ct="invalid" if packet.ip_proto else None, undone=None, icmp_type=answers)

    def _several(
        self, at: "_State", stage: Stage, known: Mapping[str, tuple[Ends, Ends]] | None, depth: int
    ) -> FleetEnd:
        ends = [self._after(at, replace(stage, end=way), way, known, depth) for way in stage.end.ways]
        if len({(end.verdict, end.host) for end in ends}) == 1:
            return ends[0]
        if len({end.verdict for end in ends}) == 1:
            return replace(ends[0], reason=f"{ends[0].reason} (by another next hop it ends on {ends[-1].host})")
        worst = next((end for end in ends if end.lost), ends[0])
        reason = f"it depends on the next hop of {at.host}, which a hash of the flow chooses: on {worst.host} "
        return replace(worst, verdict="unknown", reason=reason + worst.reason)

    def _after(
        self, at: "_State", stage: Stage, end: End, known: Mapping[str, tuple[Ends, Ends]] | None, depth: int
    ) -> FleetEnd:
        """Where the packet goes from here."""
        if end.left is not None and end.left.first is not None:
            at = at._replace(passed={**at.passed, at.host: (end.left.first, end.left.ends)})
        if end.verdict in ("dropped", "refused", "unknown", "delivered") or end.left is None:
            at = at._replace(stages=(*at.stages, stage), packet=end.left or at.packet)
            return at.ended(end.verdict, end.reason)
        onward = self._next(at.host, end, depth)
        at = at._replace(
            stages=(*at.stages, replace(stage, onward=onward.how)),
            limit=narrower(at.limit, onward.limit),
            packet=end.left,
        )
        if onward.lost:
            return at.ended("dropped", onward.lost)
        if onward.guest:
            return replace(at.ended("delivered", onward.how), guest=onward.link)
        if onward.doubt:
            return at.ended("unknown", onward.doubt)
        if onward.host is None or onward.link is None:
            return at.ended("sent", onward.how)
        iif = onward.link.ifindex
        arriving = replace(
            end.left, iif=iif, oif=0, mark=0, uid=None, hooked=False, bridge=0, first=None, undone=None, ct="new"
        )
        return self._on(at._replace(host=onward.host.name, packet=arriving), known, depth)

    # -- from host to host ---------------------------------------------------------------------------------------------

    def _next(self, name: str, end: End, depth: int) -> _Next:
        host, left = self.ready(name), end.left
        link = host.stack.by_index.get(end.oif)
        if link is None or left is None:
            return _Next(None, None, "the interface that it leaves by is not known")
        if host.wireguard(link.ifindex) is not None or link.kind == "wireguard":
            return self._by_key(name, link, left, depth)
        near = end.via or left.dst
        if link.kind == "tun" and end.via is None:
            return _Next(None, link, f"handed to the guest behind {link.ifname} of {name}", guest=True)
        return self._by_address(host, link, near)

    def _by_address(self, host: PathHost, link: Link, near: str) -> _Next:
        """The host whose interface has the address of the next hop."""
        having = self.owners.get(near, [])
        entry = host.neighbour(link.ifindex, near)
        lladdr = entry.lladdr if entry is not None else None
        if lladdr is not None:
            proven = [(owner, there) for owner, there in having if there.address == lladdr]
            if proven:
                return _Next(*proven[0], f"{link.ifname} to {near} at {lladdr}, {proven[0][1].ifname}")
            return _Next(None, None, f"leaves by {link.ifname} to {near} at {lladdr}, which is no collected host")
        shared = [
            (owner, there)
            for owner, there in having
            if not there.loopback and any(_within(row.local, row.prefixlen, near) for row in _of(host, link))
        ]
        if len(shared) == 1:
            return _Next(*shared[0], f"{link.ifname} to {near}, {shared[0][1].ifname}")
        if shared:
            names = ", ".join(sorted(owner.name for owner, _ in shared))
            return _Next(None, None, "", doubt=f"{near} on {link.ifname} may be any of {names}")
        return _Next(None, None, f"leaves by {link.ifname} to {near}, which is no collected host")

    def _by_key(self, name: str, link: Link, packet: Packet, depth: int) -> _Next:
        """The host that holds the peer's key."""
        host = self.ready(name)
        keyed = host.wireguard(link.ifindex)
        found = keyed.lookup(packet.dst) if keyed is not None else None
        if keyed is None or found is None:
            return _Next(None, None, "", doubt=f"the peers of {link.ifname} were not read")
        near_key, far_key = str(keyed.device.public_key), found.peer.public_key
        crossed = self._crossed.get((near_key, far_key))
        if crossed is None or depth:
            crossed = self._cross(name, link, packet, self._peers.get((near_key, far_key)), depth)
            if not depth:
                self._crossed[near_key, far_key] = crossed
        if crossed.host is None or crossed.link is None or packet.src is None:
            return crossed
        there = self.ready(crossed.host.name).wireguard(crossed.link.ifindex)
        allowed = there.lookup(packet.src) if there is not None else None
        if allowed is not None and allowed.peer.public_key != near_key:
            lost = f"{crossed.link.ifname} of {crossed.host.name} takes {packet.src} from another peer only"
            return crossed._replace(lost=f"{lost} ({allowed.peer.public_key}, allowed ips {allowed.prefix})")
        return crossed

    def _cross(self, name: str, link: Link, packet: Packet, pair: Pair | None, depth: int) -> _Next:
        """Through WireGuard: whether the encrypted packet arrives and is understood."""
        far = pair.far if pair is not None else None
        if pair is None or far is None:
            key = pair.peer.public_key if pair is not None else "?"
            return _Next(None, None, f"leaves by {link.ifname} to peer {key}, which no collected host is")
        where = f"{far.device.ifname} of {far.host.name}"
        how = f"{link.ifname} to {where} (peer {pair.peer.public_key})"
        if pair.back is None:
            return _Next(far.host, far.link, how, lost=f"{where} has no peer with the key of {name}")
        if not far.link.up:
            return _Next(far.host, far.link, how, lost=f"{where} is down")
        if depth < DEEPEST:
            lost, limit = self._underneath(name, link, packet, far, depth)
            if lost:
                return _Next(far.host, far.link, how, lost=lost)
        else:
            limit = None
        if pair.dead and not pair.alive:
            age = "never" if pair.age is None else f"{pair.age:.0f} s ago"
            silent = f"{far.host.name} does not answer the handshakes of {name} by {link.ifname} (last one: {age})"
            return _Next(far.host, far.link, how, lost=silent)
        return _Next(far.host, far.link, how, limit=limit)

    def _underneath(self, name: str, link: Link, packet: Packet, far: Device, depth: int) -> tuple[str, Limit | None]:
        """Why the encrypted packet does not arrive, and how long the inner one may be for its sake."""
        asked = Wireguard(self.ready(name), link).encrypt(replace(packet, size=None), Trail())
        if asked.outer is None:
            return asked.reason, None
        outer = self.go(name, replace(asked.outer, size=None), depth=depth + 1)
        limit = outer.limit and Limit(outer.limit.mtu - asked.overhead, f"under {link.ifname}: {outer.limit.reason}")
        if outer.lost:
            return f"the encrypted packet to {asked.outer.dst} is lost on {outer.host}: {outer.reason}", limit
        if outer.verdict == "delivered" and outer.host != far.host.name:
            return f"the endpoint {asked.outer.dst} is {outer.host}, and the peer's key is on {far.host.name}", limit
        port = asked.outer.dport
        if outer.verdict == "delivered" and far.device.listen_port not in (None, port):
            return f"{far.host.name} listens on port {far.device.listen_port}, and is called at {port}", limit
        return "", limit


class _State(NamedTuple):
    """The packet on its way."""

    host: str
    packet: Packet
    stages: tuple[Stage, ...]
    limit: Limit | None
    passed: Mapping[str, tuple[Ends, Ends]]
    seen: tuple[tuple[object, ...], ...] = ()

    def ended(self, verdict: Fate, reason: str) -> "FleetEnd":
        return FleetEnd(
            verdict=verdict,
            reason=reason,
            host=self.host,
            stages=self.stages,
            limit=self.limit,
            packet=self.packet,
            passed=self.passed,
        )


def _of(host: PathHost, link: Link) -> list[Address]:
    return [row for row in host.tables.addresses if row.ifindex == link.ifindex]


def _within(local: str, prefixlen: int, address: str) -> bool:
    network = ipaddress.ip_network(f"{local}/{prefixlen}", strict=False)
    return ipaddress.ip_address(address) in network
