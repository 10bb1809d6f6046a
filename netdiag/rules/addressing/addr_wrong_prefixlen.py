"""What it checks
  The prefix length of an address does not fit what else is known of its subnet: the broadcast address belongs to
  another length; another address of the same interface and subnet has another length; a gateway of the interface lies
  beside its prefix, in the net around it (/24, /64), and nothing else attaches that gateway; or a guest on a bridge or
  tap does; or somebody opens TCP connections to this host from an address that the prefix has on the wire, where
  nobody answers for it, while a gateway of the interface is known there; or the intent says another one; or it had a
  shorter length at the time of the baseline, with a gateway or a neighbour inside that is in no prefix now; or a
  longer one then, and nobody answers in what was added; or it is the only address of an Ethernet interface, alone in
  its prefix (/32, /128), with no route at all by that interface, while neighbours of the surrounding net are known
  there, or a BGP session waits for one that BIRD finds on no interface, or IPv4 has no other route at all and packets
  were refused, or its policy rule's table is empty.

Why it matters
  Too long: neighbours on the same wire are sent to the gateway, or nowhere; a gateway outside the prefix cannot be
  used ("Nexthop has invalid gateway"). Too short: hosts behind the gateway are looked for on the wire and do not
  answer.

Confirm
  ip address show dev IFNAME
  ip route show dev IFNAME

Fix
  ip address add ADDRESS/LENGTH dev IFNAME, then ip address del of the wrong one: the address itself stays, its
  connected route changes at once. Routes that went by the old prefix are deleted with it: make them again.

Not flagged
  Single addresses (/32) beside one with the subnet, or on a macvlan whose lower interface has it (VRRP with a virtual
  MAC): virtual addresses. /32 with an onlink gateway or a host route to it, as clouds have it; on loopback, tunnels and
  point-to-point interfaces. A broadcast address that was left out, or is all ones. A length that changed since the
  baseline and that nobody is known to miss: info. A gateway outside every prefix and far from them all, or beside one
  of several addresses: see route-onlink-missing-gateway. What the neighbours have configured: a fleet's snapshots tell.

References
  net/ipv4/devinet.c, net/ipv4/fib_frontend.c fib_add_ifaddr(), ip-address(8)
"""

import ipaddress
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from netdiag.index.view import HostView
from netdiag.index.ways import led_by
from netdiag.model.address import Address
from netdiag.model.finding import Draft, Severity, Subject, subject
from netdiag.model.link import IFF_BROADCAST, IFF_NOARP, Link
from netdiag.model.route import RTN_UNICAST, RTNH_F_ONLINK
from netdiag.rules.bgpsessions import down_severity
from netdiag.rules.build import HostBuilder
from netdiag.rules.gatewaysbeside import (
    any_route,
    gateway_beside,
    gateways,
    guest_beside,
    guest_examples,
    in_net,
    length_examples,
    length_of,
    lost_by_length,
)
from netdiag.rules.heardbeyond import heard_beyond, heard_examples
from netdiag.rules.lengths import changed, changed_examples, emptied, otherwise_meant, shared_with, subnet_below
from netdiag.rules.routewords import around, ip_command
from netdiag.rules.sessionsbeside import awaited, awaited_examples
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.waysmeant import OUT

RULE = Rule(
    id="addr-wrong-prefixlen",
    title="the prefix length of an address does not fit its subnet",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "counters"),
    consults=("bird", "sysctls", "sockets", "baseline", "intent.address"),
    explains=(
        "addr-missing-expected-lo32",
        "route-onlink-missing-gateway",
        "route-*-missing",
        "neigh-*",
        "bgp-*",
        "wg-endpoint-unroutable",
        "nf-orphan-dnat-to-dead",
        "rule-references-empty-table",
    ),
    family="each",
)


class Misfit(NamedTuple):
    """Why a length does not fit, and the one that would."""

    why: str
    length: int | None
    severity: Severity
    guest: str | None = None
    """An address that should have a route of its own: the length is meant."""
    waits: Subject | None = None
    """A BGP session that waits for the subnet, or the entry of the gateway that is in none."""


def misfit(view: HostView, row: Address, link: Link, used: dict[tuple[int, str], list[str]]) -> Misfit | None:
    """What speaks against the prefix length of an address. ``used``: see gateways()."""
    single = row.prefixlen == (32 if row.family == "inet" else 128)
    net = ipaddress.ip_network(f"{row.local}/{row.prefixlen}", strict=False)
    if row.broadcast not in (None, "255.255.255.255", str(net.broadcast_address)):
        meant = length_of(row.local, str(row.broadcast))
        pair = row.prefixlen == 31
        if meant is not None and not pair and not (single and _routed(view, row, link)):
            return Misfit(f"its broadcast address {row.broadcast} is that of a /{meant}", meant, "warning")
    for other in view.addresses:
        if other.ifindex != row.ifindex or single or other.scope != row.scope:
            continue
        wider = ipaddress.ip_network(f"{other.local}/{other.prefixlen}", strict=False)
        if wider.prefixlen < row.prefixlen and ipaddress.ip_address(row.local) in wider:
            return Misfit(f"{other.local} on the same interface has /{other.prefixlen}", other.prefixlen, "warning")
    lost = lost_by_length(view, row)
    if lost is not None:
        why = f"with the /{lost[1]} that it had at the time of the baseline it had gateway {lost[0]} in it"
        return Misfit(why, lost[1], "critical", waits=subject("neighbour", dst=lost[0], ifname=link.ifname))
    other_length = otherwise_meant(view, row, link) or changed(view, row, link)
    if other_length is not None:
        return Misfit(*other_length)
    beside = gateway_beside(view, row, used)
    if beside is not None:
        both = next(length for length in range(row.prefixlen, 0, -1) if in_net(row.local, length, beside))
        both = min(both, 24) if single else both  # a guess: what is around it
        both = both if row.family == "inet" else 64
        why = f"gateway {beside} of {link.ifname} is next to it and in no prefix of {link.ifname}"
        return Misfit(why, both, "warning", waits=subject("neighbour", dst=beside, ifname=link.ifname))
    beyond = None if single else heard_beyond(view, row, link, used.get((link.ifindex, row.family), ()))
    if beyond is not None:
        caller, meant = beyond
        why = f"{caller} calls from beyond {link.ifname}, and does not answer on it, where its prefix looks for it"
        return Misfit(why, meant, "warning", waits=subject("neighbour", dst=caller, ifname=link.ifname))
    missed = None if single else guest_beside(view, row, link)
    if missed is not None:
        both = next(length for length in range(row.prefixlen, 0, -1) if in_net(row.local, length, missed))
        return Misfit(f"guest {missed} is in no prefix of {link.ifname}", both, "warning")
    if single and not _routed(view, row, link) and not subnet_below(view, row, link):
        near = _neighbours(view, row, link)
        shared = shared_with(view, row)
        session = None if near or shared else awaited(view, row)
        if session is not None and (at := session.protocol.neighbor_address):
            why = f"{at} of BGP session {session.name} is next to it and in no prefix of {link.ifname}"
            return Misfit(why, None, down_severity(view, session), waits=session.subject)
        if near and shared:
            why = f"{shared} has it too, and no route leads over {link.ifname} to {near}"
            return Misfit(why, None, "warning", near)
        if near:
            return Misfit(f"its neighbour {near} is in no prefix of {link.ifname}", None, "warning")
        if emptied(view, row) and not shared:
            return Misfit("it has no subnet, and the table of its policy rule has no route", None, "warning")
        refused = view.latest.snmp.get(OUT["inet"], 0)
        if row.family == "inet" and refused and not any_route(view):
            why = f"it has no subnet, IPv4 has no route at all, and {refused} packets were refused"
            return Misfit(why, None, "critical")
    return None


def _routed(view: HostView, row: Address, link: Link) -> bool:
    """Whether anything but the address itself is routed by the interface."""
    routes = view.routes(row.family)
    mine = led_by(routes, link.ifindex) & (routes.type == RTN_UNICAST)
    if row.family == "inet6":
        own = np.frombuffer(ipaddress.ip_address(row.local).packed, np.uint8)
        mine &= ~((routes.dst[:, 0] == 0xFE) & (routes.dst[:, 1] == 0x80))
        mine &= (routes.dst != own).any(axis=1)
    return bool(mine.any())


def _neighbours(view: HostView, row: Address, link: Link) -> str | None:
    """A neighbour on the interface that lies in the net around the address (/24, /64)."""
    around = ipaddress.ip_network(f"{row.local}/{24 if row.family == 'inet' else 64}", strict=False)
    table = view.neighbours
    for entry in table.rows(np.flatnonzero((table.ifindex == link.ifindex) & (table.lladdr_len > 0))[:64]):
        if ipaddress.ip_address(entry.dst) in around:
            return entry.dst
    return None


def check(view: HostView) -> Iterator[Draft]:
    used = gateways(view)
    for row in view.addresses:
        link = view.link(row.ifindex)
        if link is None or not link.up or row.peer is not None or row.scope != 0:
            continue
        found = misfit(view, row, link, used) if link.flags & IFF_BROADCAST and not link.flags & IFF_NOARP else None
        if found is None:
            continue
        dev, old = quoted(link.ifname), f"{row.local}/{row.prefixlen}"
        length = found.length if found.length is not None else "LENGTH"
        fix = f"ip address add {row.local}/{length} dev {dev} && ip address del {old} dev {dev}"
        what = "has a prefix length that does not fit"
        if found.guest:
            fix = f"{ip_command(row.family)} route replace {found.guest}/{row.prefixlen} dev {dev}"
            what = "is alone there"
        yield RULE.found(
            subject=subject("address", ifname=link.ifname, address=old),
            message=f"{old} on {link.ifname} {what}: {found.why}",
            severity=found.severity,
            confidence="possible" if found.severity == "info" else None,
            evidence=[
                (f"prefix length of {row.local}", row.prefixlen, f"RTM_GETADDR {link.ifname} ifa_prefixlen"),
                ("what speaks against it", found.why, "RTM_GETADDR IFA_BROADCAST IFA_LOCAL, RTM_GETNEIGH"),
            ],
            confirm=[f"ip address show dev {dev}", f"ip neigh show dev {dev}; ip route show table all dev {dev}"],
            fix=fix,
            touches=[subject("link", ifname=link.ifname)],
            breaks=[
                subject("route", dst=str(ipaddress.ip_interface(old).network), table=254),
                subject("route", dst="0.0.0.0/0" if row.family == "inet" else "::/0", table=254),
                *([found.waits] if found.waits else []),
                around(row.local),
                *emptied(view, row),
                subject("address", address=row.local, ifname=link.ifname),
            ],
        )


def _host(prefix: str = "10.0.0.5/24", **fields: Any) -> HostBuilder:
    return HostBuilder().link("eth0").address("eth0", prefix, **fields)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    yield from length_examples(subject("address", ifname="eth0", address="10.0.4.5/24"))
    typed = _host("10.0.0.5/25", broadcast="10.0.0.255")
    yield _case("broadcast of a shorter length", "a /25 was typed", typed, 1, says=("that of a /24",))
    yield from guest_examples()
    yield from changed_examples(_host)
    yield from heard_examples()
    yield _case("broadcast of its length", "the ordinary case", _host(broadcast="10.0.0.255"))
    yield _case("no broadcast", "ip address add sets none", _host("10.0.0.5/25"))
    yield _case("all ones", "it fits every subnet", _host(broadcast="255.255.255.255"))
    yield _case("broadcast of no length", "made up; nothing follows", _host(broadcast="10.0.0.77"))
    yield _case("two lengths", "one of them is wrong", _host().address("eth0", "10.0.0.6/25"), 1, says=("has /24",))
    yield _case("two subnets", "a second net on the wire", _host().address("eth0", "10.0.1.6/25"))
    yield _case("virtual address", "a /32 beside the subnet", _host().address("eth0", "10.0.0.6/32"))
    wired = _host("10.0.0.5/32").neighbour("10.0.0.1", dev="eth0")
    yield _case("/32 alone, with a neighbour", "the wire has a subnet", wired, 1)
    yield _case("/32 alone", "nothing is known there", _host("10.0.0.5/32"))
    cloud = _host("10.0.0.5/32").neighbour("10.0.0.1", dev="eth0")
    yield _case("cloud", "its gateway is onlink", cloud.route("default", via="10.0.0.1", dev="eth0", onlink=True))
    wired.route("default", hops=[wired.hop("eth0", f"10.0.0.{at}", flags=RTNH_F_ONLINK) for at in (1, 2)])
    yield _case("cloud, two gateways", "the same", wired)
    six = _host("2001:db8::5/128").neighbour("2001:db8::1", dev="eth0").route("2001:db8::5/128", dev="eth0")
    yield _case("IPv6 /128 alone", "the same", six, 1)

    guests = _host("10.0.0.5/32").neighbour("10.0.0.7", dev="eth0").link("eth1").address("eth1", "10.0.0.5/32")
    guests.route("10.0.0.8/32", dev="eth1")
    yield _case(
        "unnumbered, a guest without its route",
        "the length is meant",
        guests,
        1,
        says=("eth1 has it too", "route replace 10.0.0.7/32 dev eth0"),
        severity="warning",
    )
    idle = _host("10.0.0.5/32").link("eth1").address("eth1", "10.0.0.5/32")
    yield _case("unnumbered, no guest yet", "nobody is there", idle)
    single = _host("10.0.0.5/32").neighbour("10.0.0.7", dev="eth0").link("eth1").address("eth1", "10.0.0.9/32")
    yield _case("another single address elsewhere", "not the same", single, 1, says=("no prefix of eth0",))
    six = _host("2001:db8::5/128").neighbour("2001:db8::7", dev="eth0").route("2001:db8::7/128", dev="eth0")
    yield _case("unnumbered, IPv6", "the guest has its route", six.route("2001:db8::5/128", dev="eth0"))
    wider = _host("10.0.0.5/32").neighbour("10.0.0.7", dev="eth0").link("eth1").address("eth1", "10.0.0.5/24")
    yield _case("the subnet is elsewhere", "another length there", wider, 1, says=("no prefix of eth0",))

    def upper(lower: str, at: str = "eth0", **link: Any) -> HostBuilder:
        host = HostBuilder().link("eth0").link("eth1").address(at, lower)
        host.link("vrrp.51", link=host.ifindex("eth0"), **{"kind": "macvlan", **link})
        return host.address("vrrp.51", "10.0.0.5/32").neighbour("10.0.0.1", dev="vrrp.51")

    yield _case("VRRP's master", "its virtual MAC's macvlan; the subnet is below", upper("10.0.0.4/24"))
    yield _case("macvlan over another subnet", "nothing leads back", upper("10.0.9.4/24"), 1)
    yield _case("macvlan beside the subnet", "it is on another card", upper("10.0.0.4/24", "eth1"), 1)
    yield _case("macvlan over the same single address", "no subnet there either", upper("10.0.0.5/32"), 1)
    yield _case("VLAN over the subnet", "another segment", upper("10.0.0.4/24", kind="vlan"), 1)
    yield _case("macvlan over another namespace's", "that subnet is not ours", upper("10.0.0.4/24", link_netnsid=0), 1)
    wg = HostBuilder().link("wg0", kind="wireguard", flags=0x10091).address("wg0", "10.0.0.5/32")
    yield _case("tunnel", "it has no subnet", wg)
    yield _case("lo", "anycast addresses", HostBuilder().address("lo", "10.0.0.5/32").address("lo", "10.0.0.6/24"))
    yield from _near_misses()


def _near_misses() -> Iterator[Example]:
    """Each side of what is compared."""

    def near(prefix: str = "10.0.0.5/32", at: str = "10.0.0.1", **fields: Any) -> HostBuilder:
        return _host(prefix, **fields).neighbour(at, dev="eth0")

    warns: dict[str, Any] = {"severity": "warning"}
    typed = _host("10.0.0.5/32", broadcast="10.0.0.255")
    yield _case("/32 with the broadcast of a /24", "a 24 was left out", typed, 1, says=("that of a /24",), **warns)
    routed = _host("10.0.0.5/32", broadcast="10.0.0.255").route("10.7.0.0/16", via="10.0.0.1", dev="eth0", onlink=True)
    yield _case("the same, routed on link", "a cloud's agent leaves the broadcast", routed)
    yield _case(
        "broadcast of a /30", "the longest with one", _host("10.0.0.5/25", broadcast="10.0.0.7"), 1, says=("of a /30",)
    )
    yield _case("broadcast of a /8", "the shortest", _host("10.0.0.5/25", broadcast="10.255.255.255"), 1, **warns)
    yield _case("broadcast of a /7", "nobody has such a net", _host("10.0.0.5/25", broadcast="11.255.255.255"))
    yield _case("broadcast of a /31", "it is the neighbour", _host("10.0.0.4/25", broadcast="10.0.0.5"))
    half = _host("10.0.0.5/24", broadcast="10.0.0.127")
    yield _case("broadcast of a /25", "a /24 was typed", half, 1, says=("that of a /25",), **warns)
    pair = _host("10.0.0.4/31", broadcast="10.0.0.255")
    yield _case("/31 with a broadcast", "a pair has none, whatever is set", pair)
    yield _case("/30 with another's", "it has one", _host("10.0.0.5/30", broadcast="10.0.0.255"), 1)
    both = _host("10.0.0.5/24", scope=253).address("eth0", "10.0.0.6/25")
    yield _case("two lengths, one for the link alone", "another scope", both)
    lo = HostBuilder().address("lo", "10.0.0.5/24").address("lo", "10.0.0.6/25")
    yield _case("two lengths on lo", "AnyIP: whole nets are taken in", lo)
    yield _case("gone meanwhile", "what it was cannot be said", near().vanished("eth0"))
    yield _case("a subnet that is not routed", "somebody set noprefixroute", near("10.0.0.5/24", flags=0x280))
    vrf = near().link("red", kind="vrf").route("10.0.0.5/32", dev="eth0", table=10, type="local", scope=254)
    yield _case("/32 in a VRF", "its local route is in the VRF's table", vrf, 1)
    pair = near().address("eth0", "10.0.0.6/32")
    yield _case("two of them", "neither has the subnet", pair, 2)
    apart = _host("10.0.0.5/24").link("eth1").address("eth1", "10.0.0.6/25")
    yield _case("two lengths on two cards", "overlap-subnet-two-ifaces", apart)
    six = _host("2001:db8::5/64").address("eth0", "2001:db8::6/80")
    yield _case("two lengths of IPv6", "the same", six, 1, says=("has /64",), **warns)
    alone6 = near("2001:db8::5/128", "2001:db8::1").route("ff00::/8", dev="eth0", table=255, type="multicast")
    alone6.route("fe80::/64", dev="eth0").route("fe80::5/128", dev="eth0")
    yield _case("/128 with what every link has", "link-local and multicast routes are no subnet", alone6, 1, **warns)
    real6 = near("2001:db8::5/128", "2001:db8::1").route("2001:db8::/64", dev="eth0")
    yield _case("/128 and a route for the link", "a router told the prefix", real6)
    yield _case("/128 and a route of one bit less", "a pair is a subnet", near("2001:db8::5/128", "2001:db8::4")
                .route("2001:db8::4/127", dev="eth0"))  # fmt: skip
    yield _case(
        "the other family has a subnet", "it says nothing of this one", near().address("eth0", "2001:db8::1/64"), 1
    )
    yield _case("another address has the subnet", "it is a service address", near().address("eth0", "10.0.0.6/24"))
    link = near().address("eth0", "169.254.3.4/16", scope=253)
    yield _case("another address of the link alone", "it has no say", link.without_routes(table=254), 1, **warns)
    yield _case("neighbour of the other family", "nobody of this one is there", near(at="fe80::1"))
    yield _case("neighbour far away", "it is reached on link", near(at="10.9.9.9"))
    yield _case("neighbour that never answered", "nobody may be there", _host("10.0.0.5/32").neighbour(
        "10.0.0.1", dev="eth0", state="failed"))  # fmt: skip
    yield _case("neighbour on another card", "that is another segment", _host("10.0.0.5/32").link("eth1").neighbour(
        "10.0.0.1", dev="eth1"))  # fmt: skip
    yield _case("address with a peer", "it is meant to be single", near(peer="10.0.0.1"))
    yield _case("address of the link alone", "its scope says so", near(scope=253))
    down = HostBuilder().link("eth0", up=False).address("eth0", "10.0.0.5/32").neighbour("10.0.0.1", dev="eth0")
    yield _case("card that is down", "nothing is used there", down)
    quiet = HostBuilder().link("eth0", flags=0x110C3).address("eth0", "10.0.0.5/32").neighbour("10.0.0.1", dev="eth0")
    yield _case("card without ARP", "it has no neighbours to look for", quiet)
    yield from awaited_examples()
    yield from _gateways_beside()
    yield from _nothing_else()


def _gateways_beside() -> Iterator[Example]:
    """A gateway of the interface that its prefix just misses."""

    def via(prefix: str = "192.0.2.130/25", at: str = "192.0.2.1", **fields: Any) -> HostBuilder:
        return _host(prefix).route("default", **({"via": at, "dev": "eth0"} | fields))

    warns: dict[str, Any] = {"fires": 1, "severity": "warning", "says": ("gateway 192.0.2.1 of eth0 is next to it",)}
    to24 = ("address add 192.0.2.130/24 dev eth0",)
    yield _case("a /25 without its gateway", "a /24 was meant", via(), **(warns | {"says": to24}))
    yield _case(
        "a /32 without its gateway", "nor is it on link", via("192.0.2.2/32"), **(warns | {"says": ("2.2/24 dev",)})
    )
    host = via("192.0.2.66/26", "192.0.2.120")
    yield _case("a /26 with its gateway", "the last half of its quarter", host)
    host = via("192.0.2.66/27", "192.0.2.120")
    yield _case("a /27 without it", "a /26 holds both", host, 1, says=("192.0.2.66/26",))
    six = via("2001:db8::5/128", "2001:db8::1").route("2001:db8::5/128", dev="eth0")
    yield _case("a /128 without its gateway", "the same", six, 1, says=("address add 2001:db8::5/64",))
    for at, fires in (("2001:db8:0:0:8000::1", 1), ("2001:db8:0:1::1", 0)):
        host = via("2001:db8::5/128", at).route("2001:db8::5/128", dev="eth0")
        yield _case(f"a /128 and the gateway {at}", "beside it is what a /64 holds", host, fires)
    yield _case("a gateway on link", "as clouds have it", via("192.0.2.2/32", onlink=True))
    yield _case(
        "a gateway with a host route", "as clouds have it", via("192.0.2.2/32").route("192.0.2.1/32", dev="eth0")
    )
    yield _case("a gateway of another net", "route-onlink-missing-gateway speaks", via(at="192.0.3.1"))
    wide = _host("192.0.0.2/23").route("default", via="192.0.2.1", dev="eth0")
    yield _case("beside a wider prefix", "how wide it was meant to be is not told", wide)
    two = via().address("eth0", "192.0.2.200/25")
    yield _case("two addresses", "which one is wrong?", two)
    card = _host("192.0.2.130/25").link("eth1").route("default", via="192.0.2.1", dev="eth1")
    yield _case("a gateway of another card", "it is not this one's", card)
    bare = _host("192.0.2.2/25").without_routes(table=254).route("default", via="192.0.2.1", dev="eth0")
    yield _case("its own prefix without its route", "route-onlink-missing-gateway speaks", bare)
    own = via().address("lo", "192.0.2.1/32")
    yield _case("a gateway that is this host", "packets stay here", own)


def _nothing_else() -> Iterator[Example]:
    """A single address, and no route of IPv4 anywhere."""

    def bare(refused: int = 3, prefix: str = "10.0.0.5/32") -> HostBuilder:
        counted = {"snmp": {OUT["inet"]: refused}}
        return _host(prefix).counters(before=counted, after=counted)

    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "says": ("IPv4 has no route at all, and 3 packets",)}
    yield _case("/32 and no route", "somebody tries to get out", bare(), **crit)
    yield _case("/32 and no route, nothing sent", "it may be meant for IPv6 alone", bare(0))
    lo = bare().route("10.9.0.0/16", dev="lo")
    yield _case("/32 and a route to lo", "that leads to nobody", lo, **crit)
    null = bare().route("10.9.0.0/16", type="blackhole", family="inet")
    yield _case("/32 and a blackhole", "nor does that", null, **crit)
    card = bare().link("eth1").address("eth1", "10.1.0.5/24")
    yield _case("/32 and another card", "that one has its subnet", card)
    six = HostBuilder().link("eth0").address("eth0", "2001:db8::5/128")
    counted = {"snmp": {OUT["inet"]: 3}}
    yield _case("/128 and refused packets of IPv4", "another family", six.counters(before=counted, after=counted))
    multi = bare().link("eth1")
    multi.route("10.9.0.0/16", hops=[multi.hop("eth1", "10.1.0.1"), multi.hop("eth1", "10.1.0.2")])
    yield _case("/32 and a route of two ways", "there is a way out", multi)
