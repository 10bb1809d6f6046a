"""Networks that this host draws to itself by BGP in order to hand them on: announced to a neighbour on one interface,
and reached by another one. What nf-forward-drop-policy says where the filter drops all of that. Pure.

Left out is what a host announces without meaning to forward: its own addresses, blackholes of an aggregate, subnets on
which a BGP neighbour of its own is (``protocol direct`` with ``export all``), and routes that came from a neighbour,
unless both sessions are external and to different networks. Of an internal session only what it does not hand on with
somebody else's next hop: routes that were not learnt by BGP.
"""

import ipaddress
from collections.abc import Container, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Possible
from netdiag.index.packet import Query
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.bgpsessions import Session, sessions, way
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_nft import chain, iifname, oifname, rule, saddr, state, table, verdict
from netdiag.rules.forwardgate import but_pings, forwarding, stopped
from netdiag.rules.nftplaces import by_default, chain_name, chain_subject, fact, inserts, list_chain, place_words
from netdiag.rules.shape import Example, Rule, quoted

MOST, MOST_ROUTES = 64, 256
"""Sessions that are asked, and routes of each."""


class Transit(NamedTuple):
    """A network, and where its packets come in and would leave."""

    session: Session
    net: str
    came: Link
    goes: Link
    stop: Possible


def cut_transits(view: HostView, family: str) -> Iterator[Transit]:
    """Those of which the forward hook drops everything, new connections and answers alike; one for each pair of
    interfaces."""
    if not (view.read_whole("bird") and view.read_whole("rules")):
        return
    told = {(daemon.socket, one.protocol): one.routes or () for daemon in view.bird_routes for one in daemon.exports}
    asked: set[tuple[int, int]] = set()
    for session in [one for one in sessions(view) if one.up][:MOST]:
        answer = way(view, session)
        came = None if answer is None else view.link(answer.oif)
        if came is None or came.loopback or not forwarding(view, came, family):
            continue
        for route in told.get((session.daemon.socket, session.name), ())[:MOST_ROUTES]:
            goes = _onward(view, family, session, route)
            if goes is None or goes is came or (came.ifindex, goes.ifindex) in asked:
                continue
            asked.add((came.ifindex, goes.ifindex))
            stop = _stopped(view, family, came, goes, route.net)
            if stop is not None:
                yield Transit(session, route.net, came, goes, stop)


def _stopped(view: HostView, family: str, came: Link, goes: Link, net: str) -> Possible | None:
    packet = Packet(family=family, iif=came.ifname, oif=goes.ifname, daddr=net, mark=None, ct_mark=None, dnatted=None)
    answers = replace(packet, ct_state="established", ct_reply=None)
    stops = [stopped(view.netfilter, one) or but_pings(view.netfilter, one) for one in (packet, answers)]
    return stops[0] if all(stops) else None


def _onward(view: HostView, family: str, session: Session, route: BirdRoute) -> Link | None:
    """The interface by which this host would hand on what it is sent for the route; None where that is not meant."""
    if (":" in route.net) is not (family == "inet6") or route.type != "unicast" or not _meant(session, route):
        return None
    network = ipaddress.ip_network(route.net, strict=False)
    near = (other.address for other in sessions(view))
    if network.prefixlen and any(each is not None and each in network for each in near):
        return None
    for address in specimens(route.net)[:3]:
        answer = view.lookup(Query(family=family, dst=address))
        if not answer.ok or view.local.is_local(family, address):
            continue
        link = view.link(answer.oif)
        return link if link is not None and not link.loopback and link.carrier is not False else None
    return None


def _meant(session: Session, route: BirdRoute) -> bool:
    """Whether what the neighbour sends for the route comes to this host, and somebody means it to."""
    protocols = {one.name: one for one in session.daemon.protocols}
    source, here = protocols.get(route.protocol or ""), session.protocol
    if source is None or "route-server" in (here.session or ""):
        return False
    if source.proto != "BGP":
        return True
    ends = {source.neighbor_as, here.neighbor_as, here.local_as}
    return None not in ends and len(ends) == 3


def transit_finding(rule: Rule, cut: Transit) -> Draft:
    """The finding."""
    at, session = cut.stop.at, cut.session
    ways = (cut.came.ifname, cut.goes.ifname), (cut.goes.ifname, cut.came.ifname)
    nft = [f'iifname "{one}" oifname "{other}" accept' for one, other in ways]
    xt = [f"-i {quoted(one)} -o {quoted(other)} -j ACCEPT" for one, other in ways]
    where = "DOCKER-USER" if at.table.chain("DOCKER-USER") else at.chain.name
    return rule.found(
        subject=chain_subject(at.table, at.chain),
        message=f"this host announces {cut.net} to {session.name} ({session.neighbour}), and {place_words(at)} drops"
        f" all that comes by {cut.came.ifname} to be handed on by {cut.goes.ifname}",
        evidence=[
            fact(cut.stop),
            (f"announced to {session.name}", cut.net, f"birdc show route export {session.name}"),
            (f"way to {cut.net}", f"dev {cut.goes.ifname}", "RTM_GETROUTE, RTM_GETRULE"),
            (f"rules of {chain_name(at.table, at.chain)}", len(at.chain.rules), "NFT_MSG_GETRULE"),
        ],
        confirm=[list_chain(at.table, at.chain), session.command(f"show route export {session.name}")],
        fix=inserts(at.table, where, nft, xt),
        severity="warning",
        breaks=[subject("link", ifname=cut.goes.ifname)],
    )


Chain = tuple[str, str, str]


def cut_off(view: HostView, family: str, rule: Rule, said: Container[Chain]) -> Iterator[tuple[Draft, Chain]]:
    """The findings about default policies, with the chain of each, but of those of which something is said."""
    for cut in cut_transits(view, family):
        at = cut.stop.at
        place = (at.table.family, at.table.name, at.chain.name)
        if by_default(at) and place not in said:
            yield transit_finding(rule, cut), place


def transit_cases() -> Iterator[Example]:
    """A router of a mesh, and hosts that look like one."""
    docker = rule(iifname("docker0"), verdict("accept"))
    lan = BirdRoute(net="10.30.0.0/24", protocol="direct1", dev=("eth1",))
    far = BirdRoute(net="10.60.0.0/16", protocol="up1", via=("192.0.2.1",), dev=("eth0",))
    opens = rule(iifname("wg0"), verdict("accept")), rule(state("established", "related"), verdict("accept"))

    def host(*routes: BirdRoute, rules: Any = (docker,), forward: int = 1, **session: Any) -> Any:
        given: dict[str, Any] = {"neighbor_address": "10.9.0.2", "neighbor_as": 65001, "session": "internal AS4"}
        made: Any = BirdHost().protocol("direct1", "Direct").bgp("mesh", **(given | session))
        made.bgp("up1", neighbor_address="192.0.2.1", neighbor_as=65100).exports("mesh", routes=routes)
        on = {"inet_conf": {"forwarding": forward}}
        made.link("eth0", **on).address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        made.link("eth1", **on).address("eth1", "10.30.0.1/24").link("wg0", kind="wireguard", **on)
        made.address("wg0", "10.9.0.1/24").address("lo", "203.0.113.7/32").sysctl("net.ipv4.ip_forward", 1)
        made.link("docker0", kind="bridge", carrier=False, **on).address("docker0", "172.17.0.1/16")
        made.nft(table(chain("FORWARD", *rules, hook="forward", policy="drop"), family="ip"))
        return made

    narrow = rule(saddr("10.9.0.2/32"), oifname("eth1"), verdict("accept"))
    says = ("announces 10.30.0.0/24 to mesh", "by wg0 to be handed on by eth1", 'iifname "wg0" oifname "eth1" accept')
    alarm: dict[str, Any] = {"fires": 1, "severity": "warning"}
    for name, why, made, told in (
        ("a network behind it", "its policy came with Docker", host(lan), alarm | {"says": says}),
        ("the way out", "a default route", host(BirdRoute(net="0.0.0.0/0", protocol="direct1")), alarm),
        ("between two networks of others", "transit", host(far, neighbor_as=65200, session="external AS4"), alarm),
        ("between two sessions to one network", "a host with two uplinks", host(far, neighbor_as=65100), {}),
        ("learnt, within the own network", "a reflector", host(far), {}),
        ("of a route server", "it carries nothing", host(lan, session="external route-server AS4"), {}),
        ("an own address", "nothing is handed on", host(BirdRoute(net="203.0.113.7/32", protocol="direct1")), {}),
        ("a blackhole", "an aggregate", host(BirdRoute(net="10.30.0.0/24", type="blackhole", protocol="direct1")), {}),
        ("of a protocol that is gone", "nobody knows", host(replace_protocol(lan, "gone")), {}),
        ("the subnet of a neighbour", "with all the rest", host(BirdRoute(net="192.0.2.0/24", protocol="direct1")), {}),
        ("back where it came from", "it stays there", host(BirdRoute(net="10.9.0.8/29", protocol="direct1")), {}),
        ("of IPv6", "another policy", host(BirdRoute(net="2001:db8:1::/48", protocol="direct1")), {}),
        ("a session that is down", "nobody sends", host(lan, info="Active", bgp_state="Active", state="start"), {}),
        ("let through", "as it should be", host(lan, rules=opens), {}),
        ("its answers alone", "others may not begin", host(lan, rules=(docker, opens[1])), {}),
        ("by a rule for some", "somebody's policy", host(lan, rules=(narrow,)), {}),
        ("not forwarded", "ip-forward-off says so", host(lan, forward=0), {}),
    ):  # fmt: skip
        yield Example(name=f"announced, {name}", why=why, tables=made.build(), **told)


def replace_protocol(route: BirdRoute, name: str) -> BirdRoute:
    """The same route by another protocol."""
    return BirdRoute(net=route.net, protocol=name, dev=route.dev)
