"""Port mappings of CNI to containers that are gone though nobody has asked for their address yet, for
cni-portmap-stale: what the plugin that gives addresses out says, and two mappings of one port of the host. Pure.
"""

import ipaddress
from collections.abc import Iterator

from netdiag.index.nftpacket import Packet
from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.rules.deadtargets import cni_subnets, dead_targets, of_cni, unheard
from netdiag.rules.nftspecimen import meant
from netdiag.rules.translations import DeadEnd, Target, family_of, new_packet, targets

ANSWERS = frozenset({"reachable", "delay", "probe", "permanent"})
"""States of a neighbour that was heard a moment ago, or that somebody wrote down."""


def stale(view: HostView) -> Iterator[tuple[Target, DeadEnd, int, bool]]:
    """Of each chain the first target that is dead, why, how many there are, and whether that is only a guess."""
    said = set[tuple[str, str, str]]()
    for one, why, count, guess in (
        *((*row, False) for row in dead_targets(view, cni=True)),
        *((*row, 1, False) for row in given_back(view)),
        *((*row, 1, False) for row in overtaken(view)),
        *((*row, 1, True) for row in unheard(view, cni=True) if _crowded(view, *row)),
    ):
        key = (one.at.table.family, one.at.table.name, one.at.chain.name)
        if key not in said:
            said.add(key)
            yield one, why, count, guess


def _given(view: HostView) -> set[str]:
    """Addresses that host-local has given out."""
    return {row.address for row in view.cni.allocations} if view.read_whole("cni") else set()


def _crowded(view: HostView, one: Target, why: DeadEnd) -> bool:
    """Whether there are more addresses with mappings than ports of the bridge, so that one of them is gone, and nothing
    says that it is not this one."""
    link = view.stack.by_name.get(why.ifname or "")
    if link is None or one.address in _given(view):
        return False
    subnets, family = cni_subnets(view), family_of(one.address)
    wanted = {each.address for each in targets(view) if family_of(each.address) == family and of_cni(each, subnets)}
    near = [address for address in wanted if view.lookup(Query(family=family, dst=address)).oif == link.ifindex]
    return len(near) > sum(bool(port.carrier) for port in view.stack.ports(link.ifindex))


def given_back(view: HostView) -> Iterator[tuple[Target, DeadEnd]]:
    """Targets in the subnet of a bridge, of which host-local has given out other addresses and not this one: a mapping
    is made after its address is given out, and goes before it is given back."""
    given = {ipaddress.ip_address(address) for address in _given(view)}
    if not given:
        return
    subnets = cni_subnets(view)
    answering = {row.dst for row in view.neighbours.rows() if row.state in ANSWERS}
    for one in targets(view):
        address = ipaddress.ip_address(one.address)
        if address in given or one.address in answering or not of_cni(one, subnets):
            continue
        answer = view.lookup(Query(family=family_of(one.address), dst=one.address))
        link = view.link(answer.oif) if answer.type == "unicast" and answer.oif else None
        if link is None or link.kind != "bridge" or any(hop.gateway for hop in answer.hops):
            continue
        subnet = ipaddress.ip_network(f"{address}/{answer.prefixlen}", strict=False)
        others = sum(each in subnet for each in given)
        if others:
            fact = (f"addresses of {subnet} that are given out", others, "/var/lib/cni/networks")
            yield one, DeadEnd("its address is given out to no container", fact, link.ifname)


def overtaken(view: HostView) -> Iterator[tuple[Target, DeadEnd]]:
    """Targets of which no neighbour was ever noted, and which get the packets to a port of this host that is mapped to
    another container as well: a port is given out again only after its container is gone."""
    silent = {(id(one.at.rule), one.address): (one, why) for one, why in unheard(view, cni=True)}
    if not silent:
        return
    subnets = cni_subnets(view)
    for other in targets(view):
        packet = _to_port(view, other) if of_cni(other, subnets) else None
        if packet is None:
            continue
        given = view.netfilter.hook("prerouting", packet).translations
        if len(given) != 1 or given[0].addr in (None, other.address):
            continue
        found = silent.pop((id(given[0].at.rule), given[0].addr), None)
        if found is not None:
            one, why = found
            fact = (f"port {packet.dport} is mapped to as well", other.address, "NFT_MSG_GETRULE")
            yield one, DeadEnd(f"the port was given to {other.address} since", fact, why.ifname)


def _to_port(view: HostView, one: Target) -> Packet | None:
    """A first packet to the port of the host that a rule maps."""
    fields = meant(one.at.table, one.at.rule).fields if one.at.rule is not None else {}
    family, port = family_of(one.address), fields.get("dport")
    own = [row.local for row in view.addresses if row.family == family and row.scope == 0]
    here = str(fields.get("daddr") or (own[0] if own else "")).partition("/")[0]
    if not port or not here:
        return None
    far = "2001:db8::1" if family == "inet6" else "192.0.2.1"  # anybody
    return new_packet(view, fields.get("proto") or 6, (far, 40000, here, port))
