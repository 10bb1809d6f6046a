"""One packet through one namespace, from where it starts to where it ends.

Where several next hops or several answers of the tables are possible, each is followed, and only what they agree on is
said to be known. Pure; ValueError for an address that is none or not of the packet's family.
"""

from dataclasses import replace
from typing import Any

from netdiag.index.packet import Lookup
from netdiag.model.link import Link
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.walk import Fate
from netdiag.path import arrive, bpf, decide
from netdiag.path.arrive import judged
from netdiag.path.depart import Depart, doubtful
from netdiag.path.devices import Devices, Ways
from netdiag.path.firewall import Firewall
from netdiag.path.host import PathHost
from netdiag.path.trail import End, Packet, Trail
from netdiag.path.wireguard import Wireguard

LOOPBACK = 1
NEEDED = ("links", "addresses", "routes", "rules", "sysctls", "nexthops")
DEEPEST = 8
"""Tunnels in tunnels and namespaces behind namespaces that are followed."""


class Walker:
    """One namespace, ready to be asked."""

    def __init__(self, host: PathHost, passed: frozenset[int] = frozenset()) -> None:
        """``passed``: the tunnels that the packet is inside of, by ifindex."""
        self._host = host
        self._passed = passed
        self._firewall = Firewall(host)
        ways = Ways(self._carry, self._reply, self._beyond, self._turned)
        self._devices = Devices(host, ways, passed)
        self._depart = Depart(host, self._firewall, self._devices, self._once_more, inside=bool(passed))
        self._turns = 0

    # -- beginnings --------------------------------------------------------------------------------------------------

    def go(self, packet: Packet, trail: Trail) -> End:
        """Follow a packet of this host, or with ``iif`` one that arrives."""
        unread = self._host.gap(*NEEDED)
        if unread:
            return trail.stop("unknown", "local", "tables", unread)
        return self._arrive(packet, trail) if packet.iif else self._send(packet, trail)

    def _carry(self, outer: Packet, trail: Trail, passed: frozenset[int]) -> End:
        """What a tunnel sends."""
        if trail.depth > DEEPEST:
            return trail.stop("unknown", "tunnel", outer.text(), "too many tunnels in tunnels")
        return Walker(self._host, passed).go(outer, trail)

    def _beyond(self, packet: Packet, link: Link, lladdr: str | None, trail: Trail) -> None:
        """Behind a cable, in a namespace that was read as well: for the reader, it changes nothing here."""
        far = self._host.far(link)
        if far is None or trail.depth > DEEPEST:
            return
        host, peer = far
        bridge = host.stack.master(peer.ifindex)
        there = bridge or peer
        if lladdr is not None and there.address != lladdr:
            what = "bridged" if bridge is not None else "ignored"
            why = f"the frame is for {lladdr}, not for {there.ifname}"
            trail.deeper().add("link", what, f"{there.ifname} in namespace {host.name}", why=why)
            return
        iif = peer.ifindex
        arriving = replace(packet, iif=iif, oif=0, mark=0, uid=None, hooked=False, first=None, undone=None)
        Walker(host).go(arriving, trail.deeper())

    def _send(self, packet: Packet, trail: Trail) -> End:
        answer = self._host.routing.lookup(packet.query())
        if packet.src is None:
            packet, answer = self._again(packet, answer, trail)
        return self._answered(packet, answer, trail, None)

    def _once_more(self, packet: Packet, trail: Trail) -> End:
        return self._answered(packet, self._host.routing.lookup(packet.query()), trail, None)

    def _again(self, packet: Packet, answer: Lookup, trail: Trail) -> tuple[Packet, Lookup]:
        """Where a socket asks the tables twice, the second time with the source that it got by the first answer.

        IPv6 does so after an error (ip6_dst_lookup_tail()), IPv4 when it connects (ip_route_connect()). ``ip route
        get`` asks once.
        """
        if packet.family == "inet6":
            src = self._host.sources6.select(0, packet.dst) if answer.errno else None
        else:
            chosen = {hop.src for hop in answer.hops} if packet.ip_proto == IPPROTO_TCP and not answer.errno else set()
            src = next(iter(chosen)) if len(chosen) == 1 else None
        if src is None or answer.type == "local":
            return packet, answer
        second = self._host.routing.lookup(replace(packet, src=src).query())
        same = (second.errno, second.route, second.hops) == (answer.errno, answer.route, answer.hops)
        if same:
            return packet, answer
        trail.add("local", f"source {src}", f"packet to {packet.dst}", why="the tables are asked again with it")
        return replace(packet, src=src), second

    def _arrive(self, packet: Packet, trail: Trail) -> End:
        link = self._host.stack.by_index.get(packet.iif)
        if link is None:
            return trail.stop("unknown", "link", f"if{packet.iif}", "there is no such interface")
        if not link.up:
            return trail.stop("dropped", "link", link.ifname, f"{link.ifname} is down: nothing arrives by it")
        trail.add("link", "arrived", link.ifname, why=packet.text())
        met = bpf.ingress(self._host, link, packet, trail)
        if met.fate is not None or met.turned is not None:
            return self._turned(met, trail)
        packet = met.packet
        if link.kind == "wireguard" or self._host.wireguard(link.ifindex) is not None:
            kept = Wireguard(self._host, link).accept(packet, trail)
            if kept is not None:
                return End(verdict=kept.fate or "dropped", reason=kept.reason)
        master = self._host.stack.master(link.ifindex)
        if master is not None and master.kind == "bridge":
            trail.add(
                "link", "handed up", f"{link.ifname} is a port of {master.ifname}", why="it arrives by the bridge"
            )
            link, packet = master, replace(packet, iif=master.ifindex)
            met = bpf.ingress(self._host, link, packet, trail)
            if met.fate is not None or met.turned is not None:
                return self._turned(met, trail)
            packet = met.packet
        packet = replace(packet, first=packet.first or packet.ends)
        came = packet.dst
        for hook in ("ingress", "prerouting"):
            packet, ended, _ = self._firewall.meet(hook, packet, trail, iif=link)
            if ended is not None:
                return ended
        if master is not None and packet.dst != came and self._sees_frames(packet):
            packet = replace(packet, bridge=master.ifindex)
        packet = self._undone(packet, trail)
        stopped = judged(arrive.martian(self._host, link, packet), trail)
        if stopped is not None:
            return stopped
        return self._answered(packet, self._host.routing.lookup(packet.query()), trail, link)

    def _turned(self, met: bpf.Met, trail: Trail) -> End:
        """A program ended the packet's way at the door, or sent it elsewhere."""
        turned, packet = met.turned, met.packet
        if turned is None:
            return End(verdict=met.fate or "unknown", reason=met.reason)
        self._turns += 1
        if self._turns > DEEPEST:
            return trail.stop("unknown", "bpf", turned.link.ifname, "programs redirect it again and again")
        link = turned.link
        if turned.how == "peer":
            peer = self._host.stack.veth_peer(link.ifindex)
            if peer is None:
                trail.add("link", "sent", link.ifname, why="to its other end, in another namespace")
                self._beyond(packet, link, turned.lladdr, trail)
                return End(verdict="forwarded", reason=turned.reason, dev=link.ifname, oif=link.ifindex, left=packet)
            link = peer
        if turned.how in ("peer", "ingress"):
            return self._arrive(replace(packet, iif=link.ifindex, oif=0, hooked=False), trail)
        carried = self._devices.out(link, packet, turned.lladdr, trail, raw=turned.how == "xdp")
        if carried.end is not None:
            return carried.end
        out = carried.dev or link
        return End(
            verdict=carried.fate or "forwarded",
            reason=carried.reason or turned.reason,
            dev=out.ifname,
            oif=out.ifindex,
            left=packet,
        )

    def _sees_frames(self, packet: Packet) -> bool:
        """Whether br_netfilter shows bridged frames to netfilter."""
        which = "iptables" if packet.family == "inet" else "ip6tables"
        return bool(self._host.number(f"net.bridge.bridge-nf-call-{which}"))

    def _undone(self, packet: Packet, trail: Trail) -> Packet:
        """An answer to a packet whose source was rewritten gets the first source as its destination."""
        if packet.undone is None or packet.undone[0] == packet.undone[1]:
            return packet
        first, left = packet.undone
        if packet.dst != left.src or first.src is None:
            return packet
        back = replace(packet, dst=first.src, dport=first.sport)
        trail.add("netfilter", "rewriting undone", "connection tracking", why=back.text())
        return back

    # -- the decision --------------------------------------------------------------------------------------------------

    def _answered(self, packet: Packet, answer: Lookup, trail: Trail, link: Link | None) -> End:
        """Follow what the tables answer, and all that they may answer instead."""
        end = self._one(packet, answer, trail, link)
        for other in answer.alternatives:
            differs = self._one(packet, other, Trail(), link)
            if _essence(differs) != _essence(end):
                notes = "; ".join(answer.notes) or "the tables allow of two answers"
                reason = (
                    f"cannot be known from here: {end.verdict} ({end.reason}) or {differs.verdict} ({differs.reason})"
                )
                trail.add("rule", "unknown", notes, decisive=True, why=reason)
                return replace(end, verdict="unknown", reason=f"{reason}: {notes}")
        return end

    def _one(self, packet: Packet, answer: Lookup, trail: Trail, link: Link | None) -> End:
        """One answer of the tables. ``link``: what the packet arrived by."""
        decide.rules(self._host, answer, trail)
        text = decide.route(self._host, answer, trail)
        common: dict[str, Any] = {"table": answer.table, "route_type": answer.type}
        if answer.errno:
            return replace(self._refused(packet, answer, text, trail, link), **common)
        if answer.type in ("local", "anycast") and not (link is None and answer.type == "anycast" and answer.gateway):
            return replace(self._delivered(packet, answer, text, trail, link), **common)
        if link is not None and (answer.type == "broadcast" or arrive.many(packet.dst)):
            return replace(self._to_many(packet, answer, text, trail, link), **common)
        if link is not None and packet.bridge and {hop.oif for hop in answer.hops} == {packet.bridge}:
            return replace(self._depart.bridged_again(packet, trail, link), **common)
        if link is not None:
            stopped = judged(arrive.forwarding(self._host, link, packet), trail)
            if stopped is not None:
                return replace(stopped, **common)
        if not answer.hops:
            return trail.stop("unknown", "nexthop", text, "the route has no next hop that is known", **common)
        return replace(self._depart.by_hops(packet, answer, text, trail, link), **common)

    def _refused(self, packet: Packet, answer: Lookup, text: str, trail: Trail, link: Link | None) -> End:
        reason = decide.refusal(answer, text)
        if link is not None:
            forwards = arrive.forwarding(self._host, link, packet)
            if forwards.fate is not None and packet.family == "inet":
                return trail.stop(forwards.fate, "sysctl", forwards.thing, f"{reason}, and {forwards.text}")
        silent = answer.error == "EINVAL" and (answer.type in ("blackhole", None) or link is not None)
        fate: Fate = "dropped" if silent and (answer.rule is not None or answer.route is not None) else "refused"
        if answer.route is None:
            known = answer.error or ""
            trail.add("route", known, decide.REFUSALS.get(known, known), decisive=True, why=reason)
        return End(verdict=fate, reason=reason)

    def _delivered(self, packet: Packet, answer: Lookup, text: str, trail: Trail, link: Link | None) -> End:
        if link is not None:
            stopped = judged(arrive.source_check(self._host, link, packet, None), trail)
            if stopped is not None:
                return stopped
        src = packet.src or next((hop.src for hop in answer.hops), None) or (packet.dst if link is None else None)
        packet = replace(packet, src=src, first=packet.first or packet.ends._replace(src=src))
        done = self._to_itself(packet, trail, link)
        if isinstance(done, End):
            return done
        if link is not None:
            bpf.cgroups(self._host, done, False, trail)
        trail.add("local", "delivered", f"{done.dst} is this host's own", why="" if link else f"source {src}")
        dev = self._host.ifname(answer.hops[0].oif) if answer.hops and link is None else None
        reason = text or f"{done.dst} is this host's own"
        return doubtful(done, End(verdict="delivered", reason=reason, src=src, dev=dev, left=done))

    def _to_itself(self, packet: Packet, trail: Trail, link: Link | None) -> Packet | End:
        """The hooks of a packet for this host: from outside only input, from here all those around loopback too."""
        loopback = self._host.stack.by_index.get(LOOPBACK)
        if link is None and not packet.hooked:
            packet, ended, reroute = self._firewall.meet("output", packet, trail, oif=loopback)
            if ended is not None:
                return ended
            packet = replace(packet, hooked=True)
            if reroute:
                trail.add("netfilter", "routed again", packet.text())
                return self._once_more(packet, trail)
        for hook in ("input",) if link is not None else ("postrouting", "prerouting", "input"):
            out = hook == "postrouting"
            iif = None if out else link or loopback
            again = link is None and not out
            packet, ended, _ = self._firewall.meet(
                hook, packet, trail, iif=iif, oif=loopback if out else None, again=again
            )
            if ended is not None:
                return ended
        return packet

    def _to_many(self, packet: Packet, answer: Lookup, text: str, trail: Trail, link: Link) -> End:
        if answer.type == "broadcast" or packet.dst == "255.255.255.255":
            stopped = None
            if packet.src not in (None, "0.0.0.0"):
                stopped = judged(arrive.source_check(self._host, link, packet, None), trail)
            if stopped is not None:
                return stopped
            done = self._to_itself(packet, trail, link)
            if isinstance(done, End):
                return done
            trail.add("local", "delivered", f"{packet.dst} is a broadcast address here")
            reason = text or f"{packet.dst} is a broadcast address"
            return doubtful(done, End(verdict="delivered", reason=reason, src=packet.src))
        reason = "which multicast groups have members here was not read"
        return trail.stop("unknown", "local", packet.dst, reason)

    def _reply(self, end: End) -> End | None:
        """What becomes of the answer to a packet that a tunnel sent; None where none is known."""
        if end.left is None or not end.oif or end.left.src is None:
            return None
        answer = end.left.answer(end.oif, end.left.src)
        if end.left.sport is None:  # the far end's packets are no answers to ours: they go to the same port
            answer = replace(answer, related=False, ct="new", undone=None, sport=None, dport=end.left.dport)
        return Walker(self._host).go(answer, Trail())


def _essence(end: End) -> tuple[object, ...]:
    return end.verdict, end.oif, end.via, end.src
