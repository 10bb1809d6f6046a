"""Rules that send packets to a port of this host on which nothing listens, for nf-orphan-dnat-to-dead. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from netdiag.index.nfttext import rule_text
from netdiag.index.nftverdict import Place, Translation
from netdiag.index.view import HostView
from netdiag.index.xtmatch import target
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.nft import NftRule
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP, PROTOCOL_NAMES
from netdiag.rules.nftplaces import chain_name, chain_subject, list_chain
from netdiag.rules.nftspecimen import Step, below, meant
from netdiag.rules.shape import Rule, quoted
from netdiag.rules.sockettables import endpoint, listening, served

PORTED = (IPPROTO_TCP, IPPROTO_UDP)
MOST = 64
"""Rules that are tried; a host with more has them from a program that keeps them."""


@dataclass(frozen=True, kw_only=True)
class Deaf:
    """A port that packets are sent to, of an address of this host (None: that of the interface they come in by)."""

    at: Place
    address: str | None
    port: int
    proto: int


def deaf_ports(view: HostView) -> Iterator[Deaf | Unjudged]:
    """One for each rule that sends packets to such a port, none where a program chooses sockets (BPF_SK_LOOKUP);
    ``Unjudged`` where there are such rules and sockets were not read whole."""
    if any(one.hook == "sk_lookup" for one in view.bpf.attachments):
        return
    for ports in _own_ports(view):
        if not view.read_whole("sockets"):
            yield Unjudged(reason=f"sockets were not read whole: whether something listens on port {ports[0].port}")
            return
        yield from (one for one in ports if not _waits(view, one))


def _own_ports(view: HostView) -> Iterator[list[Deaf]]:
    """For each rule that sends packets to ports of this host those ports; never empty."""
    for place, way in islice(_redirecting(view), MOST):
        assert place.rule is not None  # no policy
        found = []
        for packet in meant(place.table, place.rule, way=way).packets():
            if packet.proto not in PORTED:
                continue
            comes = replace(packet, oif="", daddr_type="local", ct_reply=None)
            done = view.netfilter.hook("prerouting", comes).translations
            hit = next((one for one in done if one.certain), None)
            if hit is not None and hit.port is not None and _is_own(view, hit, packet.family):
                found.append(Deaf(at=hit.at, address=hit.addr, port=hit.port, proto=packet.proto))
        if found:
            yield found


def _redirecting(view: HostView) -> Iterator[tuple[Place, tuple[Step, ...]]]:
    """Rules at prerouting that rewrite the destination, and a way to each; if they are in force is asked later."""
    for table in view.netfilter.tables:
        for base in table.chains:
            if base.hook == "prerouting":
                for inside, way in below(table, base):
                    yield from ((Place(table, inside, one), way) for one in inside.rules if _redirects(one))


def _redirects(rule: NftRule) -> bool:
    names = {(one.name, one.key) for one in rule.expressions}
    by_xt = any(target(one, "inet").nat in ("redirect", "dnat") for one in rule.expressions if one.name == "target")
    return by_xt or ("nat", "dnat") in names or any(name == "redir" for name, _ in names)


def _is_own(view: HostView, one: Translation, family: str) -> bool:
    return one.kind == "redirect" or (one.addr is not None and view.local.is_local(family, one.addr))


def _waits(view: HostView, one: Deaf) -> bool:
    """Whether something listens for what a rule sends there."""
    if one.address is not None:
        return served(view, one.address, one.port, one.proto)
    table = view.sockets
    heard = listening(table, one.proto) & (table.sport == one.port)
    heard &= (table.src[:, 0] != 127) | (table.family != 2)  # not at an address that nobody outside reaches
    return bool(np.any(heard))


def deaf_finding(rule: Rule, one: Deaf) -> Draft:
    """The report of one rule."""
    at = one.at
    assert at.rule is not None
    where = endpoint(one.address, one.port) if one.address else f"port {one.port}"
    word = PROTOCOL_NAMES[one.proto]
    fix = f"start the service on {word} port {one.port}"
    if not at.table.legacy:
        place = f"{at.table.family} {quoted(at.table.name)} {quoted(at.chain.name)}"
        fix += f", or: nft delete rule {place} handle {at.rule.handle}"
    return rule.found(
        subject=chain_subject(at.table, at.chain),
        message=f"{chain_name(at.table, at.chain)} sends {word} packets to {where} of this host, and nothing listens "
        "there: connections are refused",
        evidence=[
            (f"rule {at.rule.handle} of that chain", rule_text(at.table, at.rule), "NFT_MSG_GETRULE"),
            (f"{word} sockets that listen on port {one.port}", "none for it", "SOCK_DIAG"),
        ],
        confirm=[list_chain(at.table, at.chain), f"ss -ln{word[0]} sport = :{one.port}"],
        fix=fix,
        touches=[subject("socket", netid=word, sport=one.port)],
    )
