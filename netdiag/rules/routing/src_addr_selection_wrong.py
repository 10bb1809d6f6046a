"""What it checks
  What this host sends to the Internet without having chosen a source gets an address that the Internet cannot answer:
  one of a private range (RFC 1918, shared 100.64.0.0/10, link-local, IPv6 ULA) that belongs to another interface than
  the one it leaves by, a tunnel's or a guest bridge's for instance, although the host has a public address; or one of
  that interface itself, which has a public address too and whose gateway is a public one, or which sent with a public
  one that is still here, by the same gateway, at the time of the baseline. Or, on a host with private addresses only,
  the route names a tunnel's address instead of the uplink's own (a warning). Asked are the routing tables, as the
  kernel does for a socket that is not bound (of IPv6 the order of RFC 6724: a ULA of the uplink comes before a public
  address of lo); every next hop counts. Nothing on the way out may rewrite the source. Where the uplink and its
  gateway are private, and the public address rests on lo, a router there may translate: that is told as info; as a
  warning of IPv6, whose routers hardly ever do, where no baseline was so before; and as a fault where connections from
  the private one to several addresses of the Internet get no answer, and none stands.

Why it matters
  The route lost its "src" (a daemon was restarted, somebody typed the default route anew), and the uplink has no
  address of its own to fall back on: the kernel then takes the first address of any interface. Or the uplink has two,
  the private one came first, and the gateway is in the subnet of neither (onlink). Everything that this host itself
  opens hangs: DNS, updates, probes. What others open still works, since answers carry the address that was
  asked, so that monitoring from outside stays green.

Confirm
  ip route get 198.51.100.77            ("src" is what such a packet gets)
  ip -br address                        (whose address that is)
  nft list ruleset                      (no masquerade or snat for that interface)

Fix
  ip route replace default via GATEWAY dev IFNAME src PUBLIC, the same route with the public address as its source: new
  connections use it at once, open ones keep what they have. Where BIRD makes the route: krt_prefsrc = PUBLIC in the
  export filter of its kernel protocol. Then make it last, in the configuration that made the route.

Not flagged
  Sources that are rewritten on the way out (snat, masquerade), or may be. A source on the outgoing interface itself
  where it has no public address, or the next hop is private, link-local or none: a router there may translate, and a
  public address beside it is then that of a service, as is one on lo where BGP announces something (but see above).
  Private loopback addresses that the route names: a fabric that translates at its border. Public sources wherever they
  are, anycast on lo among them. Hosts without any public address, but for the address of a tunnel that no BGP session
  may have told others of. Ways out through a tunnel or a VRF.

References
  net/ipv4/devinet.c inet_select_addr(); net/ipv4/fib_semantics.c fib_result_prefsrc(); RFC 6724 section 5; RFC 1918;
  https://fly.io/docs/networking/udp-and-tcp/
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from netdiag.index.encapsulation import tunnel
from netdiag.index.netfilter import Netfilter
from netdiag.index.nftpacket import Packet
from netdiag.index.packet import Hop, Lookup, Query
from netdiag.index.source6 import Sources6
from netdiag.index.view import HostView
from netdiag.model.address import IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE, Address
from netdiag.model.finding import Draft, Unjudged
from netdiag.model.link import Link
from netdiag.model.nft import Nft, XtTable
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.route import Route
from netdiag.model.sockets import LISTEN, STATES, SYN_SENT
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.build_nft import chain, nat, rule, table
from netdiag.rules.build_sources import beside, better, by_private, edge
from netdiag.rules.routewords import ip_command, route_subject, route_words, table_word
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.sourcecases import sources_since

RULE = Rule(
    id="src-addr-selection-wrong",
    title="what the host sends to the Internet carries a source that nobody there can answer",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls"),
    consults=("nft", "bird", "sockets", "baseline"),
)
UNANSWERED = 2
"""Addresses of the Internet of which none answers."""
PRIVATE = [
    ipaddress.ip_network(prefix)
    for prefix in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8")
] + [ipaddress.ip_network(prefix) for prefix in ("fc00::/7", "fe80::/10", "::1/128")]
FAR = {
    "inet": ("198.51.100.77", "203.0.113.77", "8.8.8.8", "1.1.1.1"),
    "inet6": ("2001:db8:ffff::77", "2600::77", "2a00::77"),
}
"""Somewhere in the Internet: only looked up, never asked."""
UNUSABLE = IFA_F_DEPRECATED | IFA_F_TENTATIVE | IFA_F_DADFAILED
"""Not to be sent with, or not yet."""
CARRIERS = frozenset({"wireguard", "tun", "ppp", "xfrm", "vti", "vti6"})
RESTING = frozenset({"dummy", "vrf"})
"""Interfaces that are there to hold addresses, like lo."""


class Wrong(NamedTuple):
    """A packet with such a source."""

    dst: str
    answer: Lookup
    hop: Hop
    source: str
    owner: Link
    """The interface that has the source."""
    out: Link
    perhaps: bool = False
    """A router behind a private uplink may translate it."""


def private(address: str) -> bool:
    """Whether the Internet has no way to it."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in PRIVATE)


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    firewall = Netfilter(view.nft)
    for family in FAR:
        own = [row for row in view.addresses if row.family == family and not private(row.local) and row.scope == 0]
        public = [row for row in own if not row.flags & UNUSABLE]
        every = sorted(_wrong(view, family, firewall, public), key=lambda one: one.perhaps)
        wrong = next((one for one in every if public or _of_tunnel(view, one)), None)
        if wrong is None:
            continue
        if not public:
            public = [row for row in view.addresses if row.family == family and row.scope == 0]
        if view.unknown("nft"):
            yield Unjudged(reason="nft: not read, and the source may be rewritten on the way out")
            continue
        yield _draft(view, wrong, _best(view, public, wrong))


def _of_tunnel(view: HostView, wrong: Wrong) -> bool:
    """Of a host without public addresses: whether the route names a tunnel's address, though the way out has one of its
    own, and no BGP session tells anybody of it."""
    family = wrong.answer.query.family
    mine = any(r.ifindex == wrong.out.ifindex and r.family == family and r.scope == 0 for r in view.addresses)
    return mine and not _told(view) and (wrong.owner.kind in CARRIERS or tunnel(wrong.owner) is not None)


def _told(view: HostView) -> bool:
    """Whether a BGP session that stands tells others of something of this host."""
    sessions = (row for daemon in view.bird.daemons for row in daemon.protocols if row.proto == "BGP")
    return any(one.exported for row in sessions if row.state == "up" for one in row.channels)


def _wrong(view: HostView, family: str, firewall: Netfilter, public: list[Address]) -> Iterator[Wrong]:
    by_itself = Sources6(view.addresses, view.stack)
    for dst in FAR[family]:
        answer = view.lookup(Query(family=family, dst=dst))
        if answer.type != "unicast" or answer.alternatives:
            continue
        for hop in answer.hops:
            out = view.link(hop.oif)
            source = hop.src if family == "inet" else answer.prefsrc or by_itself.select(hop.oif, dst)
            if out is None or source is None or not private(source) or not _open(view, out):
                continue
            known = [view.link(row.ifindex) for row in view.local.owners(source)]
            owners = [link for link in known if link is not None]
            own = any(owner.ifindex == out.ifindex for owner in owners)
            perhaps = own and not _among_public(hop, out, public) and not _before(view, answer, hop)
            if not owners or (perhaps and not _resting(view, answer, hop, public)):
                continue
            if perhaps and _told(view) and _unheard(view, source) < UNANSWERED:
                continue  # an anycast service's, as a rule
            owner = out if own else owners[0]
            if _rests(owner) and answer.prefsrc is not None:
                continue
            if not _rewritten(firewall, family, (source, dst), out):
                yield Wrong(dst, answer, hop, source, owner, out, perhaps)


def _resting(view: HostView, answer: Lookup, hop: Hop, public: list[Address]) -> bool:
    """Whether the uplink was left to its private address by a route that could name a public one of lo."""
    links = [view.link(row.ifindex) for row in public]
    return hop.gateway is not None and answer.prefsrc is None and any(link and _rests(link) for link in links)


def _unheard(view: HostView, source: str) -> int:
    """How many addresses of the Internet do not answer connections from the source; 0 where one answered."""
    table = view.sockets
    tcp = (table.protocol == IPPROTO_TCP) & (table.state != LISTEN) & (table.dport != 0)
    rows = [row for row in table.rows(tcp.nonzero()[0]) if row.src == source and not private(row.dst)]
    waiting = {row.dst for row in rows if row.state == STATES[SYN_SENT]}
    return len(waiting) if all(row.state == STATES[SYN_SENT] for row in rows) else 0


def _before(view: HostView, answer: Lookup, hop: Hop) -> str | None:
    """The public address of this host that such a packet got at the time of the baseline, when it went the same way."""
    old = view.baseline
    if old is None or not all(old.read_whole(table) for table in ("routes", "rules", "addresses")):
        return None
    then, ifname = old.lookup(answer.query), view.ifname(hop.oif)
    for one in then.hops:
        source = (one.src if answer.query.family == "inet" else None) or then.prefsrc
        if (old.ifname(one.oif), one.gateway) != (ifname, hop.gateway) or source is None or private(source):
            continue
        if view.local.owners(source):
            return source
    return None


def _among_public(hop: Hop, out: Link, public: list[Address]) -> bool:
    """Whether the way out is one of public addresses: a router among them does not translate a private one."""
    return hop.gateway is not None and not private(hop.gateway) and any(row.ifindex == out.ifindex for row in public)


def _open(view: HostView, out: Link) -> bool:
    """Whether the interface leads to the Internet by itself, not through something that carries it."""
    carried = out.kind in CARRIERS or tunnel(out) is not None
    return not carried and view.stack.vrf(out.ifindex) is None


def _rests(link: Link) -> bool:
    return link.loopback or link.kind in RESTING


def _rewritten(firewall: Netfilter, family: str, ends: tuple[str, str], out: Link) -> bool:
    """Whether some such packet gets another source, for certain or perhaps."""
    packet = Packet(
        family=family, saddr=ends[0], daddr=ends[1], oif=out.ifname, oifindex=out.ifindex, mark=None, uid=None
    )
    said = firewall.hook("postrouting", packet)
    return any(one.kind in ("snat", "masquerade") for one in said.translations) or any(
        table.name == "nat" for table in said.unseen
    )


def _best(view: HostView, public: list[Address], wrong: Wrong) -> str:
    """The public address that fits best: the outgoing interface's, then one of lo, then any."""

    def rank(row: Address) -> int:
        link = view.link(row.ifindex)
        if row.ifindex == wrong.out.ifindex:
            return 0
        return 1 if link is not None and _rests(link) else 2

    return min(public, key=rank).local


def _draft(view: HostView, wrong: Wrong, better: str) -> Draft:
    world = "to the world" if not private(better) else "on that interface"
    family = wrong.answer.query.family
    assert wrong.hop.route is not None  # it was looked up
    row: Route = view.route_rows(family, [wrong.hop.route])[0]
    words = route_words(view, row)
    command = ip_command(family)
    fix = f"{command} route replace {words} src {better}" if words else f"# add to the route: src {better}"
    why = f"the route names none, and {wrong.out.ifname} has none"
    if row.prefsrc:
        why = "the route names it"
    elif wrong.owner.ifindex == wrong.out.ifindex:
        why = f"the route names none, and it is the first of {wrong.out.ifname}"
    chosen_by_itself = _rests(wrong.owner)
    proof: list[tuple[str, object, str]] = []
    if wrong.perhaps:
        unheard = _unheard(view, wrong.source)
        if unheard >= UNANSWERED:
            proof.append(("addresses that do not answer it, and none that does", unheard, "INET_DIAG SYN-SENT"))
        chosen_by_itself = not proof and (family == "inet" or view.baseline is not None)
        why += ", and nobody answers it" if unheard >= UNANSWERED else ""
    return RULE.found(
        subject=route_subject(view, row),
        message=f"packets to the Internet by {wrong.out.ifname} carry the source {wrong.source} of "
        f"{wrong.owner.ifname}, which nobody there can answer: {why}; this host is {better} {world}",
        severity="warning" if private(better) or (wrong.perhaps and not proof) else "critical",
        confidence="possible" if chosen_by_itself else "likely",
        evidence=[
            (f"source to {wrong.dst}", wrong.source, f"table {table_word(row.table)} {row.dst}, RTM_GETADDR"),
            ("interface of that address", wrong.owner.ifname, "RTM_GETADDR"),
            ("address of this host that can be answered", better, "RTM_GETADDR"),
            *proof,
        ],
        confirm=[f"ip route get {wrong.dst}", "ip -br address", f"ip address show dev {quoted(wrong.out.ifname)}"],
        fix=fix,
    )


def examples() -> Iterator[Example]:
    def silent(name: str, why: str, host: HostBuilder) -> Example:
        return Example(name=name, why=why, tables=host.build())

    yield Example(
        name="source lost",
        why="the tunnel's address is the first of all",
        tables=edge().build(),
        fires=1,
        severity="critical",
        confidence="likely",
        says=("carry the source 10.8.0.1 of wg0", "src 203.0.113.7", "the route names none"),
    )
    yield Example(name="wireguard not read", why="it has no say", tables=edge().build(), late=("wireguard",), fires=1)
    yield Example(name="filter not read", why="it may translate", tables=edge().build(), late=("nft",), unjudged=True)
    yield Example(
        name="the tunnel's address named",
        why="the uplink has a public one",
        tables=edge(src="10.8.0.1", uplink="192.0.2.9/24", public=None).build(),
        fires=1,
        severity="critical",
        says=("the route names it", "src 192.0.2.9"),
    )
    yield from better()
    yield from _carried()
    six = HostBuilder().link("eth0").link("wg0", kind="wireguard", type=65534).address("wg0", "fd00:8::1/64")
    old = HostBuilder().link("eth0").link("wg0", kind="wireguard", type=65534).address("wg0", "fd00:8::1/64")
    old.address("lo", "2001:db8:7::7/128", flags=IFA_F_DEPRECATED)
    old.route("default", via="fe80::1", dev="eth0", prefsrc="fd00:8::1")
    yield silent("the public one is deprecated", "nothing better to send with", old)
    six.address("lo", "2001:db8:7::7/128")
    yield Example(
        name="unique local address to the world",
        why="the route names it",
        tables=six.route("default", via="fe80::1", dev="eth0", prefsrc="fd00:8::1").build(),
        fires=1,
        says=("fd00:8::1 of wg0", "src 2001:db8:7::7"),
    )
    good = HostBuilder().link("eth0").link("wg0", kind="wireguard", type=65534).address("wg0", "fd00:8::1/64")
    good.address("lo", "2001:db8:7::7/128").route("default", via="fe80::1", dev="eth0")
    yield silent("IPv6 without src", "RFC 6724 takes the public one by its label", good)
    good.address("eth0", "2001:db8:9::5/64").address("eth0", "fd00:9::5/64")
    yield silent("IPv6 without src, both on the uplink", "likewise", good)
    for flag in (IFA_F_TENTATIVE, IFA_F_DADFAILED):
        young = HostBuilder().link("eth0").address("eth0", "fd00:9::5/64")
        young.address("eth0", "2001:db8:9::5/64", flags=flag).route("default", via="2001:db8:9::1", dev="eth0")
        yield silent(f"IPv6, the public one has flag {flag:#x}", "it cannot be used, or not yet", young)
    lo = edge().address("lo", "203.0.113.9/32")
    yield silent("public address on lo", "lo comes first: the kernel takes that", lo)
    yield silent("source named", "as it should be", edge(src="203.0.113.7"))
    yield silent("private uplink", "behind somebody's NAT", edge(uplink="192.168.1.2/24"))
    yield silent("public uplink", "its own address is taken", edge(uplink="192.0.2.9/24"))
    yield silent("no public address", "nothing better to send with", edge(public=None))
    yield from _private_only()
    yield silent("tunnel with a public address", "the Internet can answer that", edge(wg="198.51.100.9/24"))
    fabric = edge(src="10.255.0.1").address("lo", "10.255.0.1/32")
    yield silent("private loopback named", "a fabric that translates at its border", fabric)
    chosen = HostBuilder().link("eth0").address("lo", "10.255.0.1/32").address("lo", "203.0.113.7/32")
    yield Example(
        name="private loopback chosen",
        why="it may be meant, or the source was lost",
        tables=chosen.route("default", dev="eth0", via="192.0.2.1", onlink=True).build(),
        fires=1,
        severity="info",
    )
    yield from beside()
    yield from by_private()
    yield from sources_since()
    full = HostBuilder().link("eth0").address("eth0", "192.0.2.9/24").link("wg0", kind="wireguard", type=65534)
    yield silent(
        "full tunnel", "its other end translates", full.address("wg0", "10.8.0.1/24").route("default", dev="wg0")
    )
    yield silent("no default route", "nothing goes there", edge().without_routes(table=254))
    yield silent("public in the other family", "IPv4 is translated", edge(public=None).address("lo", "2001:db8::7/128"))
    bound = edge(public=None).address("lo", "203.0.113.9/32", scope=254)
    yield silent("public for this host alone", "its scope forbids it outside", bound)
    taken = edge().without_routes(table=254).route("0.0.0.0/0", dev="lo", type="local", prefsrc="10.8.0.1")
    yield silent("everything is taken in", "nothing leaves", taken)
    anyip = edge(src="10.255.0.9").route("10.255.0.0/24", dev="lo", table=255, type="local", scope=254)
    yield silent("AnyIP named", "whose it is cannot be said", anyip)
    yield silent("the tunnel is gone meanwhile", "whose it is cannot be said", edge(src="10.8.0.1").vanished("wg0"))
    yield silent("the uplink is gone meanwhile", "what it was cannot be said", edge(src="10.8.0.1").vanished("eth0"))
    dummy = edge(src="10.255.0.1").link("dummy0", kind="dummy").address("dummy0", "10.255.0.1/32")
    yield silent("private dummy named", "a loopback by another name", dummy)
    half = edge().rule(100, table=100, unknown=1).route("default", dev="eth0", via="192.0.2.1", onlink=True, table=100)
    yield silent("a selector that is not known", "the other answer may have a source", half.rule(99, table=100, tos=4))


def _private_only() -> Iterator[Example]:
    """A host without a public address, whose default route names another private one than the uplink's own."""
    for name, why, fields, exported, fires in (
        ("names the tunnel's", "nobody out there has a way to it", {}, 0, 1),
        ("names the tunnel's, and tells BGP something", "the neighbour may know a way", {}, 3, 0),
        ("names the tunnel's, the uplink has none", "nothing better to send with", {"uplink": None}, 0, 0),
        ("names none", "the uplink's own is taken", {"src": None}, 0, 0),
        ("names its own", "as it should be", {"src": "192.168.1.2"}, 0, 0),
    ):
        made = edge(**({"src": "10.8.0.1", "uplink": "192.168.1.2/24", "public": None} | fields))  # type: ignore[arg-type]
        host = made.build()
        told = BirdHost().bgp("up1", channels=(channel(exported=exported),)).build()
        severity = "warning" if fires else None
        tables = replace(host, bird=told.bird)
        says = ("source 10.8.0.1 of wg0", "this host is 192.168.1.2 on that interface") if fires else ()
        yield Example(name=f"private, {name}", why=why, tables=tables, fires=fires, severity=severity, says=says)  # type: ignore[arg-type]
    fires, says = 1, ("source 10.8.0.1 of wg0", "this host is 192.168.1.2 on that interface")
    for name, fields in (
        ("of a session that is down", {"state": "start"}),
        ("of BIRD's kernel protocol", {"proto": "Kernel"}),
    ):
        of: dict[str, Any] = {"proto": "BGP", "state": "up", "channels": (channel(exported=3),)} | fields
        told = BirdHost().protocol("p1", **of).build()
        host = edge(src="10.8.0.1", uplink="192.168.1.2/24", public=None).build()
        why = "no neighbour hears it"
        yield Example(name=f"private, {name}", why=why, tables=replace(host, bird=told.bird), fires=fires, says=says)
    for name, address, scope in (
        ("has IPv6 alone", "2001:db8::2/64", 0),
        ("has one of the link", "192.168.1.2/24", 253),
    ):
        bare = edge(src="10.8.0.1", public=None).address("eth0", address, scope=scope)
        yield Example(name=f"private, the uplink {name}", why="nothing better to send with", tables=bare.build())
    gre = HostBuilder().link("eth0").address("eth0", "169.254.7.7/16", scope=253).address("eth0", "2001:db8::2/64")
    gre.address("eth0", "192.168.1.2/24").link("g0", kind="gre", type=778, info={"remote": "192.0.2.99"})
    gre.address("g0", "10.8.0.1/24").route("default", via="192.168.1.1", dev="eth0", prefsrc="10.8.0.1")
    says = ("source 10.8.0.1 of g0", "this host is 192.168.1.2 on that interface")
    yield Example(name="private, names a GRE tunnel's", why="likewise", tables=gre.build(), fires=1, says=says)
    inner = HostBuilder().link("eth0").address("eth0", "192.168.1.2/24").link("br0", kind="bridge")
    inner.address("br0", "10.9.0.1/24").route("default", via="192.168.1.1", dev="eth0", prefsrc="10.9.0.1")
    yield Example(name="private, names a bridge's", why="the router may know its network", tables=inner.build())


def _carried() -> Iterator[Example]:
    """Ways that do not lead to the Internet by themselves, and sources that are translated."""

    def silent(name: str, why: str, host: HostBuilder) -> Example:
        return Example(name=name, why=why, tables=host.build())

    def by(**link: Any) -> HostBuilder:
        host = HostBuilder().link("br0", kind="bridge").address("br0", "203.0.113.7/24").link("up0", **link)
        host.link("wg0", kind="wireguard", type=65534).address("wg0", "10.8.0.1/24")
        return host.route("default", dev="up0", prefsrc="10.8.0.1")

    yield Example(name="by a card", why="the same as by a gateway", tables=by().build(), fires=1)
    yield silent("by PPP", "its far end decides", by(kind="ppp", type=512))
    yield silent("by GRE", "its far end decides", by(kind="gre", type=778, info={"remote": "192.0.2.99"}))
    vrf = HostBuilder().link("red", kind="vrf", info={"table": 254}).link("eth0", master="red")
    vrf.link("br0", kind="bridge").address("br0", "203.0.113.7/24").link("wg0", kind="wireguard", type=65534)
    vrf.address("wg0", "10.8.0.1/24").route("default", dev="eth0", prefsrc="10.8.0.1")
    yield silent("by a VRF", "a network of its own", vrf)
    snat = chain("post", rule(nat("snat", "203.0.113.7")), hook="postrouting", priority="srcnat", type="nat")
    yield silent("translated", "the Internet sees the public one", edge().nft(table(snat, name="nat")))
    for name, fires in (("nat", 0), ("filter", 1)):
        legacy = replace(edge().build(), nft=Nft(xtables=(XtTable(family="ip", name=name),)))
        yield Example(name=f"iptables-legacy, {name}", why="only nat translates", tables=legacy, fires=fires)
