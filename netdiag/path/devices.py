"""The interface that a packet leaves by, and everything below it: what each does with the packet.

A bridge looks for the port behind which the next hop is, vlan and macvlan hand the packet to the device below, a
tunnel or WireGuard puts it into another packet whose own way is walked in turn, a cable ends at its other end. Each
says how long a packet it takes; what is longer is lost there, unless the routing layer above knew it. Pure.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from netdiag.index.encapsulation import Tunnel, tunnel
from netdiag.index.links import PAIRED, encapsulation_overhead
from netdiag.model.link import Link
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.model.walk import Fate
from netdiag.path import bpf
from netdiag.path.fdb import Ports
from netdiag.path.host import PathHost
from netdiag.path.sizes import Limit, narrower, of_device
from netdiag.path.trail import End, Packet, Trail
from netdiag.path.wireguard import Wireguard

VLAN_TAG = 4
"""A cable and a port of a bridge take so much more than their mtu (is_skb_forwardable() of net/core/dev.c)."""
BELOW = frozenset({"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"})
KEEP_MARK = frozenset({"vxlan", "geneve"})
"""Tunnels whose outer packets ask for their way with the mark of the inner one (udp_tunnel_dst_lookup())."""
SWALLOWING = frozenset({"noop", "blackhole"})
"""noop stands on an interface without carrier, blackhole where somebody put it."""
BONDS = frozenset({"bond", "team"})


class Ways(NamedTuple):
    """Other walks that one leads to."""

    send: Callable[[Packet, Trail, frozenset[int]], End]
    """Of what a tunnel sends."""
    reply: Callable[[End], End | None]
    """Of the answer to that."""
    beyond: Callable[[Packet, Link, str | None, Trail], None]
    """Behind a cable, in another namespace."""
    turn: Callable[[bpf.Met, Trail], End]
    """Of what a program sent elsewhere."""


class Carried(NamedTuple):
    """What became of the packet below the routing layer; ``fate`` None: it has left."""

    fate: Fate | None
    reason: str
    limit: Limit | None = None
    dev: Link | None = None
    """Another interface than the one that was asked for: a program redirected it."""
    end: End | None = None
    """All that became of it, where it came in again."""


class Devices:
    """The interfaces of one namespace as a packet goes down through them."""

    def __init__(
        self,
        host: PathHost,
        ways: "Ways",
        passed: frozenset[int] = frozenset(),
    ) -> None:
        """``passed``: the tunnels that the packet is inside of already, by ifindex."""
        self._host = host
        self._ways = ways
        self._passed = passed
        self._ports = Ports(host)

    def out(self, link: Link, packet: Packet, lladdr: str | None, trail: Trail, *, raw: bool = False) -> Carried:
        """The packet leaves by this interface, to a neighbour with this hardware address. ``raw``: XDP sends it, past
        the programs and the queues."""
        limit = of_device(link, packet.family)
        if not link.up:
            return self._lost(trail, "dropped", link.ifname, f"{link.ifname} is down", limit)
        met = bpf.Met(packet) if raw else bpf.egress(self._host, link, packet, trail, lladdr)
        if met.turned is not None:
            return self._turned(met, met.turned, trail)
        if met.fate is not None:
            return Carried(met.fate, met.reason, limit)
        packet = met.packet
        if not link.lower_up and not link.loopback:
            return self._lost(trail, "dropped", link.ifname, f"{link.ifname} has no carrier", limit)
        if link.qdisc in SWALLOWING and not raw:
            why = f"the queueing discipline {link.qdisc} of {link.ifname} drops everything"
            trail.add("qdisc", "dropped", f"{link.qdisc} on {link.ifname}", decisive=True, why=why)
            return Carried("dropped", why, limit)
        if link.qdisc not in (None, "noqueue") and not raw:
            trail.add("qdisc", "queued", f"{link.qdisc} on {link.ifname}")
        keyed = self._host.wireguard(link.ifindex)
        if link.kind == "wireguard" or keyed is not None:
            return self._wireguard(link, packet, trail, limit)
        sized = tunnel(link)
        if sized is not None:
            return self._tunnel(link, sized, packet, lladdr, trail)
        if link.kind == "bridge":
            return self._bridge(link, packet, lladdr, trail, limit)
        if link.kind in BELOW:
            return self._below(link, packet, lladdr, trail, limit)
        if link.kind in BONDS:
            return self._bond(link, packet, lladdr, trail, limit)
        if link.kind in PAIRED:
            return self._cable(link, packet, lladdr, trail, limit)
        if packet.size is not None and packet.size > link.mtu:
            why = f"{packet.size} bytes, and {limit.reason}: whether its driver takes them is not known"
            return self._lost(trail, "unknown", link.ifname, why, limit)
        trail.add("link", "sent", _named(link), why=_handed(link))
        return Carried(None, "", limit)

    def _turned(self, met: bpf.Met, turned: bpf.Turned, trail: Trail) -> Carried:
        """A program on the way out sent it elsewhere."""
        end = self._ways.turn(met, trail)
        there = self._host.stack.by_index.get(end.oif)
        if turned.how in ("peer", "ingress") or end.lost or there is None:
            return Carried(end.verdict, end.reason, None, end=end)
        return Carried(None, end.reason, of_device(there, met.packet.family), dev=there)

    def _lost(self, trail: Trail, fate: Fate, thing: str, why: str, limit: Limit | None) -> Carried:
        trail.add("link", fate, thing, decisive=True, why=why)
        return Carried(fate, why, limit)

    def _too_long(self, packet: Packet, limit: Limit, trail: Trail, thing: str) -> Carried | None:
        if packet.size is None or packet.size <= limit.mtu:
            return None
        why = f"{packet.size} bytes are too long: {limit.reason}"
        trail.add("mtu", "dropped", thing, decisive=True, why=why)
        return Carried("dropped", why, limit)

    # -- what lies below -------------------------------------------------------------------------------------------

    def _below(self, link: Link, packet: Packet, lladdr: str | None, trail: Trail, limit: Limit) -> Carried:
        lower = self._host.stack.lower(link.ifindex)
        if lower is None:
            where = f"in namespace id {link.link_netnsid}" if link.link_netnsid is not None else "not known"
            trail.add("link", "sent", _named(link), why=f"the device below is {where}")
            return Carried(None, "", limit)
        tag = f" with vlan id {link.info['id']}" if link.kind == "vlan" and "id" in link.info else ""
        trail.add("link", "handed down", _named(link), why=f"to {lower.ifname}{tag}")
        carried = self.out(lower, packet, lladdr, trail)
        overhead = encapsulation_overhead(link) or 0
        under = carried.limit
        return carried._replace(limit=narrower(limit, under and Limit(under.mtu - overhead, under.reason)))

    def _bond(self, link: Link, packet: Packet, lladdr: str | None, trail: Trail, limit: Limit) -> Carried:
        legs = [port for port in self._host.stack.ports(link.ifindex) if port.up and port.lower_up]
        active = [leg for leg in legs if leg.slave_info.get("state") == "ACTIVE"] or legs
        if not active:
            return self._lost(trail, "dropped", _named(link), f"{link.ifname} has no leg that is up", limit)
        names = ", ".join(leg.ifname for leg in active)
        trail.add("link", "handed down", _named(link), why=f"to {names}" + (" (one of them)" if active[1:] else ""))
        ways = [self.out(leg, packet, lladdr, trail if leg is active[0] else Trail()) for leg in active]
        return self._together(link, ways, limit)

    def _together(self, link: Link, ways: list[Carried], limit: Limit) -> Carried:
        """One of several devices takes the packet, and which one is not known."""
        fates = {way.fate for way in ways}
        narrow = narrower(limit, *(way.limit for way in ways))
        if len(fates) > 1:
            bad = next(way for way in ways if way.fate)
            return Carried("unknown", f"below {link.ifname} it depends on the device: {bad.reason}", narrow)
        return ways[0]._replace(limit=narrow)

    def _bridge(self, link: Link, packet: Packet, lladdr: str | None, trail: Trail, limit: Limit) -> Carried:
        found = self._ports.behind(link, lladdr)
        trail.add("link", found.decision, _named(link), why=found.why)
        if not found.ports:
            return self._lost(trail, found.fate or "dropped", link.ifname, found.why, limit)
        ways = []
        for port in found.ports:
            room = Limit(port.mtu + VLAN_TAG, f"{port.ifname} has mtu {port.mtu}")
            long = self._too_long(packet, room, trail, f"{port.ifname} (port of {link.ifname})")
            ways.append(long or self.out(port, packet, lladdr, trail))
        if found.flooded:
            # One copy that arrives is enough, and which port leads to the neighbour is not known.
            open_ = [way for way in ways if way.fate is None]
            narrow = narrower(limit, *(way.limit for way in ways))
            return Carried(None, "", narrow) if open_ else ways[0]._replace(limit=narrow)
        return self._together(link, ways, limit)

    def _cable(self, link: Link, packet: Packet, lladdr: str | None, trail: Trail, limit: Limit) -> Carried:
        far = self._host.far(link)
        peer = self._host.stack.veth_peer(link.ifindex) or (far[1] if far else None)
        if peer is None:
            where = f"in namespace id {link.link_netnsid}" if link.link_netnsid is not None else "not known"
            trail.add("link", "sent", _named(link), why=f"its other end is {where}")
            return Carried(None, "", limit)
        trail.add("link", "sent", _named(link), why=f"to its other end {peer.ifname}{self._place(link, far)}")
        cable = limit
        if peer.mtu + VLAN_TAG < limit.mtu:
            cable = Limit(peer.mtu + VLAN_TAG, f"the other end of {link.ifname} has mtu {peer.mtu}")
            long = self._too_long(packet, cable, trail, peer.ifname)
            if long is not None:
                return long
        self._ways.beyond(packet, link, lladdr, trail)
        return Carried(None, "", cable)

    @staticmethod
    def _place(link: Link, far: tuple[PathHost, Link] | None) -> str:
        if far is not None and far[0].name:
            return f" in namespace {far[0].name}"
        return f" in namespace id {link.link_netnsid}" if link.link_netnsid is not None else ""

    # -- what carries it further -----------------------------------------------------------------------------------

    def _looped(self, link: Link, trail: Trail, limit: Limit, layer: str) -> Carried | None:
        if link.ifindex not in self._passed:
            return None
        why = f"loop: what {link.ifname} sends leads into {link.ifname} again"
        trail.add("wireguard" if layer == "wireguard" else "tunnel", "dropped", link.ifname, decisive=True, why=why)
        return Carried("dropped", why, limit)

    def _outer(self, link: Link, outer: Packet, trail: Trail) -> End:
        return self._ways.send(outer, trail.deeper(), self._passed | {link.ifindex})

    def _tunnel(self, link: Link, sized: Tunnel, packet: Packet, lladdr: str | None, trail: Trail) -> Carried:
        limit = of_device(link, packet.family)
        looped = self._looped(link, trail, limit, "tunnel")
        if looped is not None:
            return looped
        remotes = [sized.remote] if sized.remote else self._ports.remotes(link, lladdr)
        if remotes is None or not remotes:
            unread = remotes is None
            why = "its forwarding table was not read" if unread else "no far end is known for this neighbour"
            trail.add("tunnel", "unknown" if unread else "dropped", _named(link), decisive=True, why=why)
            return Carried("unknown" if unread else "dropped", f"{link.ifname}: {why}", limit)
        by = "" if sized.remote else f", by {self._ports.entry(link, lladdr)}"
        trail.add("tunnel", "encapsulated", _named(link), why=f"{sized.name} to {', '.join(remotes)}{by}")
        ways = [self._through(link, sized, remote, packet, trail, heard=lladdr is not None) for remote in remotes]
        if any(way.fate is None for way in ways) and len(ways) > 1:
            return Carried(None, "", narrower(limit, *(way.limit for way in ways)))
        return ways[0]

    def _through(self, link: Link, sized: Tunnel, remote: str, packet: Packet, trail: Trail, *, heard: bool) -> Carried:
        cut = sized.outer == "inet" and sized.ip_proto == IPPROTO_UDP
        outer = Packet(
            family="inet6" if ":" in remote else "inet",
            dst=remote,
            src=sized.local,
            oif=link.link or 0 if link.link_netnsid is None else 0,
            mark=packet.mark if link.kind in KEEP_MARK else sized.mark,
            ip_proto=sized.ip_proto,
            dport=sized.dport,
            size=None if packet.size is None else packet.size + sized.overhead,
            df=not cut,
        )
        end = self._outer(link, outer, trail)
        carried = self._under(link, end, sized.overhead, of_device(link, packet.family))
        back = self._ways.reply(end) if sized.ethernet and not heard and carried.fate is None else None
        if back is not None and back.lost:
            why = f"the neighbour behind {link.ifname} is not known, and what the tunnel brings is lost: {back.reason}"
            return self._lost(
                trail, "unknown" if back.verdict == "unknown" else "dropped", link.ifname, why, carried.limit
            )
        return carried

    def _under(self, link: Link, end: End, overhead: int, limit: Limit) -> Carried:
        """What the outer packet's way means for the inner one."""
        narrow = limit
        if end.mtu is not None and end.mtu_reason is not None:
            narrow = narrower(limit, Limit(end.mtu - overhead, f"under {link.ifname}: {end.mtu_reason}")) or limit
        if end.verdict == "delivered":
            return Carried("dropped", f"{link.ifname}: its far end is this host itself: {end.reason}", narrow)
        if end.lost:
            fate: Fate = "unknown" if end.verdict == "unknown" else "dropped"
            return Carried(fate, f"under {link.ifname}: {end.reason}", narrow)
        return Carried(None, "", narrow)

    def _wireguard(self, link: Link, packet: Packet, trail: Trail, limit: Limit) -> Carried:
        looped = self._looped(link, trail, limit, "wireguard")
        if looped is not None:
            return looped
        asked = Wireguard(self._host, link).encrypt(packet, trail)
        if asked.outer is None:
            return Carried(asked.fate, asked.reason, limit)
        end = self._outer(link, asked.outer, trail)
        if end.oif == link.ifindex and not end.lost:
            end = replace(end, verdict="dropped", reason=f"loop: the endpoint is reached through {link.ifname} itself")
        carried = self._under(link, end, asked.overhead, limit)
        back = self._ways.reply(end) if asked.waits and carried.fate is None else None
        if back is not None and back.lost:
            why = f"{link.ifname} has to shake hands first, and the answer to that is lost: {back.reason}"
            return self._lost(trail, back.verdict, link.ifname, why, carried.limit)
        return carried


def _named(link: Link) -> str:
    return f"{link.ifname} ({link.kind})" if link.kind else link.ifname


def _handed(link: Link) -> str:
    if link.kind == "tun":
        return "handed to the process that holds it"
    return ""
