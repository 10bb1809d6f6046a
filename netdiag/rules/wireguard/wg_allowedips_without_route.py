"""What it checks
  An allowed address of a WireGuard peer for which packets do not go into the tunnel: in no routing table that a policy
  rule leads them to does the longest route for it lead by the interface, while other allowed addresses of the same
  interface have their routes, or while the peer is in use. A rule for these destinations alone may lead them elsewhere,
  and routes for all parts of a prefix (its two halves) leave nothing to the one by the interface.

Why it matters
  wg set makes no routes; only wg-quick does. Packets to those addresses follow the default route in the clear, or are
  refused. From the other side everything looks well: its packets arrive here, and the answers go elsewhere.

Confirm
  ip route get ADDRESS
  wg show IFNAME allowed-ips

Fix
  ip route add PREFIX dev IFNAME sends those packets, and no others, through the tunnel. Where a rule or longer routes
  take them past a route that is there, take those away. wg-quick down and up makes all routes, and cuts the tunnel for
  a moment.

Not flagged
  Everything-prefixes (0.0.0.0/0, ::/0, their halves) with selective routes, and prefixes of which at least a part is
  routed by the interface, or all parts by a routing daemon. Link-local and multicast prefixes. A prefix that another
  tunnel with the same allowed address serves, and one of this host's own addresses. An interface with routes of a
  routing daemon, or through which a BGP session goes that is down (bgp-not-established: its routes are away with it);
  unless somebody made routes for just the prefixes of other peers by hand, so that the daemon is not who makes them.
  One with no route for any of its prefixes (Table = off) on a host with BIRD or eBPF programs on interfaces, but for a
  prefix that a connection of the interface's own address goes to; without those it is information as long as no peer
  was ever used.

References
  wg(8), wg-quick(8) "Table", add_route() of wg-quick; drivers/net/wireguard/allowedips.c
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.bird import Bird, BirdDaemon, BirdProtocol
from netdiag.model.bpf import BpfAttachment
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.link import Link
from netdiag.model.route import RTNH_F_DEAD
from netdiag.model.snapshot import Tables
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.bgpsessions import sessions
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_wireguard import WireguardBuilder, key
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.waysout import ROUTING_DAEMONS
from netdiag.rules.wireguardpeers import device_subject, inner_neighbours, peer_subject, source
from netdiag.rules.wireguardrouted import Routed
from netdiag.rules.wireguardwanted import unanswered
from netdiag.rules.wireguardways import (
    Network,
    alive,
    device_objects,
    family_of,
    local_only,
    network,
    peer_for,
    route_get,
    routes_by,
    sending,
)

RULE = Rule(
    id="wg-allowedips-without-route",
    title="packets for a WireGuard peer's addresses do not go into the tunnel",
    severity="warning",
    confidence="likely",
    reads=("links", "routes", "rules", "nexthops", "wireguard"),
    consults=("bird", "bpf", "addresses", "sockets"),
    explains=("bgp-not-established", "bgp-hold-timer-expired", "bgp-bfd-down"),
)
WIDEST = {4: 1, 6: 3}
KERNEL = 2
"""RTPROT_KERNEL."""
MOST_TOLD = 64
"""Prefixes of which it is told that a route to them is away."""
Wanted = list[tuple[WireguardPeer, str]]


def judged(prefix: str) -> bool:
    """Whether a route for exactly this prefix is to be expected."""
    held = network(prefix)
    return held.prefixlen > WIDEST[held.version] and not local_only(held)


def steered(view: HostView) -> bool:
    """Whether something other than routes of this moment may steer packets: BIRD, programs on interfaces."""
    return bool(view.bird.daemons) or any(row.hook in ("tc", "tcx", "xdp", "netkit") for row in view.bpf.attachments)


def unread(view: HostView) -> list[str]:
    """Which of those cannot be ruled out."""
    return [table for table in ("bird", "bpf") if view.unknown(table)]


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    found = alive(view)
    if not found:
        return
    routed, at = Routed(view), view.wireguard.at
    tunnels = {link.ifindex: device for device, link in found}
    for device, link in found:
        wanted = [(peer, prefix) for peer in device.peers for prefix in peer.allowed_ips if judged(prefix)]
        routed.steer(prefix for _, prefix in wanted)
        plain = routed.plainly([prefix for _, prefix in wanted if prefix not in routed.steered], link.ifindex)
        ways_of = routed.ways([prefix for _, prefix in wanted if prefix not in plain])
        lost = [one for one in wanted if one[1] in ways_of and not _served(ways_of[one[1]], tunnels, one[1])]
        none = len(lost) == len(wanted)
        if not lost or (
            (_by_daemon(view, link) or _awaited(view, routed, device, link)) and not _by_hand(view, device, link)
        ):
            continue
        talks = _talks(view, link, lost)
        if talks:
            yield _finding(routed, device, talks, ways_of[talks[0][1]], sure=True)
            continue
        if none and steered(view):
            continue
        if none and (gaps := unread(view)):
            yield Unjudged(
                reason=f"{device.ifname} has no route for any of its peers, and what may steer packets into it was not "
                f"read: {', '.join(gaps)}"
            )
            continue
        idle = none and not any(sending(peer, at) or peer.tx_bytes for peer, _ in lost)
        yield _finding(routed, device, lost, ways_of[lost[0][1]], sure=not none, idle=idle)


def _served(oifs: set[int], tunnels: dict[int, WireguardDevice], prefix: str) -> bool:
    """By this host itself, or by a tunnel, this one or another, that has a peer for it."""
    address = str(network(prefix).network_address)
    return 1 in oifs or any(n in tunnels and peer_for(tunnels[n], address) is not None for n in oifs)


def _by_daemon(view: HostView, link: Link) -> bool:
    """Whether a routing daemon made routes by the interface."""
    for family in ("inet", "inet6"):
        made = [position for _, position in routes_by(view, family, link.ifindex)]
        if among(view.routes(family).protocol[made], ROUTING_DAEMONS).any():
            return True
    return False


def _by_hand(view: HostView, device: WireguardDevice, link: Link) -> bool:
    """Whether somebody, no daemon and not the kernel by itself, made routes for just the prefixes of several peers."""
    exact = {str(network(prefix)): peer.public_key for peer in device.peers for prefix in peer.allowed_ips}
    found = set()
    for family in ("inet", "inet6"):
        made = [position for _, position in routes_by(view, family, link.ifindex)]
        if made:
            protocol = view.routes(family).protocol[made]
            hand = [
                at for at, one in zip(made, protocol.tolist(), strict=True) if one not in (KERNEL, *ROUTING_DAEMONS)
            ]
            found |= {exact[row.dst] for row in view.route_rows(family, hand[:MOST_TOLD]) if row.dst in exact}
    return len(found) > 1


def _talks(view: HostView, link: Link, lost: Wanted) -> Wanted:
    """Those of the prefixes that a connection from an address of the interface goes to, which gets no answer."""
    own = {row.local for row in view.addresses if row.ifindex == link.ifindex}
    far = [network(row.dst.partition("%")[0]) for row in unanswered(view) if row.src in own]
    return [(peer, prefix) for peer, prefix in lost if any(_within(one, network(prefix)) for one in far)]


def _within(one: Network, held: Network) -> bool:
    return one.version == held.version and one.network_address in held


def _awaited(view: HostView, routed: Routed, device: WireguardDevice, link: Link) -> bool:
    """Whether a BGP session through the tunnel is down: its routes are away with it, and come back with it."""
    far = [one.address for one in sessions(view) if not one.up and not one.switched_off]
    inside = [one for one in far if one is not None and peer_for(device, str(one)) is not None]
    return any(link.ifindex in routed.by(f"{one}/{one.max_prefixlen}") for one in inside)


def _finding(
    routed: Routed, device: WireguardDevice, lost: Wanted, oifs: set[int], *, sure: bool, idle: bool = False
) -> Draft:
    view, name, (peer, prefix) = routed.view, device.ifname, lost[0]
    peers = list({one.public_key: one for one, _ in lost}.values())
    many = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    where = "by " + " and ".join(sorted(view.ifname(number) for number in oifs)) if oifs else "nowhere"
    flag = "-6 " if family_of(prefix) == "inet6" else ""
    instead = routed.instead(prefix)
    return RULE.found(
        subject=peer_subject(device, peer) if len(peers) == 1 else device_subject(device),
        message=f"packets for {prefix}{many}, allowed for {len(peers)} peer{'s' if len(peers) > 1 else ''} of {name}, "
        f"{'leave' if oifs else 'go'} {where}"
        + (f", {instead[0]}" if instead else ": there is no route into the tunnel")
        + (", and nobody has used it yet" if idle else ""),
        evidence=[
            ("allowed ips", prefix, source(device, "WGPEER_A_ALLOWEDIPS", "allowed_ip")),
            (f"packets for {prefix}", where, "RTM_GETROUTE, RTM_GETRULE"),
        ],
        confirm=[route_get(device, specimens(prefix)[0]), f"wg show {quoted(name)} allowed-ips"],
        fix=instead[1] if instead else f"ip {flag}route add {prefix} dev {quoted(name)}",
        confidence="possible" if idle else "certain" if sure else "likely",
        touches=[
            *device_objects(device),
            *(peer_subject(device, one) for one in peers),
            *(subject("route", dst=one, table=254) for _, one in lost[:MOST_TOLD]),
        ],
        breaks=[
            subject("route", dst=prefix, table=254),
            *(thing for one in peers for thing in inner_neighbours(device, one)),
        ],
    )


def _host(*allowed: str, age: float | None = 20, **peer: Any) -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "192.0.2.2/24").address("eth0", "2001:db8::2/64")
    host.wireguard("wg0").address("wg0", "10.9.0.1/24").address("wg0", "fd00:9::1/64")
    host.route("default", via="192.0.2.1", dev="eth0")
    return host.wg_peer("wg0", "a", allowed_ips=allowed, age=age, **peer)


def _with_bird(tables: Tables) -> Tables:
    return replace(tables, bird=Bird(daemons=(BirdDaemon(socket="/run/bird/bird.ctl"),)))


def examples() -> Iterator[Example]:
    about = subject("wireguard-peer", ifname="wg0", public_key=key("a"))
    by = "leave by eth0"
    for prefix, where in (("10.50.0.0/16", by), ("10.50.0.7/32", by), ("fd00:50::/64", "go nowhere")):
        yield Example(
            name=f"{prefix} beside one with a route",
            why="wg set makes no routes",
            tables=_host("10.9.0.2/32", prefix).build(),
            fires=1,
            subject=about,
            severity="warning",
            confidence="certain",
            says=(where,),
        )
    yield Example(
        name="no route for any, but in use",
        why="somebody talks to this peer",
        tables=_host("10.50.0.0/16").build(),
        fires=1,
        subject=about,
        confidence="likely",
    )
    unreachable = _host("10.9.0.2/32", "fd00:50::/64").route("fd00:50::/64", dev="lo", type="unreachable")
    yield Example(name="unreachable", why="no packet leaves by it", tables=unreachable.build(), fires=1, subject=about)
    yield Example(
        name="a peer that was spoken to",
        why="its handshake was never finished, and somebody sends",
        tables=_host("10.50.0.0/16", age=None, tx_bytes=148).build(),
        fires=1,
        confidence="likely",
    )
    partly = _with_bird(_host("10.9.0.2/32", "10.50.0.0/16").build())
    yield Example(name="one of two, with BIRD", why="the other one has its route", tables=partly, fires=1)
    yield Example(name="one of two, BIRD not read", why="the same", tables=partly, fires=1, late=("bird",))
    cgroup = _host("10.50.0.0/16").bpf(attachments=[BpfAttachment(prog_id=1, hook="cgroup")])
    yield Example(name="a program of a cgroup", why="it steers nothing", tables=cgroup.build(), fires=1)
    other = _host("10.9.0.2/32", "10.50.0.0/16").wireguard("wg1")
    other.wg_peer("wg1", "b", allowed_ips=("10.60.0.0/16",), age=20).route("10.50.0.0/16", dev="wg1")
    other.route("10.60.0.0/16", dev="wg1")
    yield Example(name="by a tunnel without a peer for it", why="it is thrown away", tables=other.build(), fires=1)
    for allowed, words in (
        (("192.0.2.2/32", "10.50.0.0/16"), "packets for 10.50.0.0/16, allowed"),  # the first is this host's own
        (("192.0.2.2/31",), "packets for 192.0.2.2/31, allowed"),  # only its first address is
        (("10.50.0.0/16", "10.77.0.0/16"), "packets for 10.50.0.0/16, allowed"),  # a part of the second is routed
        (("10.50.0.0/16", "10.51.0.0/16", "10.52.0.0/16", "10.53.0.0/16"), "packets for 10.50.0.0/16 and 3 more"),
        (("64.0.0.0/2",), "packets for 64.0.0.0/2, allowed"),  # a quarter, which no VPN asks for
        (("2000::/4",), "packets for 2000::/4, allowed"),
    ):
        tables = _host("10.9.0.2/32", *allowed).route("10.77.1.0/24", dev="wg0").build()
        yield Example(name=f"{allowed}", why="each prefix by itself", tables=tables, fires=1, says=(words,))
    longer = _host("10.9.0.2/32", "10.50.0.0/16").route("10.0.0.0/8", dev="wg0").route("10.50.0.0/16", dev="eth0")
    yield Example(name="a longer route elsewhere", why="the longest prefix decides", tables=longer.build(), fires=1)
    for family, whole, parts, near in (
        ("inet", "10.50.0.0/16", ("10.50.0.0/17", "10.50.128.0/17"), "192.0.2.1"),
        ("inet6", "fd00:50::/32", ("fd00:50::/33", "fd00:50:8000::/33"), "2001:db8::1"),
    ):
        fault: Any = {"fires": 1, "says": ("leave by eth0, by the longer routes", f"route del {parts[1]} table 254")}

        def host(whole: str = whole) -> HostBuilder:
            return _host("10.9.0.2/32", whole).route(whole, dev="wg0")

        def halved(*shown: str, near: str = near, host: Any = host, **fields: Any) -> HostBuilder:
            made: HostBuilder = host()
            for part in shown:
                made.route(part, via=near, dev="eth0", **fields)
            return made

        yield Example(name=f"halves of {whole}", why="none is left", tables=halved(*parts).build(), **fault)
        yield Example(name=f"a half of {whole}", why="the other goes in", tables=halved(parts[1]).build())
        dead = halved(*parts, flags=RTNH_F_DEAD)
        yield Example(name=f"dead halves of {whole}", why="the kernel passes them by", tables=dead.build())
        by_daemon = halved(*parts, protocol=12)
        yield Example(name=f"halves of {whole} by a daemon", why="its choice", tables=by_daemon.build())
        if family == "inet":
            yield _one_of_two(near)
        yield from _ruled_examples(family, whole, parts, host, near)
    yield from _quiet_examples()


def _one_of_two(near: str) -> Example:
    """Two prefixes between the same routes, with a rule each."""
    host = _host("10.9.0.2/32", "10.51.0.0/16", "10.50.0.0/16").route("10.0.0.0/8", dev="wg0")
    host.rule(900, table=200, dst="10.50.0.0", dst_len=16).rule(901, table=201, dst="10.51.0.0", dst_len=16)
    tables = host.route("default", via=near, dev="eth0", table=200).build()
    says = ("packets for 10.50.0.0/16, allowed",)
    return Example(name="one of two", why="each has its own rule", tables=tables, fires=1, says=says)


def _ruled_examples(
    family: str, whole: str, parts: tuple[str, str], host: Callable[[], HostBuilder], near: str
) -> Iterator[Example]:
    """A rule in front of main for destinations, whose table sends them elsewhere."""

    def ruled(dst: str, *, main: int = 200, **fields: Any) -> HostBuilder:
        address, _, size = dst.partition("/")
        made = host().rule(900, table=main, family=family, dst=address, dst_len=int(size), **fields)
        return made.route("default" if family == "inet" else "::/0", via=near, dev="eth0", table=200)

    def case(name: str, host: HostBuilder, fires: int = 0, *says: str) -> Example:
        why = "the tables that these packets meet decide"
        return Example(name=f"{name}, {family}", why=why, tables=host.build(), fires=fires, says=says)

    yield case("a rule for the prefix", ruled(whole), 1, "leave by eth0, by rule 900", "rule del pref 900 from all to")
    wider = str(network(whole).supernet())
    yield case("a rule for a wider prefix", ruled(wider), 1)
    yield case("a rule for a network around it", ruled(str(network(whole).supernet(new_prefix=8))), 1)
    yield case("a rule for a half", ruled(parts[0]))
    yield case("a rule for others", ruled("10.60.0.0/16" if family == "inet" else "fd00:60::/32"))
    yield case("not for the prefix", ruled(whole, invert=True))
    yield case("for marked packets", ruled(whole, fwmark=7))
    yield case("an empty table", ruled(whole, main=201))
    yield case("without its default route", ruled(whole, suppress_prefixlength=0))
    thrown = ruled(whole).route(parts[1], type="throw", table=200)
    yield case("a part is thrown back", thrown)
    dead = ruled(whole, main=202).route(wider, via=near, dev="eth0", table=202, flags=RTNH_F_DEAD)
    yield case("a dead route", dead)
    half = ruled(whole, main=203).route(parts[0], via=near, dev="eth0", table=203)
    yield case("a route for a half", half)
    exact = ruled(whole, main=204).route(whole, via=near, dev="eth0", table=204)
    yield case("a route for just these", exact, 1)
    refused = ruled(whole, main=205).route(whole, type="unreachable", dev=None if family == "inet" else "lo", table=205)
    yield case("a route that refuses", refused, 1, "go nowhere")


def _quiet_examples() -> Iterator[Example]:
    yield Example(name="connected", why="in the interface's own subnet", tables=_host("10.9.0.2/32").build())
    yield Example(name="everything", why="selective routes", tables=_host("0.0.0.0/0", "::/0").build())
    yield Example(
        name="a part of it",
        why="selective routes of a wide prefix",
        tables=_host("10.0.0.0/8").route("10.77.1.0/24", dev="wg0").build(),
    )
    yield Example(
        name="an aggregate",
        why="a route for all of the mesh",
        tables=_host("10.50.0.7/32").route("10.0.0.0/8", dev="wg0").build(),
    )
    other = _host("10.9.0.2/32", "10.50.0.0/16").route("10.50.0.0/16", dev="wg0", table=77)
    yield Example(name="in a table of its own", why="a rule leads there", tables=other.rule(9, table=77).build())
    two = _host("10.9.0.2/32", "10.50.0.0/16").wireguard("wg1")
    two.wg_peer("wg1", "b", allowed_ips=("10.50.0.0/16",), age=20).route("10.50.0.0/16", dev="wg1")
    yield Example(name="by another tunnel", why="a standby", tables=two.build())
    yield Example(
        name="an address of this host", why="given twice", tables=_host("10.9.0.2/32", "192.0.2.2/32").build()
    )
    idle: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "possible"}
    unused = _host("10.50.0.0/16", age=None).build()
    yield Example(name="unused", why="Table = off, prepared; or forgotten", tables=unused, **idle)
    yield Example(name="Table = off with BIRD", why="BIRD decides", tables=_with_bird(_host("10.50.0.0/16").build()))
    daemon = _host("10.9.0.2/32", "10.50.0.0/16").route("10.60.0.0/16", dev="wg0", protocol=12)
    yield Example(name="routes of a daemon", why="they come and go", tables=daemon.build())
    yield from _beside_daemons()
    yield Example(name="link-local", why="for a protocol", tables=_host("10.9.0.2/32", "fe80::/64", "ff00::/8").build())
    halves = _host("10.9.0.2/32", "0.0.0.0/1", "128.0.0.0/1", "2000::/3")
    yield Example(name="halves of everything", why="selective routes", tables=halves.build())
    upper = WireguardBuilder().wireguard("wg0")
    upper.address("wg0", "192.168.9.1/24")
    upper.wg_peer("wg0", "a", allowed_ips=("192.168.9.2/32", "0.0.0.0/1"), age=20)
    yield Example(name="the lower half", why="it is one of two halves of everything", tables=upper.build())
    tc = _host("10.50.0.0/16").bpf(attachments=[BpfAttachment(prog_id=1, hook="tc", ifindex=2)])
    yield Example(name="a program on the uplink", why="it may redirect", tables=tc.build())
    for late in ("bird", "bpf"):
        yield Example(
            name=f"{late} was not read",
            why="it may be what steers",
            tables=_host("10.50.0.0/16").build(),
            late=(late,),
            unjudged=True,
        )
    for name, near, fields, fires in (
        ("down, by the tunnel", "10.9.0.2", {}, 0),
        ("up", "10.9.0.2", {"state": "up", "bgp_state": "Established"}, 1),
        ("switched off", "10.9.0.2", {"state": "down"}, 1),
        ("down, with nobody behind the tunnel", "10.9.0.77", {}, 1),
        ("down, whose neighbour goes another way", "10.50.0.9", {}, 1),
        ("down, of any neighbour", None, {}, 1),
    ):
        known: dict[str, Any] = {"name": "up1", "proto": "BGP", "state": "start", "neighbor_address": near, "info": ""}
        daemon_ = BirdDaemon(socket="/run/bird/bird.ctl", protocols=(BirdProtocol(**(known | fields)),))
        tables = replace(_host("10.9.0.2/32", "10.50.0.0/16").build(), bird=Bird(daemons=(daemon_,)))
        yield Example(name=f"a session {name}", why="its routes are away with it", tables=tables, fires=fires)


def _beside_daemons() -> Iterator[Example]:
    """A daemon makes routes by the interface, or might, and somebody made others by hand."""

    def host(*by_hand: str, **talk: Any) -> HostBuilder:
        made = _host("10.9.0.2/32", "10.50.0.0/16", "10.60.0.0/16")
        made.wg_peer("wg0", "b", allowed_ips=("10.51.0.0/16",), age=20)
        made.wg_peer("wg0", "c", allowed_ips=("10.52.0.0/16",), age=20)
        made.route("10.60.1.0/24", dev="wg0", protocol=12)
        for dst in by_hand:
            made.route(dst, dev="wg0")
        return made

    for by_hand, why, fires in (
        (("10.51.0.0/16", "10.52.0.0/16"), "this one is lost", 1),
        (("10.51.0.0/16",), "one alone is its own case", 0),
        (("10.51.0.0/16", "10.60.9.0/24"), "the second is no peer's", 0),
        (("10.51.0.0/16", "10.52.0.0/16", "10.50.0.0/16"), "all are there", 0),
    ):
        name = f"routes of a daemon, and {', '.join(by_hand)} by hand"
        yield Example(name=name, why=why, tables=host(*by_hand).build(), fires=fires)
    for name, fields, fires in (
        ("waits for an answer", {}, 1),
        ("has sent twice", {"retrans": 1}, 0),
        ("is from another address", {"src": "192.0.2.2"}, 0),
        ("goes to another network", {"dst": "10.51.0.7"}, 0),
    ):
        talk: dict[str, Any] = {
            "src": "10.9.0.1",
            "sport": 40000,
            "dst": "10.50.0.7",
            "dport": 443,
            "state": 1,
            "wqueue": 9,
            "retrans": 3,
            "timer": 1,
        }
        tables = _with_bird(_host("10.50.0.0/16").socket(**(talk | fields)).build())
        yield Example(name=f"with BIRD, a connection {name}", why="it left by eth0", tables=tables, fires=fires)
