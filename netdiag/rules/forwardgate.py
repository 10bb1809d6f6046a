"""Who is forwarded for, and what the forward hook does with their packets: shared by rules about filters on the way.

Pure. The filter is asked with kinds of packets: everything that is not known of them is left open, so that "stopped"
means that no packet of the guest gets through, whatever its protocol, port and destination.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from netdiag.index.guests import GuestSide, faces_guest, sides
from netdiag.index.links import PAIRED
from netdiag.index.netfilter import Netfilter
from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Possible
from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_SEEN_REPLY, ConntrackEntry
from netdiag.model.link import Link
from netdiag.model.protocols import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP
from netdiag.rules.nftplaces import refused
from netdiag.rules.nftspecimen import meant
from netdiag.rules.unscoped import default_ways

CARRYING = (6, 17, 47, 50, 51, 132)
"""TCP, UDP, GRE, ESP, AH, SCTP: where none of them may pass, ICMP alone makes no network."""
ICMP = {"inet": IPPROTO_ICMP, "inet6": IPPROTO_ICMPV6}
STRANGER = {"inet": "198.18.0.1", "inet6": "2001:2::1"}
"""Addresses that nobody has (RFC 2544, RFC 5180)."""
FAMILIES = {"inet": 2, "inet6": 10}
NOBODY = 2**31 - 1
"""An interface index that no interface has."""
ENGINES = (53, 67)
"""Ports of this host that engines open to their networks."""
MOST = 8
"""Interfaces asked for each guest."""
MOST_ASKED = 64
"""Interfaces asked whether anything at all that comes in by them is let through."""
READS = ("links", "addresses", "routes", "sysctls", "nft")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What the forward hook does for one guest's interface."""

    guest: GuestSide
    family: str
    stop: Possible | None
    """What stops all its traffic; None: something may pass."""
    way: str
    """``from``, ``to`` or ``between``: which packets are stopped."""
    pings: bool = False
    """ICMP passes, and nothing else."""


def forwarding(view: HostView, link: Link, family: str) -> bool:
    """Whether the host forwards what comes in by the interface."""
    if family == "inet":
        return link.inet_conf.get("forwarding") == 1
    return view.sysctl_int("net.ipv6.conf.all.forwarding") == 1


def stopped(owner: Netfilter, packet: Packet) -> Possible | None:
    """What stops every packet of the kind; None where one may pass."""
    found = owner.hook("forward", packet)
    return found.blocker if found.passes == "no" else None


def but_pings(owner: Netfilter, packet: Packet) -> Possible | None:
    """What stops every packet of the kind but ICMP, which is let through for everybody, as templates have it."""
    stops = (stopped(owner, replace(packet, proto=number)) for number in CARRYING)
    first = next(stops)
    if first is None or not all(stops):
        return None
    stranger = replace(packet, iif="?", oif="?", saddr=None, daddr=None, proto=ICMP[packet.family])
    return None if owner.hook("forward", stranger).passes == "no" else first


def gate(owner: Netfilter, guest: GuestSide, family: str, exits: Sequence[Link], others: Sequence[Link]) -> Gate:
    """Ask for new connections to and from every way out, then for answers.

    A guest that may open connections to another guest is in a network of its own, and cut off on purpose; not where
    everybody may, on whatever interface.
    """
    name, own = guest.link.ifname, guest.prefix if guest.count == 1 else None
    kind = Packet(family=family, mark=None, ct_mark=None, dnatted=None)
    talk = replace(kind, ct_state="established", ct_reply=None)

    def leaving(packet: Packet, to: Sequence[Link]) -> Possible | None:
        return _all_stopped(owner, [replace(packet, iif=name, oif=link.ifname, saddr=own) for link in to])

    def coming(packet: Packet) -> Possible | None:
        return _all_stopped(owner, [replace(packet, iif=link.ifname, oif=name, daddr=own) for link in exits])

    begins = leaving(kind, exits)
    if begins and coming(kind):
        ping = replace(kind, iif=name, oif=exits[0].ifname, proto=ICMP[family])
        pings = owner.hook("forward", ping).passes != "no"
        reached = [link for link in others if link.ifindex != guest.link.ifindex and leaving(kind, [link]) is None]
        strangers = [replace(kind, iif="?", oif=link.ifname) for link in reached]
        apart = any(_all_stopped(owner, [stranger]) for stranger in strangers)
        return Gate(guest=guest, family=family, stop=None if apart else begins, way="between", pings=pings)
    answers = coming(talk)
    if answers:
        return Gate(guest=guest, family=family, stop=answers, way="to")
    return Gate(guest=guest, family=family, stop=leaving(talk, exits), way="from")


def _all_stopped(owner: Netfilter, packets: list[Packet]) -> Possible | None:
    """What stops the first of the packets, where all are stopped."""
    stops = [stopped(owner, packet) or but_pings(owner, packet) for packet in packets]
    return stops[0] if all(stops) else None


@dataclass(frozen=True, kw_only=True)
class Shut:
    """Two interfaces between which nothing is forwarded, of a host that is to forward and lets nothing at all pass."""

    inner: Link
    """It leads to another namespace, a machine or a tunnel, or has its addresses translated."""
    way_out: Link
    stop: Possible
    answers: bool
    """Whether answers pass where nothing may begin: somebody began to write a policy. Of a forgotten one: whether it is
    the answers that are stopped."""
    tracked: ConntrackEntry | None = None
    """A connection that got through before."""
    refused: int = 0
    """Packets that came to be forwarded so far, where none was let through; 0 where that is not counted."""
    named: bool = True
    """Whether something tells that it is to get there: a rule that translates its addresses by name, or, where nothing
    at all is forwarded, that there is a way further on."""


def shut(view: HostView, family: str) -> Shut | None:
    """The first such pair. A tap that waits for its machine counts where nothing else leads inwards."""
    around = sides(view.stack, view.routes(family), view.addresses)
    having = {row.ifindex for row in view.addresses if row.family == family and row.scope == 0}
    ready = [link for link in view.links if link.up and not link.loopback and forwarding(view, link, family)]
    links = [link for link in ready if link.ifindex in having][:MOST]
    exits = [link for link in links if link in around.exits and not _tunnel(link) and link.carrier is not False]
    inner = [link for link in links if link not in exits and (link.carrier is not False or _idle(link))]
    inner = [link for link in inner if _inner(link) or _translated(view, family, link, exits)]
    whole = default_ways(view, family)
    inner = [link for link in inner if link.ifindex not in whole]  # else a VPN to the Internet
    owner, kind = view.netfilter, Packet(family=family, mark=None, ct_mark=None, dnatted=None)
    pairs = [(one, other) for one in links for other in links if one is not other]
    known = bool(exits)
    if not known:  # a router between networks in other namespaces
        cables = [link for link in inner if link.kind in PAIRED and link.carrier is not False]
        inner, exits = cables[:1], cables[1:]
    if not exits or not inner:
        return None
    asked = [replace(kind, iif=one.ifname, oif=other.ifname) for one, other in pairs]
    stops = [stopped(owner, packet) or but_pings(owner, packet) for packet in asked]
    guests = [link for link in ready if faces_guest(link)][:MOST_ASKED]
    onward = (replace(kind, iif=link.ifname, oif=None) for link in guests)
    lets = (stopped(owner, packet) is None and but_pings(owner, packet) is None for packet in onward)
    if not all(stops) or any(lets):
        return None  # what lets guests out, be it by interfaces without an address, is somebody's policy
    inner.sort(key=_idle)
    way = replace(kind, iif=inner[0].ifname, oif=exits[0].ifname)
    stop = stopped(owner, way) or but_pings(owner, way)
    talk = replace(kind, ct_state="established", ct_reply=None)
    answers = any(stopped(owner, replace(talk, iif=one.ifname, oif=other.ifname)) is None for one, other in pairs)
    if stop is None:
        return None
    return Shut(inner=inner[0], way_out=exits[0], stop=stop, answers=answers, named=known)


def forgotten(view: HostView, family: str) -> Iterator[Shut]:
    """Links to and from which a way out is shut, or for the answers alone, though a rule translates their own addresses
    there by name, or connections over it are tracked that were answered: somebody meant them to get there, and the
    filter does not know of them. After those, networks in other namespaces, of which nobody says whether they are to
    get anywhere, and tunnels whose packets were counted and none let through. Guests have gates of their own."""
    around = sides(view.stack, view.routes(family), view.addresses)
    known = {guest.link.ifindex for guest in around.guests} | default_ways(view, family)
    exits = [link for link in around.exits if not _tunnel(link) and link.carrier is not False][:MOST]
    having = {row.ifindex for row in view.addresses if row.family == family and row.scope == 0} - known
    links = [link for link in view.links if link.ifindex in having and link.up and not link.loopback]
    kind, unsure = Packet(family=family, mark=None, ct_mark=None, dnatted=None), list[Shut]()
    for link in links[:MOST]:
        if link.carrier is False or not forwarding(view, link, family):
            continue
        others = [one for one in exits if one is not link]
        if not others and _tunnel(link):  # no route leads on: another network of this host may be meant
            wires = [one for one in links[:MOST] if one.carrier is not False and not _tunnel(one)]
            others = [one for one in wires if one.kind != "bridge" or view.stack.ports(one.ifindex)]
        named = [one for one in others if _translated(view, family, link, [one], named=True)]
        ways = named or others
        new = [replace(kind, iif=link.ifname, oif=one.ifname) for one in ways]
        talk = replace(kind, ct_state="established", ct_reply=None)
        back = [replace(talk, iif=one.ifname, oif=link.ifname) for one in ways]
        begins = _all_stopped(view.netfilter, new) if ways else None
        stop = begins or (_all_stopped(view.netfilter, back) if ways else None)
        tracked = talk_over(view, family, link) if stop is not None and not named else None
        if stop is None:
            continue
        cut = Shut(inner=link, way_out=ways[0], stop=stop, answers=begins is None, tracked=tracked, named=bool(named))
        if named or tracked:
            yield cut
        elif faces_guest(link):
            unsure.append(cut)
        elif _tunnel(link) and (count := refused(stop.at)):
            unsure.append(replace(cut, refused=count))
    yield from unsure


def talk_over(view: HostView, family: str, link: Link) -> ConntrackEntry | None:
    """A tracked connection between a subnet of the link and somebody elsewhere that was answered: it was forwarded."""
    table = view.conntrack
    for row in view.addresses:
        if row.ifindex != link.ifindex or row.family != family or row.scope:
            continue
        network = ipaddress.ip_network(f"{row.local}/{row.prefixlen}", strict=False)
        mask, base = (np.frombuffer(each.packed.ljust(16, b"\0"), np.uint8) for each in (network.netmask, network[0]))
        ends = [((column & mask) == base).all(axis=1) for column in (table.orig_src, table.reply_src)]
        mine = (table.status & IPS_SEEN_REPLY != 0) & (ends[0] ^ ends[1]) & (table.family == FAMILIES[family])
        for position in np.flatnonzero(mine)[-MOST_ASKED:].tolist():
            one = table.row(position)
            if not any(view.local.is_local(family, end) for end in (one.orig_src, one.reply_src)):
                return one
    return None


def _idle(link: Link) -> bool:
    """A tap without a machine."""
    return link.kind == "tun" and faces_guest(link) and link.carrier is False


def _tunnel(link: Link) -> bool:
    return link.kind == "wireguard" or (link.kind == "tun" and not faces_guest(link))


def _inner(link: Link) -> bool:
    return faces_guest(link) or _tunnel(link)


def _translated(view: HostView, family: str, link: Link, exits: Sequence[Link], *, named: bool = False) -> bool:
    """Whether a rule translates the addresses of the link on the way out: somebody meant them to get there. ``named``:
    and not those of everybody."""
    own = [row for row in view.addresses if row.ifindex == link.ifindex and row.family == family]
    kind = Packet(family=family, mark=None, ct_mark=None)
    packets = [replace(kind, oif=one.ifname, saddr=f"{row.local}/{row.prefixlen}") for one in exits for row in own]
    if named:
        packets = [each for each in packets if not _rewritten(view, replace(each, saddr=STRANGER[family], iif="?"))]
    return any(_rewritten(view, packet) for packet in packets)


def _rewritten(view: HostView, packet: Packet) -> bool:
    return bool(view.netfilter.hook("postrouting", packet).translations)


def kept_in(view: HostView, one: Gate) -> bool:
    """Whether the guests are likely meant to use services of this host alone: their addresses are private and nobody
    translates them, and the table that stops them opens a TCP port of this host to them and to no other interface (not
    those of DNS and DHCP, which engines open for every network)."""
    assert one.stop is not None
    owner, table, name = view.netfilter, one.stop.at.table, one.guest.link.ifname
    exits = sides(view.stack, view.routes(one.family), view.addresses).exits[:MOST]
    inner = ipaddress.ip_network(one.guest.prefix, strict=False).is_private
    if not inner or _translated(view, one.family, one.guest.link, exits):
        return False
    told = {meant(table, each).fields.get("dport") for chain in table.chains for each in chain.rules}
    ports = sorted(number for number in told if isinstance(number, int) and number not in ENGINES)
    kind = Packet(family=one.family, iif=name, proto=IPPROTO_TCP, ct_state="new", mark=None, ct_mark=None)
    asked = (replace(kind, oif="", dnatted=None, daddr_type="local", dport=number) for number in ports[:MOST_ASKED])
    return any(
        owner.hook("input", packet).passes != "no"
        and owner.hook("input", replace(packet, iif="?", iifindex=NOBODY)).passes == "no"
        for packet in asked
    )


def gates(view: HostView, family: str, *, forwarded: bool = True) -> Iterator[Gate]:
    """The gate of every guest that is there and that the host forwards for, or (``forwarded`` False) does not."""
    around = sides(view.stack, view.routes(family), view.addresses)
    if not around.exits:
        return
    others = [guest.link for guest in around.guests][:MOST]
    for guest in around.guests:
        if guest.link.carrier is not False and forwarding(view, guest.link, family) is forwarded:
            yield gate(view.netfilter, guest, family, around.exits[:MOST], others)
