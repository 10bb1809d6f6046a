"""Rules that send packets to a dead address, for nf-orphan-dnat-to-dead and cni-portmap-stale. Pure."""

import ipaddress
from collections.abc import Iterator

import msgspec

from netdiag.index.nfttext import element_text, rule_text, set_loads
from netdiag.index.packet import Query
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.apart import inside
from netdiag.rules.nftplaces import chain_name, chain_subject, list_chain, xt_program
from netdiag.rules.nftspecimen import meant
from netdiag.rules.routewords import around
from netdiag.rules.shape import Rule, quoted
from netdiag.rules.translations import DeadEnd, Target, dead_end, family_of, targets, wanted

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


BRIDGES = ("cni", "nomad")
"""How the bridges of CNI networks are called: ``cni0``, ``cni-podman0``, ``nomad``."""
RUNTIMES = ("DOCKER", "NETAVARK")
"""Chains of those who map ports without CNI."""


def cni_subnets(view: HostView) -> list[Network]:
    """The subnets of bridges whose names are CNI's."""
    bridges = {link.ifindex for link in view.links if link.kind == "bridge" and link.ifname.startswith(BRIDGES)}
    found = [f"{row.local}/{row.prefixlen}" for row in view.addresses if row.ifindex in bridges and row.scope == 0]
    return [ipaddress.ip_network(text, strict=False) for text in found]


def of_cni(at: Target, subnets: list[Network]) -> bool:
    """Whether a rule maps a port to a container of CNI, which is always on this host: its chain or table is the portmap
    plugin's, or it was written by another hand and its target is in a subnet of CNI."""
    name = at.at.chain.name
    if name.startswith("CNI-") or at.at.table.name == "cni_hostport":
        return True
    address = ipaddress.ip_address(at.address)
    return not name.startswith(RUNTIMES) and any(address in subnet for subnet in subnets)


def dead_targets(view: HostView, *, cni: bool) -> Iterator[tuple[Target, DeadEnd, int]]:
    """The first dead target of each chain, why, and how many there are."""
    found: dict[tuple[str, str, str], list[tuple[Target, DeadEnd]]] = {}
    known: dict[str, DeadEnd | None] = {}
    subnets = cni_subnets(view)
    for one in targets(view):
        if of_cni(one, subnets) is not cni:
            continue
        if one.address not in known:
            known[one.address] = dead_end(view, one.address, local_only=cni)
        why = known[one.address]
        if why is not None:
            key = (one.at.table.family, one.at.table.name, one.at.chain.name)
            found.setdefault(key, []).append((one, why))
    for rows in found.values():
        yield *rows[0], len(rows)


def unheard(view: HostView, *, cni: bool) -> Iterator[tuple[Target, DeadEnd]]:
    """Of each chain the first target in a network of this host's own guests of which no neighbour was ever noted: gone
    long ago, or not asked for yet."""
    noted = {row.dst for row in view.neighbours.rows()}
    said: set[tuple[str, str, str]] = set()
    subnets = cni_subnets(view)
    for one in targets(view):
        key = (one.at.table.family, one.at.table.name, one.at.chain.name)
        if key in said or one.address in noted or of_cni(one, subnets) is not cni or dead_end(view, one.address):
            continue
        family = family_of(one.address)
        answer = view.lookup(Query(family=family, dst=one.address))
        link = view.link(answer.oif) if answer.type == "unicast" and answer.oif else None
        alone = answer.prefixlen == (128 if family == "inet6" else 32)  # somebody says that it is there
        near = not alone and not any(hop.gateway for hop in answer.hops)
        if link is not None and near and link.kind == "bridge" and inside(view, family, link):
            said.add(key)
            fact = (f"neighbours {one.address} of {link.ifname}", 0, "RTM_GETNEIGH")
            why = f"nothing was heard of it on {link.ifname} yet; it is gone, or was never asked for"
            yield one, DeadEnd(why=why, fact=fact, ifname=link.ifname)


def finding(rule: Rule, one: Target, why: DeadEnd, count: int = 1, *, guess: bool = False) -> Draft:
    """The report of one chain; ``guess``: somebody may be there."""
    at = one.at
    assert at.rule is not None
    text = rule_text(at.table, at.rule)
    port, element = meant(at.table, at.rule).fields.get("dport"), _element(one)
    what = element or (f"port {port}" if port else "packets")
    more = f" (and {count - 1} more of the chain)" if count > 1 else ""
    where = f"{at.table.family} {quoted(at.table.name)} {quoted(at.chain.name)}"
    version = "-6 " if family_of(one.address) == "inet6" else ""
    if at.table.legacy:
        fix = f"{xt_program(at.table)} -t {quoted(at.table.name)} -D {quoted(at.chain.name)} {at.rule.handle}"
    elif element and not element.startswith("{"):
        fix = f"nft {quoted(f'delete element {at.table.family} {at.table.name} {element}')}"  # the others are alive
    else:
        fix = f"nft delete rule {where} handle {at.rule.handle}"
    if why.off is not None:
        fix = f"ip link set dev {quoted(why.off)} up"
    who = f"{'perhaps ' if guess else ''}nobody is there: {why.why}"
    return rule.found(
        subject=chain_subject(at.table, at.chain),
        severity="info" if guess else None,
        confidence="possible" if guess else None,
        message=f"{chain_name(at.table, at.chain)} sends {what} to {one.address}{more}, and {who}",
        evidence=[(f"rule {at.rule.handle} of {chain_name(at.table, at.chain)}", text, "NFT_MSG_GETRULE"), why.fact],
        confirm=[list_chain(at.table, at.chain), f"ip {version}route get {one.address}"],
        fix=fix,
        touches=[around(one.address), *([subject("link", ifname=why.ifname)] if why.ifname else [])],
        breaks=[] if guess else wanted(one.address, why),
        of_absence=True,
    )


def _element(one: Target) -> str | None:
    """``backends { 8081 }``: the entry of the map that names the target."""
    if one.among is None:
        return None
    known, element = one.among
    key = element_text(msgspec.structs.replace(element, value=None), set_loads(known))
    return f"{'' if 'anonymous' in known.flags else f'{known.name} '}{{ {key} }}"
