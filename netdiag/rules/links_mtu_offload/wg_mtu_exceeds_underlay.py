"""What it checks
  A WireGuard interface whose MTU is more than what is left of the way to a peer's endpoint: the MTU of the route that
  the encrypted packets take (with the device's fwmark) or of its interface, or a path MTU that was learnt for the
  endpoint, less 60 bytes for an IPv4 endpoint and 80 for an IPv6 one. Every peer with an endpoint is asked about,
  every leg of a multipath route, and an mtu on the routes to a peer's allowed addresses counts. The narrowest way is
  reported, once for each device. Where the interface below is one end of a cable (veth) whose other end has room
  enough, the report says that this end shrank.

Why it matters
  Handshakes, pings and logins pass, bulk transfers hang. WireGuard never sets DF on its packets, so that this host
  cuts each one that is too long into two fragments. Many firewalls, load balancers and NATs on the way drop
  fragments, silently; where they pass, every full-sized packet costs two, and one lost fragment loses both. The far
  end sends its own full-sized packets into the same narrow way, and there they can be dropped whole. Nobody behind
  the tunnel is told to send less: the packet did fit the tunnel's own MTU. Therefore critical, although this host
  itself loses nothing.

Confirm
  ip link show dev IFNAME
  ip route get ENDPOINT (with "mark FWMARK" where the device has one)
  nstat -az IpFragCreates Ip6FragCreates, twice during a transfer: it rises by two for each full-sized packet

Fix
  ip link set dev IFNAME mtu MTU, with MTU = the underlay's - 60 if all endpoints are IPv4, - 80 else; also at the far
  ends, and in the configuration (MTU= of wg-quick). Established TCP connections go on, with shorter segments. Below
  1280 the interface loses IPv6. For one peer behind a narrow way: an mtu on the routes to its allowed addresses. Or
  raise the MTU of the underlay, if the whole way can carry that; where one end of a cable shrank, that is the fix.

Not flagged
  An MTU that fits to the byte: 1440 on 1500 where every endpoint is IPv4, 1420 with any, more on a jumbo underlay. A
  device that is down. Peers without an endpoint, with an endpoint that no route leads to, or one that leads into the
  device itself (wg-endpoint-via-own-tunnel). Peers of up to 64 allowed prefixes, each of them routed with an mtu that
  fits. MTUs further on that nobody told this host of: only "netdiag probe mtu" sees those.

References
  drivers/net/wireguard/socket.c send4() send6(), messages.h message_data_len(); net/ipv4/ip_output.c
  ip_dont_fragment(); RFC 8200 section 5; wg-quick(8) MTU
"""

import ipaddress
from collections.abc import Iterator
from typing import Any, NamedTuple

from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.pathmtu import PathMtu
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.build_wireguard import WireguardBuilder, key
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.underlay import Underlay, by_device, by_route
from netdiag.rules.wireguardpeers import device_subject, devices, peer_subject, query_to, source

RULE = Rule(
    id="wg-mtu-exceeds-underlay",
    title="a WireGuard interface takes packets that do not fit its underlay",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls", "wireguard"),
    consults=("path_mtus", "peer_links"),
    explains=("bgp-hold-mtu-stall", "link-mtu-peer-mismatch", "mss-clamp-missing", "pmtud-*"),
)

OVERHEAD = {"inet": 60, "inet6": 80}
"""Bytes: the endpoint's IP header 20 or 40, UDP 8, WireGuard's header 16 and authenticator 16."""
MOST_PREFIXES = 64
"""Allowed prefixes of a peer that are looked up; with more, the device's own MTU counts."""


class Tight(NamedTuple):
    """A peer whose packets do not fit."""

    fits: int
    """Bytes that the device's packets may have."""
    needed: int
    """Bytes that they can have."""
    peer: WireguardPeer
    query: Query
    way: Underlay


def narrowest(view: HostView, link: Link, query: Query) -> Underlay | None:
    """The narrowest way to an endpoint; None where none is known that leads out of another interface."""
    learnt = view.path_mtus if view.read_whole("path_mtus") else ()
    ways = [way for way in by_route(view, query, learnt) if way.link.ifindex != link.ifindex]
    return min(ways, key=lambda way: way.mtu, default=None)


def largest_inner(view: HostView, link: Link, peer: WireguardPeer) -> int:
    """Bytes of the longest packet that this host can send to a peer: its routes may say less than the device."""
    if not peer.allowed_ips or len(peer.allowed_ips) > MOST_PREFIXES:
        return link.mtu
    return max(_limit(view, link, prefix) for prefix in peer.allowed_ips)


def _limit(view: HostView, link: Link, prefix: str) -> int:
    network = ipaddress.ip_network(prefix)
    family = "inet" if network.version == 4 else "inet6"
    first = network.network_address + (1 if network.num_addresses > 1 else 0)
    answer = view.lookup(Query(family=family, dst=str(first), oif=link.ifindex))
    if answer.route is None:
        return link.mtu
    extra = view.route_rows(family, [answer.route])[0].extra
    return min(link.mtu, extra.metrics.get("mtu", link.mtu) if extra is not None else link.mtu)


def tight_peers(view: HostView, device: WireguardDevice, link: Link) -> Iterator[Tight]:
    """Every peer whose packets do not fit the way to it; an endpoint is asked for once."""
    known: dict[Query, Underlay | None] = {}
    for peer in device.peers:
        query = query_to(device, peer)
        if query is None:
            continue
        if query not in known:
            known[query] = narrowest(view, link, query)
        way = known[query]
        if way is None or link.mtu <= way.mtu - OVERHEAD[query.family]:
            continue
        fits, needed = way.mtu - OVERHEAD[query.family], largest_inner(view, link, peer)
        if needed > fits:
            yield Tight(fits, needed, peer, query, way)


def surely_fits(view: HostView, link: Link) -> bool:
    """Whether no interface and no route here is so narrow that any endpoint could be a problem: thousands of peers
    need not be looked up then."""
    limits = [by_device(other, "inet6").mtu for other in view.links if other.ifindex != link.ifindex]
    limits += [row.mtu for row in view.path_mtus]
    for family in OVERHEAD:
        limits += [extra.metrics["mtu"] for extra in view.routes(family).extras if "mtu" in extra.metrics]
    return link.mtu <= min(limits, default=0) - max(OVERHEAD.values())


def check(view: HostView) -> Iterator[Draft]:
    for device, link in devices(view):
        found = list(tight_peers(view, device, link)) if link.up and not surely_fits(view, link) else []
        if found:
            yield _finding(view, device, link, found)


def wider_end(view: HostView, tight: Tight) -> Link | None:
    """The other end of the cable below, where what does not fit this one would fit it, and an ordinary Ethernet."""
    far = view.stack.veth_peer(tight.way.link.ifindex)
    size = tight.needed + OVERHEAD[tight.query.family]
    return far if far is not None and tight.way.link.mtu < size <= min(far.mtu, ORDINARY) else None


def _finding(view: HostView, device: WireguardDevice, link: Link, found: list[Tight]) -> Draft:
    worst = min(found, key=lambda tight: (tight.fits, tight.peer.public_key))
    name, overhead = device.ifname, OVERHEAD[worst.query.family]
    others = f", as for {len(found) - 1} more of its {len(device.peers)} peers" if len(found) > 1 else ""
    mark = f" mark {device.fwmark:#x}" if device.fwmark else ""
    oif = f" oif {quoted(worst.way.link.ifname)}" if worst.query.oif is not None else ""
    below = worst.way.link.ifname
    far = wider_end(view, worst)
    shrank = f" (the other end of {below} has mtu {far.mtu})" if far else ""
    fix = f"ip link set dev {quoted(name)} mtu {worst.fits}  # and at the far ends"
    return RULE.found(
        subject=peer_subject(device, worst.peer) if len(found) == 1 else device_subject(device),
        message=f"{name} sends packets of up to {worst.needed + overhead} bytes into a way of {worst.way.mtu} to "
        f"{worst.peer.endpoint} by {below}{shrank}{others}: the longer ones are cut into fragments",
        evidence=[
            (f"{name} mtu", link.mtu, f"RTM_GETLINK {name} IFLA_MTU"),
            worst.way.source,
            *([(f"mtu of {far.ifname}, the other end of {below}", far.mtu, "RTM_GETLINK IFLA_MTU")] if far else []),
            (
                f"endpoint of {worst.peer.public_key}",
                worst.peer.endpoint,
                source(device, "WGPEER_A_ENDPOINT", "endpoint"),
            ),
        ],
        confirm=[f"ip link show dev {quoted(name)}", f"ip route get {quoted(worst.query.dst)}{oif}{mark}"],
        fix=f"ip link set dev {quoted(below)} mtu {far.mtu}  # or, where that is meant: {fix}" if far else fix,
        touches=[subject("link", ifname=name), *_ways(found)],
        breaks=[subject("link", ifname=name), *([subject("link", ifname=below)] if far else [])],
    )


ORDINARY = 1500


def _ways(found: list[Tight]) -> list[dict[str, str | int]]:
    """The interfaces below whose MTU may be what is wrong: what does not fit them would fit an ordinary Ethernet."""
    modest = [tight for tight in found if tight.needed + OVERHEAD[tight.query.family] <= ORDINARY]
    names = sorted({tight.way.link.ifname for tight in modest})
    return [subject("link", ifname=name) for name in names]


def examples() -> Iterator[Example]:
    yield from _size_examples()
    yield from _way_examples()
    yield from _learnt_examples()
    yield from _peer_examples()
    yield from _quiet_examples()


ABOUT = subject("wireguard-peer", ifname="wg0", public_key=key("a"))
SEVERAL = subject("wireguard-interface", ifname="wg0")
V4, V6 = "192.0.2.2", "2001:db8::2"


def _host(
    mtu: int,
    *,
    underlay: int = 1500,
    endpoint: str | None = V4,
    allowed_ips: tuple[str, ...] = ("10.0.0.2/32",),
    **fields: Any,
) -> WireguardBuilder:
    """A device with one peer, over eth0."""
    host = WireguardBuilder()
    host.link("eth0", mtu=underlay).address("eth0", "192.0.2.1/24").address("eth0", "2001:db8::1/64")
    return host.wireguard("wg0", mtu=mtu, **fields).wg_peer("wg0", "a", endpoint=endpoint, allowed_ips=allowed_ips)


def _cable(near: int, far: int) -> WireguardBuilder:
    """The same over one end of a cable; the endpoint is behind a router."""
    host = WireguardBuilder()
    host.link("eth0", kind="veth", mtu=near).peer("eth0", mtu=far).address("eth0", "192.0.2.1/24")
    host.route("default", via="192.0.2.254", dev="eth0")
    return host.wireguard("wg0", mtu=1420).wg_peer("wg0", "a", endpoint="198.51.100.9", allowed_ips=("10.0.0.2/32",))


def _size_examples() -> Iterator[Example]:
    for endpoint, underlay, fits in (
        (V4, 1500, 1440),
        (V6, 1500, 1420),
        (V4, 9000, 8940),
        (V6, 9000, 8920),
        (V4, 1492, 1432),
        (V6, 1492, 1412),
    ):
        what = f"endpoint {endpoint} over {underlay}"
        for userspace in (False, True):
            kind = "userspace" if userspace else "kernel"
            yield Example(
                name=f"{what}, one byte too much, {kind}",
                why="the smallest MTU that does not fit",
                tables=_host(fits + 1, underlay=underlay, endpoint=endpoint, userspace=userspace).build(),
                fires=1,
                subject=ABOUT,
                severity="critical",
                confidence="certain",
                says=(f"of up to {underlay + 1} bytes into a way of {underlay} to {endpoint} by eth0",),
            )
        yield Example(
            name=f"{what}, fits",
            why="equal to the byte is fine",
            tables=_host(fits, underlay=underlay, endpoint=endpoint).build(),
        )
    routed: dict[str, int] = {"mtu": 1400}
    for far, route, told in ((1500, {}, True), (1479, {}, False), (1480, {}, True), (1500, routed, False)):
        shrunk = _cable(1500 if route else 1400, far)
        if route:
            shrunk.route("198.51.100.0/24", via="192.0.2.254", dev="eth0", metrics=route)
        yield Example(
            name=f"a cable's end, the other one of {far}, {route or 'no mtu'} on the route",
            why="where it shrank, that is the cause, and the fix",
            tables=shrunk.build(),
            fires=1,
            subject=ABOUT,
            says=(f"(the other end of eth0 has mtu {far})", f"eth0 mtu {far}  # or")
            if told
            else ("by eth0: the longer",),
        )
    yield Example(
        name="underlay shrunk under the default MTU",
        why="the case of life: an uplink of 1400, the tunnel still at 1420",
        tables=_host(1420, underlay=1400).build(),
        fires=1,
        says=("wg0 mtu 1420", "eth0 mtu 1400", "packets of up to 1480 bytes"),
    )


def _way_examples() -> Iterator[Example]:
    def routed(inner: int, **metrics: int) -> WireguardBuilder:
        host = _host(inner, endpoint="198.51.100.9")
        host.route("198.51.100.0/24", via="192.0.2.254", dev="eth0", metrics=metrics)
        return host

    yield Example(
        name="mtu on the route to the endpoint",
        why="the way is narrower than the interface",
        tables=routed(1420, mtu=1479).build(),
        fires=1,
        subject=ABOUT,
        says=("mtu of route 198.51.100.0/24 1479",),
    )
    yield Example(name="mtu on the route that fits", why="1480 is enough", tables=routed(1420, mtu=1480).build())
    yield Example(name="another metric on the route", why="only mtu counts", tables=routed(1440, advmss=1000).build())
    narrow = _host(1420, underlay=9000)
    narrow.link("eth1", mtu=1400).address("eth1", "198.51.100.1/24")
    narrow.route("203.0.113.0/24", hops=[narrow.hop("eth0", "192.0.2.254"), narrow.hop("eth1", "198.51.100.254")])
    yield Example(
        name="one leg of a multipath route",
        why="the hash decides, so a share of the flows of its life may meet the narrow leg",
        tables=narrow.wg_peer("wg0", "b", endpoint="203.0.113.1").build(),
        fires=1,
        subject=subject("wireguard-peer", ifname="wg0", public_key=key("b")),
        says=("by eth1",),
    )
    for name, fwmark, fires in (("with the mark", 51820, 0), ("without the mark", 0, 1)):
        host = _host(1420, endpoint="198.51.100.9", fwmark=fwmark)
        host.link("ppp0", mtu=1400, type=512).route("default", dev="ppp0")
        host.route("default", via="192.0.2.254", dev="eth0", table=100).rule(100, fwmark=51820, table=100)
        yield Example(
            name=f"policy rule for encrypted packets, {name}",
            why="the way is looked up as the device sends",
            tables=host.build(),
            fires=fires,
        )
    nested = _host(1420, endpoint="10.1.0.2")
    nested.wireguard("wg1", mtu=1420).wg_peer("wg1", "b", endpoint=V4, allowed_ips=("10.1.0.0/24",))
    nested.address("wg1", "10.1.0.1/24")
    yield Example(
        name="a tunnel in a tunnel of the same MTU",
        why="1420 and 60 do not fit 1420; the outer one is fine",
        tables=nested.build(),
        fires=1,
        subject=ABOUT,
        says=("by wg1",),
    )
    for zone in ("2", "eth0"):
        scoped = _host(1421, endpoint=f"fe80::2%{zone}")
        yield Example(
            name=f"link-local endpoint by interface {zone}",
            why="the zone says by which link; the kernel tells its index, a daemon may tell its name",
            tables=scoped.address("wg0", "fe80::1/64").address("eth0", "fe80::1/64").build(),
            fires=1,
            says=(f"to fe80::2%{zone} by eth0",),
        )


def _learnt_examples() -> Iterator[Example]:
    for mtu, dst, fires in ((1479, V4, 1), (1480, V4, 0), (1400, "192.0.2.77", 0)):
        host = _host(1420)
        row = PathMtu(family="inet", dst=dst, mtu=mtu, ifindex=host.ifindex("eth0"), expires=500.0)
        yield Example(
            name=f"a path MTU of {mtu} was learnt for {dst}",
            why="what a router further on told is the way's MTU; for another destination it says nothing",
            tables=host.path_mtus(row).build(),
            fires=fires,
        )
    for wide, mtu, table, fires in ((1420, 1479, 254, 1), (1420, 1479, 100, 0), (1441, 9000, None, 1)):
        host = _host(wide)
        row = PathMtu(family="inet", dst=V4, mtu=mtu, ifindex=host.ifindex("eth0"), table=table)
        yield Example(
            name=f"a path MTU of {mtu} was learnt in table {table}",
            why="it belongs to one route; one from before the card's MTU was lowered makes the card no wider",
            tables=host.path_mtus(row).build(),
            fires=fires,
        )


def _peer_examples() -> Iterator[Example]:
    yield Example(
        name="two peers, one over IPv6",
        why="1440 fits the first; the second is named",
        tables=_host(1440).wg_peer("wg0", "b", endpoint=V6).build(),
        fires=1,
        subject=subject("wireguard-peer", ifname="wg0", public_key=key("b")),
    )
    yield Example(
        name="two peers, both too much",
        why="one finding for the device, which names the narrowest way",
        tables=_host(1500).wg_peer("wg0", "b", endpoint=V6).build(),
        fires=1,
        subject=SEVERAL,
        says=("1580 bytes into a way of 1500 to 2001:db8::2 by eth0, as for 1 more of its 2 peers",),
    )
    for name, limits, fires in (
        ("fits", [1340], 0),
        ("one byte more", [1341], 1),
        ("one prefix of two", [1340, None], 1),
        ("both prefixes", [1340, 1300], 0),
    ):
        prefixes = ("10.0.1.0/24", "fd00:1::/64")[: len(limits)]
        host = _host(1420, underlay=1400, allowed_ips=prefixes)
        host.address("wg0", "10.0.0.1/32").address("wg0", "fd00::1/128")
        for prefix, limit in zip(prefixes, limits, strict=True):
            host.route(prefix, dev="wg0", metrics={"mtu": limit} if limit else None)
        yield Example(
            name=f"mtu on the routes to the peer, {name}",
            why="the routes to a peer behind a narrow way may say less than the device",
            tables=host.build(),
            fires=fires,
        )
    single = _host(1420, underlay=1400, allowed_ips=("10.0.1.5/32",))
    yield Example(
        name="mtu on the route to the peer's one address",
        why="a prefix of one address is looked up as it is",
        tables=single.route("10.0.1.5/32", dev="wg0", metrics={"mtu": 1340}).build(),
    )
    many = tuple(f"10.0.{third}.0/24" for third in range(65))
    for count, fires in ((64, 0), (65, 1)):
        host = _host(1420, underlay=1400, allowed_ips=many[:count])
        yield Example(
            name=f"mtu on the routes to {count} prefixes",
            why="there is a bound to what is looked up for one peer; beyond it the device's MTU counts",
            tables=host.route("10.0.0.0/16", dev="wg0", metrics={"mtu": 1340}).build(),
            fires=fires,
        )
    yield Example(
        name="a peer without prefixes",
        why="handshakes fit, but its prefixes may come back: the device's MTU counts",
        tables=_host(1420, underlay=1400, allowed_ips=()).build(),
        fires=1,
    )


def _quiet_examples() -> Iterator[Example]:
    yield Example(name="down", why="it sends nothing", tables=_host(9000, up=False).build())
    yield Example(name="no endpoint", why="nobody knows the way yet", tables=_host(9000, endpoint=None).build())
    yield Example(
        name="no route to the endpoint",
        why="nothing is sent, so nothing is too long (wg-endpoint-unroutable)",
        tables=_host(9000, endpoint="198.51.100.9").build(),
    )
    looped = _host(1440, endpoint="198.51.100.9").address("wg0", "10.0.0.1/32")
    yield Example(
        name="endpoint inside the tunnel itself",
        why="a fault of its own (wg-endpoint-via-own-tunnel)",
        tables=looped.route("default", dev="wg0").build(),
    )
    moved = _host(9000, userspace=True).elsewhere("wg0")
    yield Example(name="interface in another namespace", why="its MTU is not known here", tables=moved.build())
    yield Example(
        name="endpoint on this host",
        why="loopback carries 65536 bytes: two namespaces' worth of tunnels on one machine",
        tables=_host(9000, endpoint="192.0.2.1").build(),
    )
