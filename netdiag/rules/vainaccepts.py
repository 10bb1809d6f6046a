"""Accepts in vain: rules of one base chain whose packets another chain of the hook stops, for nf-accept-does-not-win.

An accept ends its own base chain only (net/netfilter/core.c nf_hook_slow()). Each rule is asked with packets that have
what it asks for and everything else open. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from netdiag.index.netfilter import Netfilter
from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Place, Possible
from netdiag.model.link import Link
from netdiag.model.nft import Nft, NftChain, NftRule, NftTable
from netdiag.rules.nftspecimen import Meant, Step, below, elements, meant, verdicts

MOST, FEWEST, WORK = 300, 20, 150_000
"""Rules tried for one hook: fewer where each try has to walk a long ruleset."""
UNSPOKEN = 9
"""A port that hardly any rule names: discard."""
FEW = 8
"""Elements of a set that are tried."""
SPECIFIC = {"dport", "iif", "oif", "ct_state", "proto", "daddr", "icmp_type"}
"""Fields of which a rule must ask at least one; or its source, where what stops it asks for a source as well."""


@dataclass(frozen=True)
class Beaten:
    """A rule whose accept does not help."""

    at: Place
    stop: Possible
    packet: Packet
    trusted: tuple[str, ...]
    """Interfaces on which it goes through, as anything does there."""


def beaten(
    whole: Netfilter, hook: str, family: str, names: list[str], links: Iterable[Link], *, others: Iterable[str] = ()
) -> Iterator[Beaten]:
    """The accepts of a hook that stand in vain. ``names``: interfaces by which packets come and go; ``others``: the
    families that this host has besides."""
    base = [(t, c) for t, c in whole.base_chains(hook, family) if c.type == "filter"]
    size = sum(len(c.rules) for t in whole.tables for c in t.chains)
    left = max(FEWEST, min(MOST, WORK // (size + 1)))
    for table_, chain_ in base:
        if not any(_drops(t, c) for t, c in base if c is not chain_):
            continue
        alone = Netfilter(Nft(tables=(_only(table_, chain_),)), whole.ifindexes)
        for inside, way, accepting, picks in _accepting(table_, chain_):
            for pick in picks:
                left -= 1
                if left < 0:
                    return
                asked = _here(meant(table_, accepting, pick, way), links)
                known: dict[str, Any] = {"oif": ""} if hook == "input" else {"iif": ""} if hook == "output" else {}
                asks = set(asked.fields)
                packets = asked.packets((family,), **known) if (SPECIFIC | {"saddr"}) & asks else ()
                real = [packet for packet in packets if _comes_by(packet, hook, links)]
                found = _in_vain(alone, whole, hook, real, names)
                if found is None or not (SPECIFIC & asks or _by_source(found[0])):
                    continue
                if not _narrowed(alone, whole, hook, found[1], others):
                    yield Beaten(Place(table_, inside, accepting), *found)
                    break


def _by_source(stop: Possible) -> bool:
    """Whether what stops a packet is a rule for its source: an accept for one alone may be an exception from bans."""
    return stop.at.rule is not None and "saddr" in meant(stop.at.table, stop.at.rule).fields


def beaten_before(whole: Netfilter, family: str, names: list[str], links: Iterable[Link]) -> Iterator[Beaten]:
    """Accepts of a port at input whose packets are dropped at ingress or prerouting of every interface. Not where a
    port may be translated to another one: then the drop is for those who ask for that one."""
    early = [(t, c) for t, c in whole.base_chains("prerouting", family) if c.type == "filter"]
    early += [pair for name in names for pair in whole.base_chains("ingress", "netdev", name)]
    if not any(_drops(t, c) for t, c in early) or any(_translates(t) for t in whole.tables):
        return
    left = FEWEST
    for table_, chain_ in whole.base_chains("input", family):
        alone = Netfilter(Nft(tables=(_only(table_, chain_),)), whole.ifindexes)
        for inside, way, accepting, picks in _accepting(table_, chain_) if chain_.type == "filter" else ():
            for pick in picks:
                left -= 1
                if left < 0:
                    return
                asked = _here(meant(table_, accepting, pick, way), links)
                packets = asked.packets((family,), oif="") if "dport" in asked.fields else ()
                real = [packet for packet in packets if _comes_by(packet, "input", links)]
                stops = [(_early(alone, whole, one), one) for packet in real for one in _everywhere(packet, names)]
                if stops and all(stop for stop, _ in stops) and (first := stops[0][0]):
                    yield Beaten(Place(table_, inside, accepting), first, stops[0][1], ())


def _early(alone: Netfilter, whole: Netfilter, packet: Packet) -> Possible | None:
    """What drops for certain before the hook what the rule's own chain accepts for certain."""
    if alone.hook("input", packet).passes != "yes":
        return None
    for hook in ("ingress", "prerouting"):
        found = whole.hook(hook, packet)
        if found.passes == "no":
            return found.blocker
    return None


def _translates(one: NftTable) -> bool:
    """Whether the table may send packets for one port to another one of this host, or anywhere."""
    steps = (step for c in one.chains for r in c.rules for step in r.expressions)
    return any(step.name in ("redir", "tproxy") or step.key in ("dnat", "DNAT", "REDIRECT") for step in steps)


def _here(asked: Meant, links: Iterable[Link]) -> Meant:
    """The same, with an interface that is there for each name that is only begun (``tap*``)."""
    for way, begun in asked.wild.items():
        asked.fields[way] = next((link.ifname for link in links if link.ifname.startswith(begun)), asked.fields[way])
    return asked


def _comes_by(packet: Packet, hook: str, links: Iterable[Link]) -> bool:
    """Whether there can be such a packet: there is an interface of that name. What comes by loopback has its route
    already and is never forwarded (net/ipv4/ip_input.c, ip_rcv_finish_core())."""
    there = {link.ifname for link in links if hook != "forward" or not link.loopback}
    return {name for name in (packet.iif, packet.oif) if name} <= there


def _in_vain(
    alone: Netfilter, whole: Netfilter, hook: str, packets: Iterable[Packet], names: list[str]
) -> tuple[Possible, Packet, tuple[str, ...]] | None:
    """What stops everything that an accept means, a packet of it, and the interfaces that are trusted with anything:
    there the accept makes no difference."""
    for packet in packets:
        stopped: list[tuple[Possible, Packet]] = []
        trusted: list[str] = []
        for one in _everywhere(packet, names):
            if stop := _stop(alone, whole, hook, one):
                stopped.append((stop, one))
            elif hook != "output" and _open(whole, hook, replace(one, dport=UNSPOKEN)):
                trusted.append(one.iif or "")
            else:
                break
        else:
            if stopped:
                return (*stopped[0], tuple(trusted))
    return None


def _narrowed(alone: Netfilter, whole: Netfilter, hook: str, packet: Packet, others: Iterable[str]) -> bool:
    """Whether the accept is for another family as well, of which some may come and others not: who may was decided."""
    twins = [replace(packet, family=family) for family in others if not (packet.saddr or packet.daddr)]
    return any(alone.hook(hook, one).passes == "yes" and whole.hook(hook, one).passes == "maybe" for one in twins)


def _open(whole: Netfilter, hook: str, packet: Packet) -> bool:
    """Whether a packet of which no rule speaks is let in, or through."""
    return whole.hook(hook, packet).passes == "yes"


def _everywhere(packet: Packet, names: list[str]) -> list[Packet]:
    """The packet on each interface, where the rule does not say which: loopback is accepted nearly everywhere."""
    found = [packet] if packet.iif is not None else [replace(packet, iif=name) for name in names]
    return [each for one in found for each in ([one] if one.oif is not None else [replace(one, oif=n) for n in names])]


def _stop(alone: Netfilter, whole: Netfilter, hook: str, packet: Packet) -> Possible | None:
    """What stops a packet for certain that the rule's own chain accepts for certain."""
    if alone.hook(hook, packet).passes != "yes":
        return None
    found = whole.hook(hook, packet)
    return found.blocker if found.passes == "no" else None  # rules before may stop some of it (a list of bans)


def _only(one: NftTable, base: NftChain) -> NftTable:
    """The table without its other base chains."""
    return msgspec.structs.replace(one, chains=tuple(c for c in one.chains if c is base or not c.base))


def _drops(one: NftTable, base: NftChain) -> bool:
    """Whether the chain, or the table's others, can stop anything."""
    rules = [r for c in one.chains if c is base or not c.base for r in c.rules]
    stops = any(e.name == "reject" or (e.name == "target" and e.key == "REJECT") for r in rules for e in r.expressions)
    return base.policy == "drop" or stops or any(said == "drop" for r in rules for said, _, _ in verdicts(one, r))


def _accepting(one: NftTable, base: NftChain) -> Iterator[tuple[NftChain, tuple[Step, ...], NftRule, Iterable[int]]]:
    """Rules that accept in the chain and in those that it leads to: the way there, and the elements of their sets that
    are to be tried."""
    for inside, way in below(one, base):
        for each in inside.rules:
            if each.expressions and each.expressions[-1].verdict == "accept":
                yield inside, way, each, range(min(elements(one, each), FEW))
            elif picks := [pick for verdict, _, pick in verdicts(one, each) if verdict == "accept"][:FEW]:
                yield inside, way, each, picks
