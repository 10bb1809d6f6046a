"""What netfilter does with a packet at each hook: the verdict, the rule that gives it, addresses and marks rewritten.

The rules themselves are netdiag.index.netfilter's. A rule that may match makes the outcome doubtful: the walk goes on,
and its verdict will be ``unknown`` with that rule as the reason. So do tables of iptables-legacy, which netdiag cannot
read, and a ruleset that was not read. A packet that answers another one is known to connection tracking: it is
established, and the rewriting of the first one is undone. Pure; nothing can fail.
"""

from dataclasses import replace
from ipaddress import IPv4Address
from typing import NamedTuple

from netdiag.index import nftpacket
from netdiag.index.netfilter import Netfilter
from netdiag.index.nfttext import rule_text
from netdiag.index.nftverdict import HookVerdict, Place
from netdiag.model.link import Link
from netdiag.model.walk import Fate
from netdiag.path.host import PathHost
from netdiag.path.trail import End, Packet, Trail

ECHO = {"inet": (8, 0), "inet6": (128, 129)}
"""ICMP types of an echo request and its reply."""
SYN, SYN_ACK = 0x02, 0x12
RT_SCOPE_UNIVERSE = 0


class Passage(NamedTuple):
    """The packet behind a hook, or its end there."""

    packet: Packet
    end: End | None = None
    reroute: bool = False
    """Its destination or mark changed, so that the way is asked for again."""


class Firewall:
    """The hooks of one namespace."""

    def __init__(self, host: PathHost) -> None:
        self._host = host
        self._absent = host.absent("nft") and not host.tables.nft.tables and not host.tables.nft.xtables
        self._gap = "" if self._absent else host.gap("nft")
        self._netfilter: Netfilter | None = host.netfilter

    def meet(
        self,
        hook: str,
        packet: Packet,
        trail: Trail,
        *,
        iif: Link | None = None,
        oif: Link | None = None,
        again: bool = False,
    ) -> Passage:
        """The packet at ``prerouting``, ``input``, ``forward``, ``output``, ``postrouting``, ``ingress``, ``egress``.

        ``again``: it comes back by loopback, and what output did to its connection stands."""
        if self._absent:
            return Passage(packet)
        if self._gap:
            return self._unread(hook, packet, trail)
        if self._netfilter is None:
            return Passage(packet)
        asked = self._seen(packet, iif, oif)
        said = self._netfilter.hook(hook, asked, nat=not again)
        after = self._rewritten(packet, asked, said, trail, oif)
        end = self._stopped(hook, said, trail)
        if end is not None:
            return Passage(after, end)
        if said.passes == "maybe" and said.blocker is not None:
            text = self._place(said.blocker.at)
            why = f"whether it matches cannot be known from here: {said.blocker.verdict}"
            trail.add("netfilter", "may stop it", f"{hook}: {text}", why=why)
            after = _doubt(after, f"a rule at {hook} may match: {text}")
        elif said.possible:
            chains = ", ".join(
                f"{table.family} {table.name} {chain.name}"
                for table, chain in self._netfilter.base_chains(hook, _family(hook, packet), _device(hook, iif, oif))
            )
            trail.add("netfilter", "accepted", f"{hook}: {chains}")
        if said.unseen:
            names = ", ".join(sorted({f"{table.family} {table.name}" for table in said.unseen}))
            trail.add("netfilter", "not read", f"{hook}: iptables-legacy {names}", why="its rules are not known")
            after = _doubt(after, f"rules of iptables-legacy ({names}) are not read and may decide otherwise")
        marked = after.mark != packet.mark and self._reroutes(packet)
        return Passage(after, None, hook == "output" and (after.dst != packet.dst or marked))

    def _unread(self, hook: str, packet: Packet, trail: Trail) -> Passage:
        reason = f"netfilter's rules were not read: {self._gap}"
        if reason not in packet.doubt:
            trail.add("netfilter", "not read", hook, why=self._gap)
        return Passage(_doubt(packet, reason))

    def _seen(self, packet: Packet, iif: Link | None, oif: Link | None) -> nftpacket.Packet:
        """The packet as rules look at it."""
        request, reply = ECHO[packet.family]
        icmp = packet.ip_proto in (1, 58)
        return nftpacket.Packet(
            family=packet.family,
            iif=iif.ifname if iif is not None else "",
            oif=oif.ifname if oif is not None else "",
            iifindex=iif.ifindex if iif is not None else None,
            oifindex=oif.ifindex if oif is not None else None,
            saddr=packet.src,
            daddr=packet.dst,
            proto=packet.ip_proto,
            sport=packet.sport,
            dport=packet.dport,
            icmp_type=packet.icmp_type or (reply if packet.related else request) if icmp else None,
            icmp_code=0 if icmp else None,
            tcp_flags=(SYN_ACK if packet.related else SYN) if packet.ip_proto == 6 else None,
            ct_state=packet.ct,
            ct_reply=packet.related,
            ct_mark=None if packet.related else 0,
            dnatted=None if packet.related else False,
            mark=packet.mark,
            uid=None if packet.iif else packet.uid or 0,
            size=packet.size,
            saddr_type=self._kind(packet.family, packet.src),
            daddr_type=self._kind(packet.family, packet.dst),
        )

    def _kind(self, family: str, address: str | None) -> str | None:
        if address is None:
            return None
        return "local" if self._host.index.local.is_local(family, address) else None

    def _rewritten(
        self, packet: Packet, asked: nftpacket.Packet, said: HookVerdict, trail: Trail, oif: Link | None
    ) -> Packet:
        """The packet with what the hook changed on it."""
        now = said.packet
        after = replace(packet, mark=packet.mark if now.mark is None else now.mark)
        if now.mark is None:
            after = _doubt(after, "the mark that a rule sets cannot be known")
        elif now.mark != asked.mark:
            trail.add("netfilter", f"mark {now.mark:#x}", f"{said.hook}: a rule marks it")
        for one in said.translations:
            if one.kind == "tproxy":
                after = _doubt(after, f"tproxy: {self._place(one.at)}")
        if not said.translations:
            return after
        place = self._place(said.translations[0].at)
        src, dst = now.saddr, now.daddr
        if said.translations[0].kind == "masquerade":
            src = self._masquerade(packet, oif)
        if said.translations[0].kind == "redirect":
            dst = "127.0.0.1" if packet.family == "inet" and not packet.iif else now.daddr
        if not said.translations[0].certain:
            after = _doubt(after, f"a rule may rewrite it: {place}")
        if dst is None:
            after = _doubt(after, f"the new destination cannot be known: {place}")
        after = replace(after, src=src, dst=dst or packet.dst, sport=now.sport, dport=now.dport)
        trail.add("netfilter", said.translations[0].kind, f"{said.hook}: {place}", why=after.text())
        return after

    def _masquerade(self, packet: Packet, oif: Link | None) -> str | None:
        """nf_nat_masquerade_ipv4(): an address of the outgoing interface, for the next hop."""
        if oif is None:
            return None
        if packet.family == "inet6":
            return self._host.sources6.select(oif.ifindex, packet.dst)
        near = self._host.next_hop(packet.dst, oif)
        chosen = self._host.sources4.select(oif.ifindex, near, RT_SCOPE_UNIVERSE)
        return str(IPv4Address(chosen)) if chosen else None

    def _stopped(self, hook: str, said: HookVerdict, trail: Trail) -> End | None:
        if said.passes != "no" or said.blocker is None:
            return None
        blocker = said.blocker
        text = self._place(blocker.at)
        fates: dict[str, Fate] = {"drop": "dropped", "reject": "refused"}
        verdicts = {one.verdict for one in said.possible}
        fate = fates.get(blocker.verdict, "unknown")
        if len(verdicts) > 1 and not blocker.certain:
            fate = "unknown" if verdicts - {"drop", "reject"} else "dropped"
        words = {"drop": "drops it", "reject": "rejects it", "queue": "queues it to a program"}
        why = f"netfilter {words.get(blocker.verdict, 'takes it')} at {hook}: {text}"
        trail.add("netfilter", fate, f"{hook}: {text}", decisive=True, why=words.get(blocker.verdict, blocker.verdict))
        return End(verdict=fate, reason=why)

    def _reroutes(self, packet: Packet) -> bool:
        """Whether a chain of type route looks at it: only then does a mark that was set change its way."""
        if self._netfilter is None:
            return False
        return any(chain.type == "route" for _, chain in self._netfilter.base_chains("output", packet.family))

    @staticmethod
    def _place(at: Place) -> str:
        """``ip filter input: tcp dport 22 drop``."""
        where = f"{at.table.family} {at.table.name} {at.chain.name}"
        return f"{where}: policy {at.chain.policy}" if at.rule is None else f"{where}: {rule_text(at.table, at.rule)}"


def _family(hook: str, packet: Packet) -> str:
    return "netdev" if hook in ("ingress", "egress") else packet.family


def _device(hook: str, iif: Link | None, oif: Link | None) -> str | None:
    link = iif if hook == "ingress" else oif if hook == "egress" else None
    return link.ifname if link is not None else None


def _doubt(packet: Packet, reason: str) -> Packet:
    """The packet, and a reason for which what becomes of it is not certain."""
    if reason in packet.doubt:
        return packet
    return replace(packet, doubt=f"{packet.doubt}; {reason}" if packet.doubt else reason)
