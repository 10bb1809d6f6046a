"""What it checks
  An allowed address of a WireGuard peer for which packets do not go into the tunnel: in no routing table that a policy
  rule leads to does the longest route for it lead by the interface, while other allowed addresses of the same interface
  have their routes, or while the peer is in use.

Why it matters
  wg set makes no routes; only wg-quick does. Packets to those addresses follow the default route in the clear, or are
  refused. From the other side everything looks well: its packets arrive here, and the answers go elsewhere.

Confirm
  ip route get ADDRESS
  wg show IFNAME allowed-ips

Fix
  ip route add PREFIX dev IFNAME sends those packets, and no others, through the tunnel. wg-quick down and up makes all
  routes, and cuts the tunnel for a moment.

Not flagged
  Everything-prefixes (0.0.0.0/0, ::/0, their halves) with selective routes, and prefixes of which at least a part is
  routed by the interface. Link-local and multicast prefixes. A prefix that another tunnel with the same allowed address
  serves, and one of this host's own addresses. An interface with routes of a routing daemon, or through which a BGP
  session goes that is down (bgp-not-established: its routes are away with it). One with no route for any
  of its prefixes (Table = off) on a host with BIRD or eBPF programs on interfaces, or whose peers are all unused.

References
  wg(8), wg-quick(8) "Table", add_route() of wg-quick; drivers/net/wireguard/allowedips.c
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.bird import Bird, BirdDaemon, BirdProtocol
from netdiag.model.bpf import BpfAttachment
from netdiag.model.distinct import distinct
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.link import Link
from netdiag.model.route import RT_TABLE_LOCAL, RTN_UNICAST
from netdiag.model.snapshot import Tables
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.bgpsessions import sessions
from netdiag.rules.build_wireguard import WireguardBuilder, key
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.waysout import ROUTING_DAEMONS
from netdiag.rules.wireguardpeers import device_subject, inner_neighbours, peer_subject, source
from netdiag.rules.wireguardways import (
    alive,
    device_objects,
    family_of,
    local_only,
    network,
    peer_for,
    route_get,
    routes_by,
    sending,
    usable_tables,
)

RULE = Rule(
    id="wg-allowedips-without-route",
    title="packets for a WireGuard peer's addresses do not go into the tunnel",
    severity="warning",
    confidence="likely",
    reads=("links", "routes", "rules", "nexthops", "wireguard"),
    consults=("bird", "bpf"),
    explains=("bgp-not-established", "bgp-hold-timer-expired", "bgp-bfd-down"),
)
WIDEST = {4: 1, 6: 3}


class Routed:
    """Where the packets for a prefix go, in any table that counts."""

    def __init__(self, view: HostView) -> None:
        self.view = view
        self.tables = {family: usable_tables(view, family) for family in ("inet", "inet6")}

    def oifs(self, family: str, positions: Iterable[int]) -> set[int]:
        """Interfaces of unicast routes."""
        rows = self.view.route_rows(family, positions)
        return {hop.oif for row in rows if row.type == "unicast" for hop in row.hops if hop.oif}

    def within(self, family: str, positions: npt.NDArray[np.int64]) -> set[int]:
        """The same for any number of routes; of multipath ones only the first few hundred are looked into."""
        routes = self.view.routes(family)
        single = positions[(routes.oif[positions] > 0) & (routes.type[positions] == RTN_UNICAST)]
        several = positions[routes.oif[positions] == 0][:256].tolist()
        return set(distinct(routes.oif[single]).tolist()) | self.oifs(family, several)

    def plainly(self, prefixes: list[str], ifindex: int) -> set[str]:
        """Those whose first address goes by the interface in some table: most of them, told all at once."""
        found: set[str] = set()
        for family in ("inet", "inet6"):
            asked = [prefix for prefix in prefixes if family_of(prefix) == family]
            if not asked:
                continue
            keys, routes = np.concatenate([_one(family, prefix) for prefix in asked]), self.view.routes(family)
            for table, shortest in self.tables[family].items():
                at = self.view.fib(family).lookup_many(table, keys)
                good = (at >= 0) & (routes.oif[at] == ifindex) & (routes.type[at] == RTN_UNICAST)
                good &= routes.dst_len[at] >= shortest
                found.update(prefix for prefix, yes in zip(asked, good.tolist(), strict=True) if yes)
        return found

    def ways(self, prefixes: list[str]) -> dict[str, set[int]]:
        """For each prefix the interfaces that packets for some address of it leave by; 1 where that is this host's own.

        Prefixes of one length between the same routes of every table share one answer.
        """
        found: dict[str, set[int]] = {}
        for family in ("inet", "inet6"):
            asked = list(dict.fromkeys(prefix for prefix in prefixes if family_of(prefix) == family))
            if not asked:
                continue
            fib, first = self.view.fib(family), np.concatenate([_one(family, prefix) for prefix in asked])
            last = np.concatenate([_one(family, prefix, last=True) for prefix in asked])
            own = (fib.lookup_many(RT_TABLE_LOCAL, first) >= 0) & (first == last).reshape(len(asked), -1).all(axis=1)
            edges = [(fib.pieces(table, first), fib.pieces(table, last)) for table in self.tables[family]]
            whole = np.all([begin == end for begin, end in edges], axis=0) if edges else np.ones(len(asked), bool)
            known: dict[tuple[str, ...], set[int]] = {}
            for number, prefix in enumerate(asked):
                place: tuple[str, ...] = (prefix,)
                if whole[number]:
                    place = (prefix.partition("/")[2], *(str(begin[number]) for begin, _ in edges))
                if place not in known:
                    known[place] = self.by(prefix)
                found[prefix] = known[place] | ({1} if own[number] else set())
        return found

    def by(self, prefix: str) -> set[int]:
        """Interfaces that packets for some address of the prefix leave by."""
        family = family_of(prefix)
        fib, found = self.view.fib(family), set[int]()
        for table, shortest in self.tables[family].items():
            found |= self.within(family, fib.routes_within(table, prefix))
            for address in specimens(prefix)[:2]:
                for group in fib.candidates(table, address):
                    hops = self.oifs(family, group.positions) if group.length >= shortest else set()
                    found |= hops
                    if hops:
                        break
        return found


def _one(family: str, prefix: str, *, last: bool = False) -> Any:
    held = network(prefix)
    packed = (held.broadcast_address if last else held.network_address).packed
    if family == "inet":
        return np.array([int.from_bytes(packed, "big")], np.uint32)
    return np.frombuffer(packed, np.uint8).reshape(1, 16)


def judged(prefix: str) -> bool:
    """Whether a route for exactly this prefix is to be expected."""
    held = network(prefix)
    return held.prefixlen > WIDEST[held.version] and not local_only(held)


def steered(view: HostView) -> bool:
    """Whether something other than routes of this moment may steer packets: BIRD, programs on interfaces."""
    return bool(view.bird.daemons) or any(row.hook in ("tc", "tcx", "xdp", "netkit") for row in view.bpf.attachments)


def unread(view: HostView) -> list[str]:
    """Which of those cannot be ruled out."""
    return [table for table in ("bird", "bpf") if not view.read_whole(table) and not view.absent(table)]


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    found = alive(view)
    if not found:
        return
    routed, at = Routed(view), view.wireguard.at
    tunnels = {link.ifindex: device for device, link in found}
    for device, link in found:
        wanted = [(peer, prefix) for peer in device.peers for prefix in peer.allowed_ips if judged(prefix)]
        plain = routed.plainly([prefix for _, prefix in wanted], link.ifindex)
        ways_of = routed.ways([prefix for _, prefix in wanted if prefix not in plain])
        lost = [one for one in wanted if one[1] in ways_of and not _served(ways_of[one[1]], tunnels, one[1])]
        none = len(lost) == len(wanted)
        if not lost or _by_daemon(view, link) or _awaited(view, routed, device, link):
            continue
        if none and (steered(view) or not any(sending(peer, at) or peer.tx_bytes for peer, _ in lost)):
            continue
        if none and (gaps := unread(view)):
            yield Unjudged(
                reason=f"{device.ifname} has no route for any of its peers, and what may steer packets into it was not "
                f"read: {', '.join(gaps)}"
            )
            continue
        yield _finding(view, device, lost, ways_of[lost[0][1]], sure=not none)


def _served(oifs: set[int], tunnels: dict[int, WireguardDevice], prefix: str) -> bool:
    """By this host itself, or by a tunnel, this one or another, that has a peer for it."""
    address = str(network(prefix).network_address)
    return 1 in oifs or any(n in tunnels and peer_for(tunnels[n], address) is not None for n in oifs)


def _by_daemon(view: HostView, link: Link) -> bool:
    """Whether a routing daemon made routes by the interface."""
    for family in ("inet", "inet6"):
        made = [position for _, position in routes_by(view, family, link.ifindex)]
        if np.isin(view.routes(family).protocol[made], ROUTING_DAEMONS).any():
            return True
    return False


def _awaited(view: HostView, routed: Routed, device: WireguardDevice, link: Link) -> bool:
    """Whether a BGP session through the tunnel is down: its routes are away with it, and come back with it."""
    far = [one.address for one in sessions(view) if not one.up and not one.switched_off]
    inside = [one for one in far if one is not None and peer_for(device, str(one)) is not None]
    return any(link.ifindex in routed.by(f"{one}/{one.max_prefixlen}") for one in inside)


def _finding(
    view: HostView, device: WireguardDevice, lost: list[tuple[WireguardPeer, str]], oifs: set[int], *, sure: bool
) -> Draft:
    name, (peer, prefix) = device.ifname, lost[0]
    peers = list({one.public_key: one for one, _ in lost}.values())
    many = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    where = " and ".join(sorted(view.ifname(number) for number in oifs)) or "nowhere"
    flag = "-6 " if family_of(prefix) == "inet6" else ""
    return RULE.found(
        subject=peer_subject(device, peer) if len(peers) == 1 else device_subject(device),
        message=f"packets for {prefix}{many}, allowed for {len(peers)} peer{'s' if len(peers) > 1 else ''} of {name}, "
        f"leave by {where}: there is no route into the tunnel",
        evidence=[
            ("allowed ips", prefix, source(device, "WGPEER_A_ALLOWEDIPS", "allowed_ip")),
            (f"packets for {prefix}", f"by {where}", "RTM_GETROUTE, RTM_GETRULE"),
        ],
        confirm=[route_get(device, specimens(prefix)[0]), f"wg show {quoted(name)} allowed-ips"],
        fix=f"ip {flag}route add {prefix} dev {quoted(name)}",
        confidence="certain" if sure else "likely",
        touches=[*device_objects(device), *(peer_subject(device, one) for one in peers)],
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
    for prefix, where in (("10.50.0.0/16", "eth0"), ("10.50.0.7/32", "eth0"), ("fd00:50::/64", "nowhere")):
        yield Example(
            name=f"{prefix} beside one with a route",
            why="wg set makes no routes",
            tables=_host("10.9.0.2/32", prefix).build(),
            fires=1,
            subject=about,
            severity="warning",
            confidence="certain",
            says=(f"leave by {where}",),
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
    yield from _quiet_examples()


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
    yield Example(name="unused", why="Table = off, prepared", tables=_host("10.50.0.0/16", age=None).build())
    yield Example(name="Table = off with BIRD", why="BIRD decides", tables=_with_bird(_host("10.50.0.0/16").build()))
    daemon = _host("10.9.0.2/32", "10.50.0.0/16").route("10.60.0.0/16", dev="wg0", protocol=12)
    yield Example(name="routes of a daemon", why="they come and go", tables=daemon.build())
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
