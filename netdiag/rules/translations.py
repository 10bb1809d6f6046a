"""Where rules of nat send packets, and whether anybody is there: shared by rules about translated addresses.

Pure. An address counts as dead only where the host's own state proves it: no route, an interface without a carrier, a
bridge without ports, a neighbour that did not answer. Silence of the neighbour table proves nothing.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netdiag.index.guests import faces_guest, sides
from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Place
from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.index.xtmatch import target
from netdiag.model.finding import Subject, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import (
    NTF_PROXY,
    NUD_DELAY,
    NUD_FAILED,
    NUD_INCOMPLETE,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_PROBE,
    NUD_REACHABLE,
    NUD_STALE,
)
from netdiag.model.nft import NftElement, NftRule, NftSet, NftTable
from netdiag.model.route import RT_TABLE_MAIN

READS = ("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls", "nft")
NUD_KNOWN = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE
CONSULTS = ("fdb",)
DEFAULT = {"inet": "0.0.0.0/0", "inet6": "::/0"}
FRESH = 60.0
"""Seconds: a bridge still knows the port of whoever was heard within them (it forgets after 300)."""
MOST_TARGETS = 256
"""Targets of one map that are looked at."""


Among = tuple[NftSet, NftElement] | None
"""The map that gives an address, and for which key; None: the rule itself names it."""


@dataclass(frozen=True)
class Target:
    """An address that a rule rewrites the destination to."""

    at: Place
    address: str
    among: Among = None


@dataclass(frozen=True)
class DeadEnd:
    """Why nobody can be behind an address."""

    why: str
    fact: tuple[str, object, str]
    ifname: str | None = None
    off: str | None = None
    """The interface that has to be switched on."""
    guest: bool = False
    """There is no route, and no default one would do: it is private, and of this host's addresses only those are that
    face guests, while others are public."""


def targets(view: HostView) -> Iterator[Target]:
    """Every destination of DNAT in the ruleset, of rules that are in force."""
    for table in (*view.nft.tables, *view.nft.legacy):
        if table.dormant:
            continue
        for chain in table.chains:
            for rule in chain.rules:
                place = Place(table, chain, rule)
                yield from (Target(place, address, among) for address, among in rule_targets(table, rule))


def rule_targets(table: NftTable, rule: NftRule) -> list[tuple[str, Among]]:
    """Where one rule sends packets: a constant, or the values of a map, each with its element."""
    held: dict[int | None, list[tuple[bytes, Among]]] = {}
    found: list[tuple[str, Among]] = []
    for one in rule.expressions:
        if one.name == "immediate":
            held[one.dreg] = [(bytes.fromhex(one.value or ""), None)]
        elif (known := table.set(one.set or "")) is not None:
            held[one.dreg] = [
                (bytes.fromhex(each.value or ""), (known, each)) for each in known.elements[:MOST_TARGETS]
            ]
        elif one.key == "dnat" and one.sreg_max in (None, one.sreg):
            width = 16 if one.family == "ip6" else 4
            long = [pair for pair in held.get(one.sreg, []) if len(pair[0]) >= width]
            found += [(str(ipaddress.ip_address(raw[:width])), among) for raw, among in long]
        elif one.name == "target":
            done = target(one, "inet6" if table.family == "ip6" else "inet")
            found += [(done.addr, None)] if done.nat == "dnat" and done.addr else []
    return found


def family_of(address: str) -> str:
    """``inet`` or ``inet6``."""
    return "inet6" if ":" in address else "inet"


def dead_end(view: HostView, address: str, *, local_only: bool = False) -> DeadEnd | None:
    """Why an address cannot be reached; None where it may be. ``local_only``: it must be on this host's own links."""
    family = family_of(address)
    if view.local.is_local(family, address):
        return None
    answer = view.lookup(Query(family=family, dst=address))
    if answer.alternatives:
        return None
    if not answer.ok:
        word = answer.type or "no route"
        fact = (f"route to {address}", answer.error, "policy routing of this host")
        return DeadEnd(f"{word} to it", fact, guest=answer.type is None and _inner(view, address))
    if not answer.hops:
        return None
    routed = answer.prefixlen == (32 if family == "inet" else 128)
    reasons = [_hop_dead(view, address, hop.oif, hop.gateway, routed=routed) for hop in answer.hops]
    if all(reasons):
        return reasons[0]
    off = _switched_off(view, family, address) if answer.prefixlen == 0 else None
    if off is not None:
        source = f"RTM_GETLINK {off} ifi_flags"
        return DeadEnd(f"{off}, whose subnet it is in, is down", (f"{off} flags", "down", source), off, off)
    gateway = answer.hops[0].gateway
    lost = answer.prefixlen == 0 and (_among_guests(view, family, address) or _bogon(view, address, answer.hops[0].oif))
    if gateway and (local_only or lost):
        fact = (f"route to {address}", f"via {gateway} dev {view.ifname(answer.hops[0].oif)}", "policy routing")
        return DeadEnd("no guest of this host has it: its route is the way out", fact)
    return None


def _switched_off(view: HostView, family: str, address: str) -> str | None:
    """The interface that is down and has the address's subnet: the connected route went with it."""
    wanted = ipaddress.ip_address(address)
    for row in view.addresses if family == "inet" else ():  # IPv6 addresses go with the interface
        link = view.link(row.ifindex)
        off = link is not None and not link.up
        if off and wanted in ipaddress.ip_network(f"{row.local}/{row.prefixlen}", strict=False):
            return view.ifname(row.ifindex)
    return None


def _hop_dead(view: HostView, address: str, oif: int, gateway: str | None, *, routed: bool) -> DeadEnd | None:
    link = view.link(oif)
    if gateway is not None or link is None:
        return None
    name = link.ifname
    if link.carrier is False:
        source = f"RTM_GETLINK {name} IFLA_CARRIER"
        return DeadEnd(f"{name} has no carrier", (f"{name} carrier", link.carrier, source), name)
    if link.kind == "bridge" and not view.stack.ports(link.ifindex):
        return DeadEnd(f"{name} has no ports", (f"ports of {name}", 0, "RTM_GETLINK IFLA_MASTER"), name)
    if _failed(view, link, address):
        fact = (f"neighbour {address} dev {name}", "failed", "RTM_GETNEIGH NDA_STATE")
        return DeadEnd(f"it does not answer on {name}", fact, name)
    lladdr = _unplugged(view, link, address)
    if lladdr is not None:
        fact = (f"{lladdr}, by which {address} is known", f"behind no port of {name}", "RTM_GETNEIGH AF_BRIDGE")
        return DeadEnd(f"the port of {name} behind which it was is gone", fact, name)
    guests = None if routed else _others_only(view, link, address)
    if guests is not None:
        fact = (f"guests on {name}", f"{guests}, all with other addresses", "RTM_GETNEIGH, RTM_GETLINK")
        return DeadEnd(f"each guest on {name} has another address", fact, name)
    return None


def _behind(view: HostView, link: Link) -> set[bytes] | None:
    """The hardware addresses that a bridge has behind its ports; None where that was not read, it learns none or not
    behind each port, or forgets them sooner than FRESH."""
    if link.kind != "bridge" or not view.read_whole("fdb"):
        return None
    ageing = link.info.get("ageing_time")  # hundredths of a second
    deaf = any(port.slave_info.get("learning") is False for port in view.stack.ports(link.ifindex))
    if deaf or (isinstance(ageing, int) and ageing < FRESH * 100):
        return None
    mine = view.fdb.master == link.ifindex
    learned = mine & (view.fdb.state & (NUD_PERMANENT | NUD_NOARP) == 0)
    return {bytes(row) for row in view.fdb.lladdr[mine]} if bool(learned.any()) else None


def _unplugged(view: HostView, link: Link, address: str) -> str | None:
    """The hardware address of a guest that was heard a moment ago, and that no port of its bridge has any more: with a
    port go its entries at once, the neighbour stays for a minute or for good."""
    behind = _behind(view, link)
    if behind is None:
        return None
    for row in view.neighbours.rows(np.flatnonzero(_entry(view, link, address))):
        known = row.state in ("reachable", "stale", "delay", "probe")
        heard = known and row.confirmed is not None and row.confirmed < FRESH
        if heard and row.lladdr is not None and bytes.fromhex(row.lladdr.replace(":", "")) not in behind:
            return row.lladdr
    return None


def _others_only(view: HostView, link: Link, address: str) -> int | None:
    """How many guests are on a link, where each of them is known by another address; None where one may have it.

    A guest that speaks to its gateway is in the neighbour table. So where there are as many other hardware addresses as
    ports, nobody is left. Those of guests that are gone stay in the table as well: on a bridge they count only where
    the bridge has them behind a port, or where they were heard a moment ago. So does the address itself: where the
    bridge has it behind no port, and somebody else behind each, it is gone.
    """
    ports = [port for port in view.stack.ports(link.ifindex) if port.up and port.carrier is not False]
    guests = len(ports) if link.kind == "bridge" else 1
    if not all(faces_guest(port) for port in (ports if link.kind == "bridge" else [link])):
        return None
    table = view.neighbours
    rows = (table.ifindex == link.ifindex) & (table.flags & NTF_PROXY == 0)
    rows &= (table.family == (10 if ":" in address else 2)) & (table.state & NUD_KNOWN != 0)
    own = np.frombuffer(ipaddress.ip_address(address).packed.ljust(16, b"\0"), np.uint8)
    behind = _behind(view, link)
    mine = rows & (table.dst == own).all(axis=1)
    if bool(mine.any()) and (behind is None or any(bytes(row)[:6] in behind for row in table.lladdr[mine])):
        return None
    rows &= ~mine
    link_local = table.dst[:, 0] == 0xFE
    if link.kind == "bridge" and behind is None:
        rows &= table.confirmed < FRESH
    known = {bytes(row)[:6] for row in table.lladdr[rows & (table.lladdr_len > 0) & ~link_local]}
    known = known if behind is None else known & behind
    return guests if len(known) >= guests else None


PRIVATE = tuple(ipaddress.ip_network(t) for t in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))


def _private(text: str) -> bool:
    return any(ipaddress.ip_address(text) in network for network in PRIVATE)


def _inner(view: HostView, address: str) -> bool:
    """A private address that only a guest of this host can have had."""
    public = False
    for row in view.addresses:
        link = view.link(row.ifindex)
        if row.family != family_of(address) or row.scope or link is None or link.loopback:
            continue
        sides_ = view.stack.ports(link.ifindex) if link.kind == "bridge" else (link,)
        if _private(row.local) and not all(faces_guest(side) for side in sides_):
            return False
        public |= not _private(row.local)
    return public and _private(address)


def _bogon(view: HostView, address: str, oif: int) -> bool:
    """A private address (RFC 1918, RFC 4193) that would leave by an uplink whose own addresses are public."""
    family = family_of(address)
    own = [row.local for row in view.addresses if row.ifindex == oif and row.family == family and row.scope == 0]
    return _private(address) and bool(own) and not any(_private(text) for text in own)


def _failed(view: HostView, link: Link, address: str) -> bool:
    rows = _entry(view, link, address)
    return bool((view.neighbours.state[rows] & (NUD_FAILED | NUD_INCOMPLETE)).any())


def _entry(view: HostView, link: Link, address: str) -> npt.NDArray[np.bool_]:
    """Which row of the neighbour table is this address on this link."""
    table = view.neighbours
    raw = np.frombuffer(ipaddress.ip_address(address).packed.ljust(16, b"\0"), np.uint8)
    rows = (table.ifindex == link.ifindex) & (table.flags & NTF_PROXY == 0) & (table.dst == raw).all(axis=1)
    return np.asarray(rows & (table.family == (10 if ":" in address else 2)), np.bool_)


def _among_guests(view: HostView, family: str, address: str) -> bool:
    """Whether guests of this host have addresses of the same /24 (/64)."""
    bits = 24 if family == "inet" else 64
    near = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    around = sides(view.stack, view.routes(family), view.addresses)
    return any(ipaddress.ip_network(guest.prefix).network_address in near for guest in around.guests)


def wanted(address: str, why: DeadEnd) -> list[Subject]:
    """The default route that packets for a guest who is gone ask for, as the rules about routes name it."""
    return [subject("route", dst=DEFAULT[family_of(address)], table=RT_TABLE_MAIN)] if why.guest else []


def new_packet(view: HostView, proto: int, ends: tuple[str, int, str, int]) -> Packet:
    """The first packet of a connection, as it would come now: from a local sender or by the way back to the sender."""
    src, sport, dst, dport = ends
    family = family_of(src)
    back = view.lookup(Query(family=family, dst=src)).oif
    iif = "" if view.local.is_local(family, src) else None if back is None else view.ifname(back)
    kind = "local" if view.local.is_local(family, dst) else "unicast"
    return Packet(
        family=family, iif=iif, saddr=src, sport=sport, daddr=dst, dport=dport, proto=proto, daddr_type=kind, mark=None
    )
