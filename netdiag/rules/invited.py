"""Who sends packets through this host because he was told to, or because they are given another address here: the signs
that a host which does not forward is meant to. Pure; asks for what its callers declare.
"""

from collections.abc import Collection, Iterator
from ipaddress import ip_address, ip_network
from itertools import islice, product
from typing import Any

from netdiag.index.nftpacket import Packet
from netdiag.index.policy import Query
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute
from netdiag.model.finding import Severity, Subject, subject
from netdiag.model.link import Link
from netdiag.model.route import RT_TABLE_MAIN
from netdiag.rules import bgpsessions
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.build_nft import chain, oifname, plain, rule, saddr, table
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example
from netdiag.rules.unscoped import default_ways
from netdiag.rules.wireguardpeers import devices

MOST = 64
"""Routes to one BGP neighbour that are looked at."""
NOTICED = 3
"""Refused packets between the samples; a stray or two are normal on any network."""
STRANGE = "203.0.113.0/24"
"""A network of nobody's (RFC 5737)."""
CONSULTS = ("rules", "nexthops", "neighbours", "nft", "bird", "bird_routes", "wireguard")


def invited(
    view: HostView, family: str, link: Link | None = None, dead: Collection[int] = (), *, routed: bool = False
) -> tuple[str, bgpsessions.Session] | None:
    """A BGP neighbour (behind ``link``, else behind any interface) whom this host tells of a network that is behind
    another one, none of the ``dead``: it sends what is for there, and gets nothing through. What only the default route
    leads to is none that this host knows. ``routed``: nor is a subnet of its own. None: there is none, or BIRD was not
    read."""
    there = {
        (session.daemon.socket, session.name): (session, answer.oif)
        for session in bgpsessions.sessions(view)
        if session.up and _trades(session)
        and (answer := bgpsessions.way(view, session)) is not None
        and answer.oif and (link is None or answer.oif == link.ifindex)
    }  # fmt: skip
    for daemon in view.bird_routes if there else ():
        for listed in daemon.exports:
            found = there.get((daemon.socket, listed.protocol))
            if found is None:
                continue
            for route in (listed.routes or ())[:MOST]:
                if (":" in route.net) != (family == "inet6") or route.net.endswith("/0"):
                    continue
                beyond = _behind(view, family, route.net, {found[1] or 0, *dead}, routed=routed)
                if beyond is not None:
                    part, oif = beyond
                    of_it = "" if part == route.net else f"{part} of "
                    words = f"the neighbour of BGP session {found[0].name} is told of {of_it}{route.net} behind "
                    return words + view.ifname(oif), found[0]
    return None


def _behind(view: HostView, family: str, net: str, apart: set[int], *, routed: bool) -> tuple[str, int] | None:
    """The network, or a part of one that this host itself refuses (an aggregate), and the interface that it is behind,
    none of those."""
    others = (at for at in specimens(net) if not view.local.owners(at))
    far = next(others, None)  # this host's own address in a subnet says nothing of that
    if far is None:
        return None
    answer = view.lookup(Query(family=family, dst=far))
    if answer.type == "unicast":
        known = bool(answer.prefixlen) and not (routed and not any(hop.gateway for hop in answer.hops))
        return (net, answer.oif) if known and answer.oif and answer.oif not in apart else None
    refused = answer.type in ("blackhole", "unreachable", "prohibit")
    for row in view.route_rows(family, view.fib(family).routes_within(RT_TABLE_MAIN, net)[:MOST].tolist() * refused):
        for hop in row.hops if row.type == "unicast" else ():
            if hop.oif and hop.oif not in apart and (hop.gateway or not routed):
                return row.dst, hop.oif
    return None


def _trades(session: bgpsessions.Session) -> bool:
    """Whether the neighbour takes this host for its next hop, and is a router itself: of another AS (inside one, the
    next hop that this host learned stays), and it announces routes. A collector on a network for administration gets
    all routes and has none."""
    row = session.protocol
    given = (one.imported or (one.import_updates and one.import_updates.received) for one in row.channels)
    return row.neighbor_as != row.local_as and any(given)


def translated(view: HostView, family: str, source: str, link: Link) -> bool:
    """Whether packets from somebody else to the world leave by the interface under another address: somebody means them
    to."""
    if link.ifindex not in default_ways(view, family):
        return False
    packet = Packet(
        family=family, iif="", oif=link.ifname, oifindex=link.ifindex, saddr=source, mark=None, ct_mark=None
    )
    said = view.netfilter.hook("postrouting", packet).translations
    return any(one.kind in ("snat", "masquerade") for one in said)


def tunnelled(view: HostView, family: str, links: list[Link]) -> tuple[str, Link] | None:
    """A network (not a single address, nor one of its own) that this host reaches by a WireGuard peer that answers,
    while it has other interfaces (``links``) by which others may send there. None: there is none, or not read."""
    if not view.read_whole("wireguard"):
        return None
    for device, link in devices(view):
        prefixes = (prefix for peer in device.peers if peer.latest_handshake for prefix in peer.allowed_ips)
        for prefix in prefixes if any(one is not link for one in links) else ():
            network = ip_network(prefix)
            mine = any(ip_address(row.local) in network for row in view.addresses)
            if (":" in prefix) != (family == "inet6") or mine or network.prefixlen in (0, 1, network.max_prefixlen):
                continue
            if any(view.lookup(Query(family=family, dst=at)).oif == link.ifindex for at in specimens(prefix)):
                return prefix, link
    return None


def named_source(view: HostView, link: Link) -> tuple[str, str] | None:
    """A subnet of IPv4 behind the interface of which a translation on the way out says by its name that it is to be
    given another address there, and that interface; what is said for all sources names none."""
    own = [row for row in view.addresses if row.ifindex == link.ifindex and row.family == "inet" and row.prefixlen < 31]
    subnets = {str(ip_network(f"{row.local}/{row.prefixlen}", strict=False)) for row in own}
    for subnet, oif in product(sorted(subnets), sorted(default_ways(view, "inet") - {link.ifindex})):
        out = view.link(oif)
        if out is not None and translated(view, "inet", subnet, out) and not translated(view, "inet", STRANGE, out):
            return subnet, out.ifname
    return None


def meant_router(
    view: HostView, family: str, refused: tuple[int, int], links: list[Link]
) -> tuple[Severity, str, tuple[Subject, ...]] | None:
    """How bad it is that a host which has forwarded nothing since it was started does not forward, why it is meant to,
    and what suffers. ``refused``: packets for others since then, and between the samples; ``links``: its interfaces
    with an address. A translation says it before anybody sent three packets (information)."""
    ever, now = refused
    severity: Severity = "info" if ever < NOTICED else "critical" if now >= NOTICED else "warning"
    asked = severity != "info" and view.read_whole("rules")
    told = invited(view, family, routed=True) if asked else None
    if told is not None:
        return severity, told[0], (told[1].subject,)
    beyond = tunnelled(view, family, links) if now >= NOTICED and view.read_whole("rules") else None
    if beyond is not None:
        words = f"a peer of {beyond[1].ifname} has {beyond[0]} behind it, and others send through this host"
        return severity, words, (subject("link", ifname=beyond[1].ifname),)
    pairs = product(links, view.addresses)
    for out, address in islice(pairs, MOST) if severity == "info" else pairs:
        link = next((one for one in links if one.ifindex == address.ifindex and one is not out), None)
        if link is None or address.family != family or address.scope:
            continue
        if translated(view, family, f"{address.local}/{address.prefixlen}", out):
            words = f"what comes in by {link.ifname} is to leave by {out.ifname} under another address"
            return severity, words, (subject("link", ifname=link.ifname),)
    return None


def router_examples(switch: str) -> Iterator[Example]:
    """Of ip-forward-off: routers that were started with forwarding off. ``switch``: name of the setting of IPv4."""

    def host(ever: int = 9, now: int = 5, *, far: str = "10.50.0.0/16", **fields: Any) -> Any:
        made: Any = (
            BirdHost().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        )
        made.link("eth1").address("eth1", "192.168.1.1/24").route("10.50.0.0/16", via="192.168.1.9", dev="eth1")
        before: dict[str, Any] = {"snmp": {"Ip.ForwDatagrams": 0, "Ip.InAddrErrors": ever}}
        made.counters(before=before, after={"snmp": before["snmp"] | {"Ip.InAddrErrors": ever + now}})
        made.bgp("up1", **({"channels": (channel(imported=3),)} | fields))
        return made.exports("up1", routes=(BirdRoute(net=far, protocol="igp1"),))

    def case(name: str, why: str, made: HostBuilder, severity: Severity | None = None, **more: Any) -> Example:
        about = subject("sysctl", name=switch) if severity else None
        name = f"started with forwarding off: {name}"
        return Example(
            name=name,
            why=why,
            tables=made.build(),
            fires=int(severity is not None),
            severity=severity,
            subject=about,
            **more,
        )

    def behind(made: Any, *parts: tuple[Any, ...]) -> Any:
        return made.nft(table(chain("post", rule(*parts), hook="postrouting", type="nat"), name="nat"))

    says = ("is told of 10.50.0.0/16 behind eth1",)
    yield case("a neighbour is told of a network beyond", "it sends there", host(), "critical", says=says)
    for kind, fires in (("unreachable", 1), ("blackhole", 1), ("local", 0)):
        for at, far in (("192.168.1.9", 1), ("192.0.2.9", 0)):
            net = host(far="10.48.0.0/14").route("10.48.0.0/14", type=kind, family="inet", dev="lo")
            net.route("10.50.0.0/16", via=at, dev="eth1" if far else "eth0", priority=9 * far)
            told: dict[str, Any] = {"says": ("told of 10.50.0.0/16 of 10.48.0.0/14 behind eth1",)} if fires else {}
            yield case(f"a neighbour is told of an aggregate ({kind}), {at}", "a part of it is behind eth1", net,
                       "critical" if fires else None, **told)  # fmt: skip
    yield case("so far", "nothing came just now, but it did", host(now=2), "warning", says=says)
    yield case("strays", "two packets are none", host(ever=0, now=2))
    yield case("three so far", "those are none", host(ever=1, now=2), "warning", says=says)
    yield case("three just now", "likewise", host(now=3), "critical", says=says)
    yield case("told to one to whom nothing leads", "its session is about to end", host(neighbor_address="2001:db8::1"))
    back = host(far="10.51.0.0/16").route("10.51.0.0/16", via="192.0.2.9", dev="eth0")
    yield case("told of a network on its own side", "it sends none of it here", back)
    beyond = host(far="198.51.100.0/24", neighbor_address="192.168.1.9")
    yield case("told of what the default route leads to", "nobody here knows that network", beyond)
    yield case("told of nothing beyond", "a server that announces its own", host(far="203.0.113.7/32"))
    yield case(
        "told of a subnet of its own", "servers with two routers tell each of the other's", host(far="192.168.1.0/24")
    )
    yield case("told of everything", "the default route is none of its networks", host(far="0.0.0.0/0"))
    yield case("told of what is the neighbour's", "it sends none of it here", host(far="198.51.100.0/24"))
    yield case("told inside the AS", "it keeps the next hop", host(neighbor_as=65001))
    yield case("told to a collector", "it has no routes", host(channels=(channel(imported=0),)))
    yield from _tunnel_examples(switch)
    own: dict[str, Any] = {"far": "203.0.113.7/32"}
    masq = plain("masq")
    shared = behind(host(**own), oifname("eth0"), masq)
    words = ("what comes in by eth1 is to leave by eth0 under another address",)
    yield case("addresses are translated", "a gateway of a network", shared, "critical", says=words)
    for ever, now in ((0, 0), (0, 2)):
        few = behind(host(ever, now, **own), oifname("eth0"), masq)
        yield case(f"addresses are translated, {now} packets", "nobody needs it yet", few, "info", says=words)
    third = behind(host(**own).link("eth2").address("eth2", "10.66.0.1/24"), saddr("10.66.0.0/24"), masq)
    words = ("what comes in by eth2 is to leave by eth0 under another address",)
    yield case("addresses of a third network are translated", "a gateway of that", third, "critical", says=words)
    link = host(**own).address("eth1", "169.254.7.1/16", scope=253).address("eth1", "fd00::1/64")
    yield case("addresses of the link are", "those are not routed", behind(link, saddr("169.254.0.0/16"), masq))
    other = behind(host(**own), saddr("172.17.0.0/16"), masq)
    yield case("of containers", "Docker's rule, and strays", other)
    yield case(
        "towards the network itself", "nothing goes to the world there", behind(host(**own), oifname("eth1"), masq)
    )


def _tunnel_examples(switch: str) -> Iterator[Example]:
    """A gateway between a network and what is behind a WireGuard peer."""

    def host(now: int = 5, *, lan: bool = True, age: float | None = 9, routed: bool = True, far: str = "10.30.0.0/24",
             own: str = "10.9.0.1/24") -> HostBuilder:  # fmt: skip
        made = WireguardBuilder()
        made.wireguard("wg0").wg_peer("wg0", "a", age=age, allowed_ips=("10.9.0.2/32", far)).address("wg0", own)
        if lan:
            made.link("eth1").address("eth1", "10.20.0.1/24")
        if routed:
            made.route(far, dev="wg0")
        before: dict[str, Any] = {"Ip.ForwDatagrams": 0, "Ip.InAddrErrors": 400}
        return made.counters(before={"snmp": before}, after={"snmp": before | {"Ip.InAddrErrors": 400 + now}})

    for name, why, made, fires in (
        ("others send through it", "between two networks", host(), 1),
        ("three packets", "none is a stray", host(3), 1),
        ("two packets", "strays", host(2), 0),
        ("no other network", "nobody is to send through it", host(lan=False), 0),
        ("the peer never answered", "a tunnel that is being made", host(age=None), 0),
        ("no route into the tunnel", "nothing is sent there", host(routed=False), 0),
        ("a single address behind it", "a client of a server", host(far="10.30.0.7/32"), 0),
        ("its own subnet behind it", "the other clients", host(own="10.30.0.1/24"), 0),
        ("everything behind it", "a client of a VPN", host(far="0.0.0.0/0"), 0),
    ):
        yield Example(
            name=f"behind WireGuard: {name}",
            why=why,
            tables=made.build(),
            fires=fires,
            severity="critical" if fires else None,
            subject=subject("sysctl", name=switch) if fires else None,
            says=("a peer of wg0 has 10.30.0.0/24 behind it",) if fires else (),
        )
