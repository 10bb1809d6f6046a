"""A packet on its way out: one next hop or several, its source, its length, the last hooks, the neighbour, the device.

Where several next hops are possible, each is followed, and only what they agree on is said to be known. Pure;
ValueError for an address that is none or not of the packet's family.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from netdiag.index.packet import Hop, Lookup
from netdiag.model.link import Link
from netdiag.model.protocols import IPPROTO_ICMPV6
from netdiag.model.walk import Fate, PathWay
from netdiag.path import arrive, bpf, decide, multipath, neighbours, sizes
from netdiag.path.arrive import judged
from netdiag.path.devices import Devices
from netdiag.path.firewall import Firewall
from netdiag.path.host import PathHost
from netdiag.path.sizes import Limit
from netdiag.path.trail import End, Packet, Trail

ADVERTISED = 136
Again = Callable[[Packet, Trail], End]
"""The tables are asked once more about an own packet whose destination or mark a hook changed."""


class Told(NamedTuple):
    """What the tables answered, and the route as text."""

    answer: Lookup
    text: str


class Depart:
    """The ways out of one namespace."""

    def __init__(self, host: PathHost, firewall: Firewall, devices: Devices, again: Again, *, inside: bool) -> None:
        """``inside``: the packet is what a tunnel sends."""
        self._host = host
        self._firewall = firewall
        self._devices = devices
        self._again = again
        self._inside = inside

    def bridged_again(self, packet: Packet, trail: Trail, bridge: Link) -> End:
        """br_nf_pre_routing_finish() of net/bridge/br_netfilter_hooks.c: what was redirected and leaves by the bridge
        that it came by is not routed, but bridged to its next hop: never by the port that it came from."""
        if packet.src is not None:
            stopped = judged(arrive.source_check(self._host, bridge, packet, bridge.ifindex), trail)
            if stopped is not None:
                return stopped
        others = [port for port in self._host.stack.ports(bridge.ifindex) if port.up and port.lower_up]
        why = f"br_netfilter bridges what it redirected and what leaves by {bridge.ifname} again"
        if len(others) == 1 and not others[0].slave_info.get("hairpin"):
            why += f", and {others[0].ifname}, where it came from, is its only port"
            return trail.stop("dropped", "netfilter", bridge.ifname, why)
        return trail.stop("unknown", "netfilter", bridge.ifname, f"{why}: behind which port is not followed")

    def by_hops(self, packet: Packet, answer: Lookup, text: str, trail: Trail, link: Link | None) -> End:
        several = len(answer.hops) > 1
        only = None if self._inside or not several else multipath.member(self._host, packet, answer)
        if only is not None:
            lost = [decide.hop_text(self._host, answer, other) for other in range(len(answer.hops)) if other != only]
            thing = decide.hop_text(self._host, answer, only)
            trail.add("nexthop", "chosen", thing, why="by the hash of the flow, whose seed is set", lost=lost)
            return self._by_hop(packet, Told(answer, text), answer.hops[only], trail, link)
        ends = []
        for number, hop in enumerate(answer.hops):
            if several:
                which = (
                    f"{number + 1} of {len(answer.hops)}, chosen by a hash of the flow that cannot be known from here"
                )
                trail.add("nexthop", "possible", decide.hop_text(self._host, answer, number), why=which)
            ends.append(self._by_hop(packet, Told(answer, text), hop, trail, link))
        if not several:
            return ends[0]
        ways = tuple(
            PathWay(dev=self._host.ifname(hop.oif), via=hop.gateway, src=end.src)
            for hop, end in zip(answer.hops, ends, strict=True)
        )
        first = ends[0]
        narrow = min((end for end in ends if end.mtu is not None), key=lambda end: end.mtu or 0, default=first)
        dev, via, src = ({getattr(end, name) for end in ends} for name in ("dev", "via", "src"))
        end = replace(
            first,
            dev=first.dev if len(dev) == 1 else None,
            via=first.via if len(via) == 1 else None,
            src=first.src if len(src) == 1 else None,
            oif=first.oif if len(dev) == 1 else 0,
            mtu=narrow.mtu,
            mtu_reason=narrow.mtu_reason,
            possible=ways,
            ways=tuple(ends),
        )
        if len({each.verdict for each in ends}) > 1:
            worst = next(each for each in ends if each.lost)
            reason = f"it depends on the next hop, which a hash of the flow chooses: {worst.reason}"
            return replace(end, verdict="unknown", reason=reason)
        return end

    def _by_hop(self, packet: Packet, told: Told, hop: Hop, trail: Trail, link: Link | None) -> End:
        """Out by one next hop."""
        host = self._host
        out = host.stack.by_index.get(hop.oif)
        if out is None:
            return trail.stop("unknown", "link", f"if{hop.oif}", "the route's interface is not among the links")
        common: dict[str, Any] = {"dev": out.ifname, "oif": out.ifindex, "via": hop.gateway}
        if link is not None:
            stopped = judged(arrive.source_check(host, link, packet, out.ifindex), trail)
            if stopped is not None:
                return stopped
        if packet.bridge == out.ifindex:
            return replace(self.bridged_again(packet, trail, out), **common)
        chosen = self._source(packet, told.answer, hop, trail, link is not None)
        packet = replace(packet, src=chosen, first=packet.first or packet.ends._replace(src=chosen))
        packet, limit = self._limit(packet, told.answer, hop, trail, forwarded=link is not None)
        fitted = sizes.fit(packet, limit, forwarded=link is not None)
        if fitted is not None and fitted.fate is not None:
            stopped = trail.stop(fitted.fate, "mtu", out.ifname, fitted.why)
            return replace(stopped, **common, src=chosen, mtu=limit.mtu, mtu_reason=limit.reason)
        hooked = self._hooks(packet, trail, link, out)
        if isinstance(hooked, End):
            return replace(hooked, **({} if hooked.oif else common), src=hooked.src or chosen)
        packet = hooked
        if fitted is not None:
            trail.add("mtu", fitted.decision, out.ifname, why=fitted.why)
            packet = replace(packet, size=fitted.packet.size)
        common |= {"src": packet.src, "left": packet}
        met = None
        if not arrive.many(packet.dst) and told.answer.type != "broadcast":
            met = neighbours.meet(host, out, hop.gateway or packet.dst)
        if met is not None:
            trail.add("neighbour", met.decision, met.thing, why=met.why, decisive=met.fate is not None)
            if met.fate is not None:
                return End(verdict=met.fate, reason=met.why, mtu=limit.mtu, mtu_reason=limit.reason, **common)
            if met.decision == neighbours.UNKNOWN:
                silent = self._unheard(packet, hop.gateway or packet.dst, out)
                if silent is not None:
                    return replace(trail.stop("dropped", "neighbour", met.thing, silent), **common)
        packet, ended, _ = self._firewall.meet("egress", packet, trail, oif=out)
        if ended is not None:
            return replace(ended, **common)
        carried = self._devices.out(out, packet, met.lladdr if met else None, trail)
        if carried.end is not None:
            return replace(carried.end, mtu=limit.mtu, mtu_reason=limit.reason, src=packet.src)
        if carried.dev is not None:
            common |= {"dev": carried.dev.ifname, "oif": carried.dev.ifindex, "via": None}
        narrow = sizes.narrower(limit, carried.limit) or limit
        fate: Fate = carried.fate or ("forwarded" if link is not None else "sent")
        reason = carried.reason or told.text or f"out by {out.ifname}"
        return doubtful(packet, End(verdict=fate, reason=reason, mtu=narrow.mtu, mtu_reason=narrow.reason, **common))

    def _limit(
        self, packet: Packet, answer: Lookup, hop: Hop, trail: Trail, *, forwarded: bool
    ) -> tuple[Packet, Limit]:
        """How long a packet this way takes; with a doubt where that was not read and decides."""
        host, out = self._host, self._host.stack.by_index[hop.oif]
        limit = sizes.of_route(decide.row_of(host, answer, hop.route), out, packet.family)
        learnt = sizes.learnt(host, packet, hop, answer.table, forwarded=forwarded)
        trail.add("mtu", str(limit.mtu), limit.reason)
        unread = host.gap("path_mtus")
        if learnt is not None:
            trail.add("mtu", str(learnt.mtu) if learnt.heeded else "not heeded", learnt.thing, why=learnt.why)
        elif unread and packet.size is not None:
            trail.add("mtu", "not read", f"path MTU to {packet.dst} that was learnt", why=unread)
            if sizes.LEAST[packet.family] < packet.size <= limit.mtu:
                reason = f"whether a smaller path MTU to {packet.dst} was learnt is not known: {unread}"
                packet = replace(packet, doubt=packet.doubt or reason)
        return packet, learnt.limit if learnt is not None and learnt.heeded else limit

    def _unheard(self, packet: Packet, near: str, out: Link) -> str | None:
        """Why an answer to neighbour discovery would not be heard; None: it would, or ARP asks."""
        if packet.family == "inet":
            return None
        src = self._host.sources6.select(out.ifindex, near) or packet.src
        heard = Packet(
            family="inet6", src=near, dst=src or "::", iif=out.ifindex, ip_proto=IPPROTO_ICMPV6, icmp_type=ADVERTISED
        )
        for hook in ("prerouting", "input"):
            heard, ended, _ = self._firewall.meet(hook, heard, Trail(), iif=out)
            if ended is not None:
                return (
                    f"neighbour {near} on {out.ifname} is not known, and its answer would not be heard: {ended.reason}"
                )
        return None

    def _hooks(self, packet: Packet, trail: Trail, link: Link | None, out: Link) -> Packet | End:
        """netfilter's hooks behind the routing decision. Where one changes the destination or the mark of an own
        packet, the tables are asked again (ip_route_me_harder())."""
        hook = "forward" if link is not None else "output"
        if not packet.hooked:
            if link is None and not self._inside:
                bpf.cgroups(self._host, packet, True, trail)
            packet, ended, reroute = self._firewall.meet(hook, packet, trail, iif=link, oif=out)
            if ended is not None:
                return ended
            packet = replace(packet, hooked=True)
            if reroute:
                trail.add("netfilter", "routed again", packet.text())
                return self._again(packet, trail)
        packet, ended, _ = self._firewall.meet("postrouting", packet, trail, iif=link, oif=out)
        return packet if ended is None else ended

    def _source(self, packet: Packet, answer: Lookup, hop: Hop, trail: Trail, forwarded: bool) -> str | None:
        """The source address that the packet gets, with a step where the kernel chose it."""
        if packet.src is not None or forwarded:
            return packet.src
        if packet.family == "inet":
            chosen = hop.src
            why = (
                "the route's src" if answer.prefsrc and answer.prefsrc == chosen else "the first that fits the next hop"
            )
        else:
            chosen = answer.prefsrc or self._host.sources6.select(hop.oif, packet.dst)
            why = "the route's src" if answer.prefsrc else "by RFC 6724"
        lost = [] if packet.family == "inet" or answer.prefsrc else self._host.sources6.lost(hop.oif, packet.dst)
        trail.add(
            "local",
            f"source {chosen}" if chosen else "no source",
            f"packet to {packet.dst}",
            why=why,
            lost=[f"source {address}: {reason}" for address, reason in lost[: decide.MOST_LOST]],
        )
        return chosen


def doubtful(packet: Packet, end: End) -> End:
    """The end, but only if nothing on the way leaves a doubt."""
    if not packet.doubt or end.lost:
        return end
    return replace(end, verdict="unknown", reason=packet.doubt)
