"""What a host lives by, as packets: its BGP sessions, its WireGuard, its questions for names; and what stops them here.

For the rules that ask the firewall whether such a conversation can begin. Pure; a table that was not read has none.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Possible
from netdiag.index.policy import Lookup, Query
from netdiag.index.view import HostView
from netdiag.model.finding import Severity, Subject, subject
from netdiag.model.protocols import BGP_PORT, IPPROTO_TCP, IPPROTO_UDP, PROTOCOL_NAMES
from netdiag.rules.bgpsessions import HOLD_TIMER, Session, sessions, way
from netdiag.rules.localports import callers
from netdiag.rules.nameservers import DNS_PORT, asked, asks_dns, is_loopback
from netdiag.rules.nftplaces import inserts
from netdiag.rules.nftspecimen import hooks_of
from netdiag.rules.ownhooks import SYN, comes_in, goes_out
from netdiag.rules.wireguardpeers import device_subject, endpoint_word, peer_subject, query_to
from netdiag.rules.wireguardways import alive, sending

BFD, BFD_MULTIHOP = 3784, 4784
MOST = 128
"""Conversations that are asked about."""


@dataclass(frozen=True, kw_only=True)
class Talk:
    """A conversation of this host with one other; ports as seen from here, None: any."""

    words: str
    out: Packet
    """Its first packet, sent by this host."""
    local_port: int | None
    """Where the other side calls; None: it never does."""
    suffers: tuple[Subject, ...]
    end: str = ": neither side can begin"
    """What follows from it."""
    severity: Severity = "critical"
    lost: bool = False
    """bgp-hold-timer-expired tells of it, and names what stops it."""
    apart: bool = False
    """Each side sends for itself to the same port: what stops one way is enough."""

    def first_in(self, iif: str | None) -> Packet:
        """The first packet where the other side calls."""
        called = replace(self.reply(iif), sport=self._far_caller(), dport=self.local_port, ct_state="new")
        return replace(called, ct_reply=False, tcp_flags=self.out.tcp_flags)

    def reply(self, iif: str | None, port: int | None = None) -> Packet:
        """The answer to ``out``, to the port that it was sent from."""
        out = self.out
        turned = replace(out, saddr=out.daddr, daddr=None, sport=out.dport, dport=out.sport or port, tcp_flags=None)
        return replace(turned, iif=iif, oif="", ct_state="established", ct_reply=True, daddr_type="local")

    def answer_out(self) -> Packet:
        """This host's answer to ``first_in``."""
        answer = replace(self.out, sport=self.local_port, dport=self._far_caller(), tcp_flags=None)
        return replace(answer, ct_state="established", ct_reply=True)

    def _far_caller(self) -> int | None:
        return self.out.dport if self.out.proto == IPPROTO_UDP else None


def talks(view: HostView) -> Iterator[Talk]:
    """BGP sessions that should stand and WireGuard endpoints in use, with a way to them."""
    if view.read_whole("bird"):
        for session in sessions(view):
            talk = None if session.switched_off or session.waits else of_session(view, session)
            if talk is not None:
                yield talk
    if not view.read_whole("wireguard"):
        return
    for device, _ in alive(view):
        for peer in device.peers:
            query = query_to(device, peer)
            wanted = sending(peer, view.wireguard.at) or (peer.latest_handshake is None and peer.tx_bytes)
            packet = packet_to(view, view.lookup(query), IPPROTO_UDP) if query is not None and wanted else None
            if packet is not None:
                yield Talk(
                    words=f"{device.ifname}'s packets to {endpoint_word(peer)}",
                    out=replace(
                        packet, sport=device.listen_port, dport=peer.endpoint_port, mark=device.fwmark or 0, uid=0
                    ),
                    local_port=device.listen_port,
                    suffers=(peer_subject(device, peer), device_subject(device)),
                )


def of_session(view: HostView, session: Session) -> Talk | None:
    """The TCP connection of a BGP session; None where there is no way to the neighbour."""
    number = session.protocol.other.get("Neighbor port", str(BGP_PORT))
    packet = packet_to(view, way(view, session), IPPROTO_TCP)
    if packet is None:
        return None
    return Talk(
        words=f"BGP session {session.name} with {session.protocol.neighbor_address}",
        out=replace(packet, dport=int(number) if number.isdigit() else None, tcp_flags=SYN),
        local_port=BGP_PORT,
        suffers=(session.subject,),
        lost=not session.up and HOLD_TIMER in session.error,
    )


def of_bfd(view: HostView, session: Session) -> Talk | None:
    """The packets of a session's BFD; None where there is no way to the neighbour."""
    packet = packet_to(view, way(view, session), IPPROTO_UDP)
    if packet is None:
        return None
    heard = BFD_MULTIHOP if "multihop" in (session.protocol.session or "") else BFD
    return Talk(
        words=f"BFD of session {session.name} with {session.protocol.neighbor_address}",
        out=replace(packet, dport=heard),
        local_port=heard,
        suffers=(session.subject,),
        severity="warning",
        apart=True,
    )


def questions(view: HostView) -> list[Talk]:
    """To the nameservers that are not on this host; none where there is no way to one of them."""
    if not view.read_whole("resolver") or not asks_dns(view):
        return []
    found = []
    for address in asked(view):
        host, family = address.partition("%")[0], "inet6" if ":" in address else "inet"
        packet = None
        if not is_loopback(address):
            packet = packet_to(
                view, view.lookup(Query(family=family, dst=host, ip_proto=IPPROTO_UDP, dport=DNS_PORT)), IPPROTO_UDP
            )
        if packet is None:
            return []
        suffers = (subject("prefix", prefix=address),)
        out = replace(packet, dport=DNS_PORT)
        words, end = f"questions to nameserver {address}", ": no name can be looked up"
        found.append(Talk(words=words, out=out, local_port=None, suffers=suffers, end=end))
    return found


def packet_to(view: HostView, answer: Lookup | None, proto: int) -> Packet | None:
    """A packet along a way that was looked up; None where it does not lead out."""
    if answer is None or answer.type != "unicast" or not answer.hops:
        return None
    return Packet(
        family=answer.query.family,
        daddr=answer.query.dst,
        proto=proto,
        oif=view.ifname(answer.oif) if answer.oif is not None else None,  # of several, any
        daddr_type="unicast",
    )


def stop(view: HostView, talk: Talk) -> Possible | None:
    """What stops a conversation that neither side can begin."""
    oif = talk.out.oif
    outwards = goes_out(view, talk.out)
    if talk.apart:
        way_in = comes_in(view, replace(talk.first_in(oif), sport=None))
        return next((each.blocker for each in (way_in, outwards) if each.passes == "no"), None)
    for port_ in callers(view):  # that a service's port is open helps no answer
        calls = outwards if outwards.passes == "no" else comes_in(view, talk.reply(oif, port_))
        if calls.passes != "no" or "untracked" in (outwards.packet.ct_state, calls.packet.ct_state):
            return None  # nf-notrack-with-stateful speaks about answers that are not known
    if talk.local_port is None:
        return calls.blocker
    first = talk.first_in(oif)
    inwards = comes_in(view, first)
    called = inwards if inwards.passes == "no" else goes_out(view, talk.answer_out())
    closed = (
        talk.out.proto == IPPROTO_UDP
        and outwards.passes != "no"
        and comes_in(view, replace(first, saddr=None)).passes == "no"
    )
    return None if called.passes != "no" or closed else calls.blocker


def opened(talk: Talk, blocker: Possible) -> str:
    """The command that lets a conversation through where it is stopped."""
    at, word = blocker.at, PROTOCOL_NAMES[talk.out.proto or 0]
    inwards = bool(hooks_of(at.table, at.chain) & {"input", "prerouting", "ingress"})
    ports = [f"{word} {'s' if inwards and not talk.apart else 'd'}port {talk.out.dport}"]
    if talk.local_port is not None and not talk.apart:
        ports.append(f"{word} {'d' if inwards else 's'}port {talk.local_port}")
    flags = [f"-p {word} --{one.split()[1]} {one.split()[2]} -j ACCEPT" for one in ports]
    return inserts(at.table, at.chain.name, [f"{one} accept" for one in ports], flags)
