"""What it checks
  The encrypted packets to a WireGuard peer are routed into the tunnel that needs them: the way to the peer's endpoint,
  with the mark of the device, leads by the same interface, either back to the same peer (also over other interfaces in
  between, WireGuard or a tunnel to a single far end: GRE, IPIP, VXLAN) or to nobody, because no peer of that interface
  has the endpoint among its allowed addresses. One leg of a multipath route is enough; a warning where the peer has
  living keys, so that the other leg carries it now.

Why it matters
  Nothing leaves this host. Each packet is encrypted and put into the tunnel again until the kernel's limit of nested
  transmissions or the interface's length ends it; the processor's load rises and the peer is dead. It happens when a
  default route by the tunnel is added without a route of its own for the endpoint, seconds after all worked.

Confirm
  ip route get ENDPOINT mark FWMARK
  wg show IFNAME endpoints

Fix
  ip route add ENDPOINT via GATEWAY dev UPLINK, a route of its own for the endpoint: nothing else changes its way. With
  many peers use a mark instead, as wg-quick does: wg set IFNAME fwmark 51820, the tunnel's default route in a table of
  its own, and ip rule add not fwmark 51820 table 51820. Where such a rule is there, the device has lost its mark.

Not flagged
  An endpoint that goes another way because of the device's fwmark. A tunnel in a tunnel: the endpoint lies behind
  another peer, of this or of another WireGuard interface, whose own endpoint is reached outside. An endpoint that no
  route leads to, or a route refuses (wg-endpoint-unroutable). A device that is down.

References
  drivers/net/wireguard/socket.c send4() send6(), device.c wg_xmit(); wg(8) "fwmark"; wg-quick(8) "Table";
  https://www.wireguard.com/netns/ "Improved Rule-based Routing"
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.route import RT_TABLE_MAIN, RTN_UNICAST
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.build_wireguard import WireguardBuilder, key
from netdiag.rules.routewords import rule_subject
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import (
    REJECT_AFTER_TIME,
    device_subject,
    endpoint_word,
    inner_neighbours,
    peer_subject,
    query_to,
    source,
)
from netdiag.rules.wireguardways import alive, device_objects, peer_for, route_get

RULE = Rule(
    id="wg-endpoint-via-own-tunnel",
    title="a tunnel's encrypted packets are routed into the tunnel itself",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls", "wireguard"),
    explains=(
        "wg-endpoint-via-own-tunnel",
        "wg-handshake-stale",
        "wg-never-handshaked",
        "wg-mtu-exceeds-underlay",
        "wg-route-without-allowedips",
        "bgp-*",
    ),
)


MOST_ASKED = 8
"""Default routes that are looked at for a way out."""


class Loop(NamedTuple):
    """An endpoint whose packets come back."""

    peer: WireguardPeer
    path: tuple[str, ...]
    """Interfaces on the way, this one first and last."""
    nobody: bool
    """True: no peer takes the packet there; False: a circle of peers."""
    share: bool = False
    """Another leg of a multipath route may get out."""


class Walk(NamedTuple):
    """Packets of a peer, from tunnel to tunnel."""

    view: HostView
    own: WireguardDevice
    peer: WireguardPeer
    by_index: Mapping[int | None, WireguardDevice]

    def follow(self, query: Query, path: tuple[str, ...], seen: frozenset[tuple[str, str]]) -> Loop | None:
        """The first of the ways that comes back; None where all get out."""
        oifs = tuple(dict.fromkeys(hop.oif for hop in self.view.lookup(query).hops))
        for oif in oifs:
            found = self.enter(oif, query, path, seen)
            if found is not None:
                return found._replace(share=found.share or len(oifs) > 1)
        return None

    def enter(self, oif: int, query: Query, path: tuple[str, ...], seen: frozenset[tuple[str, str]]) -> Loop | None:
        """What becomes of the packets that leave by this interface."""
        device = self.by_index.get(oif)
        if device is None:
            outer, name = far_end(self.view, oif), self.view.ifname(oif)
            if outer is None or (name, "") in seen:
                return None
            return self.follow(outer, (*path, name), seen | {(name, "")})
        path, own = (*path, device.ifname), self.own.ifname
        following = peer_for(device, query.dst)
        if following is None:
            return Loop(self.peer, path, True) if device.ifname == own else None
        if (device.ifname, following.public_key) in seen:
            return Loop(self.peer, path, False) if own in path[1:] else None
        after = query_to(device, following)
        return None if after is None else self.follow(after, path, seen | {(device.ifname, following.public_key)})


def far_end(view: HostView, ifindex: int) -> Query | None:
    """The outer packets of a tunnel to a single far end; None: no such tunnel."""
    link = view.link(ifindex)
    remote = (link.info.get("remote") or link.info.get("remote6")) if link is not None else None
    if not isinstance(remote, str) or remote in ("0.0.0.0", "::"):
        return None
    return Query(family="inet6" if ":" in remote else "inet", dst=remote)


def loop_of(
    view: HostView, own: WireguardDevice, peer: WireguardPeer, by_index: Mapping[int | None, WireguardDevice]
) -> Loop | None:
    """Follow the packets of a peer from tunnel to tunnel; None where they get out."""
    query = query_to(own, peer)
    if query is None:
        return None
    return Walk(view, own, peer, by_index).follow(query, (own.ifname,), frozenset({(own.ifname, peer.public_key)}))


def check(view: HostView) -> Iterator[Draft]:
    found = alive(view)
    by_index: dict[int | None, WireguardDevice] = {link.ifindex: device for device, link in found}
    told: set[str] = set()
    for device, _ in found:
        loops = [loop for peer in device.peers if (loop := loop_of(view, device, peer, by_index)) is not None]
        if loops:
            told.add(device.ifname)
            circle = {name for loop in loops if not loop.nobody for name in loop.path} - told
            yield _finding(view, device, loops, [each for each, _ in found if each.ifname in circle])


def _fix(view: HostView, device: WireguardDevice, query: Query | None, endpoint: str) -> str:
    """The mark that a rule excepts from the tunnel, where the device has lost it; else a route of its own for the
    endpoint, by a default route that no tunnel has, where there is still one."""
    tunnels = {link.ifname for _, link in alive(view)}
    for rule in view.rules if query is not None else ():
        if query is not None and rule.family == query.family and rule.invert and rule.fwmark:
            hops = view.lookup(msgspec.structs.replace(query, mark=rule.fwmark)).hops
            if hops and all(view.ifname(hop.oif) not in tunnels for hop in hops):
                return f"wg set {quoted(device.ifname)} fwmark {rule.fwmark:#x}"
    family = "inet6" if ":" in endpoint else "inet"
    routes = view.routes(family)
    plain = (routes.dst_len == 0) & (routes.table == RT_TABLE_MAIN) & (routes.type == RTN_UNICAST)
    for row in view.route_rows(family, np.flatnonzero(plain)[:MOST_ASKED].tolist()):
        for hop in row.hops:
            if hop.gateway and view.ifname(hop.oif) not in tunnels:
                via = f"{'inet6 ' if family == 'inet' and ':' in hop.gateway else ''}{hop.gateway}"
                return f"ip route add {quoted(endpoint)} via {via} dev {quoted(view.ifname(hop.oif))}"
    return f"ip route add {quoted(endpoint)} via GATEWAY dev UPLINK  # the gateway that it was reached by before"


def _finding(view: HostView, device: WireguardDevice, loops: list[Loop], circle: Sequence[WireguardDevice]) -> Draft:
    """``circle``: other devices through which the packets go round, whose own finding is the same fault once more."""
    name, first = device.ifname, loops[0]
    query = query_to(device, first.peer)
    answer = view.lookup(query) if query is not None else None
    route = view.route_rows(query.family, [answer.route])[0] if query and answer and answer.route is not None else None
    many = f" and {len(loops) - 1} more" if len(loops) > 1 else ""
    way = f"route {route.dst} of table {route.table}" if route is not None else "a policy rule"
    end = "where no peer takes them" if first.nobody else f"by {' > '.join(first.path[1:])}, and so round and round"
    only, share = len(loops) == 1, all(loop.share for loop in loops)
    fresh = share and all(view.wireguard.at - (loop.peer.latest_handshake or 0) <= REJECT_AFTER_TIME for loop in loops)
    return RULE.found(
        subject=peer_subject(device, first.peer) if only else device_subject(device),
        message=f"{name}: the encrypted packets to {endpoint_word(first.peer)}{many} are routed into {first.path[1]} "
        f"by {way}, {end}: " + ("what takes that leg is lost" if share else "nothing reaches the peer"),
        severity="warning" if fresh else None,
        evidence=[
            ("endpoint", endpoint_word(first.peer), source(device, "WGPEER_A_ENDPOINT", "endpoint")),
            ("fwmark of the device", f"{device.fwmark:#x}", source(device, "WGDEVICE_A_FWMARK", "fwmark")),
            (f"way to {first.peer.endpoint}", f"dev {first.path[1]}", f"RTM_GETROUTE, {way}"),
        ],
        confirm=[route_get(device, first.peer.endpoint or ""), f"wg show {quoted(name)} endpoints"],
        fix=_fix(view, device, query, (first.peer.endpoint or "").partition("%")[0]),
        touches=[
            *device_objects(device),
            *(peer_subject(device, loop.peer) for loop in loops),
            *([rule_subject(answer.rule, view.rules)] if answer is not None and answer.rule is not None else []),
        ],
        breaks=[
            *device_objects(device),
            *(device_subject(each) for each in circle),
            *(peer_subject(device, loop.peer) for loop in loops),
            *(thing for loop in loops for thing in inner_neighbours(device, loop.peer)),
            *([subject("route", dst=route.dst, table=route.table, ifname=first.path[1])] if route is not None else []),
        ],
    )


def _host(fwmark: int = 0, *, endpoint: str | None = "198.51.100.9", **peer: Any) -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "192.0.2.2/24").address("eth0", "2001:db8::2/64")
    host.wireguard("wg0", fwmark=fwmark).address("wg0", "10.0.0.1/24")
    return host.wg_peer("wg0", "a", endpoint=endpoint, **({"allowed_ips": ("0.0.0.0/0", "::/0")} | peer))


def examples() -> Iterator[Example]:
    about = subject("wireguard-peer", ifname="wg0", public_key=key("a"))
    yield Example(
        name="default route by the tunnel",
        why="the plain fault",
        tables=_host().route("default", dev="wg0").build(),
        fires=1,
        subject=about,
        severity="critical",
        says=("routed into wg0 by route 0.0.0.0/0 of table 254, by wg0",),
    )
    yield Example(
        name="the same of IPv6",
        why="a family of its own",
        tables=_host(endpoint="2001:db8:9::9").route("default", dev="wg0", family="inet6").build(),
        fires=1,
        subject=about,
    )
    yield Example(
        name="halves of the default route",
        why="as OpenVPN and others write it",
        tables=_host().route("default", via="192.0.2.1", dev="eth0").route("128.0.0.0/1", dev="wg0").build(),
        fires=1,
        says=("ip route add 198.51.100.9 via 192.0.2.1 dev eth0",),
    )
    for name, table, invert, says in (
        ("the mark that its rule excepts is gone", 254, True, "wg set wg0 fwmark 0xca6c"),
        ("a rule for a mark", 254, False, "via 192.0.2.1 dev eth0"),
        ("the mark leads nowhere", 99, True, "via GATEWAY dev UPLINK"),
    ):
        lost = _host().route("default", dev="wg0", table=51820)
        lost.route("default", via="192.0.2.1", dev="eth0", table=table)
        if invert:
            lost.rule(200, table=51820, fwmark=51820, invert=True)
        else:
            lost.rule(200, table=51820).rule(100, table=254, fwmark=51820)
        yield Example(name=name, why="what is to be done", tables=lost.build(), fires=1, says=(says,))
    yield Example(
        name="to nobody",
        why="the interface has no peer for it",
        tables=_host(allowed_ips=("10.0.0.2/32",)).route("default", dev="wg0").build(),
        fires=1,
        says=("where no peer takes them",),
    )
    two = _host().wg_peer("wg0", "b", endpoint="203.0.113.9", allowed_ips=("10.0.0.3/32",))
    yield Example(
        name="two peers",
        why="one default route, one finding",
        tables=two.route("default", dev="wg0").build(),
        fires=1,
        subject=subject("wireguard-interface", ifname="wg0"),
        says=("and 1 more",),
    )
    ring = _host().wireguard("wg1")
    ring.wg_peer("wg1", "b", endpoint="203.0.113.9", allowed_ips=("198.51.100.0/24",))
    ring.route("198.51.100.0/24", dev="wg1").route("203.0.113.0/24", dev="wg0")
    yield Example(name="a ring of two", why="each needs the other", tables=ring.build(), fires=2)
    marked = _host(51820).route("default", dev="wg0", table=100).rule(100, table=100)
    yield Example(
        name="a mark without a rule",
        why="the mark alone changes nothing",
        tables=marked.route("default", via="192.0.2.1", dev="eth0").build(),
        fires=1,
    )
    six = _host().route("0.0.0.0/0", via="fe80::1", dev="eth0").route("128.0.0.0/1", dev="wg0")
    inet6 = ("ip route add 198.51.100.9 via inet6 fe80::1 dev eth0",)
    yield Example(name="a gateway of IPv6", why="RFC 5549", tables=six.build(), fires=1, says=inet6)
    young = _host(age=20).route("default", dev="wg0")
    yield Example(
        name="default route by the tunnel, living keys",
        why="there is no other leg: no handshake gets out any more",
        tables=young.build(),
        fires=1,
        severity="critical",
        says=("nothing reaches the peer",),
    )
    weights: tuple[tuple[str, int, Severity], ...] = (
        ("living", 20, "warning"),
        ("expiring", 180, "warning"),
        ("dead", 500, "critical"),
    )
    for name, age, severity in weights:
        legs = _host(age=age)
        legs.route("default", hops=[legs.hop("eth0", "192.0.2.1"), legs.hop("wg0")])
        yield Example(
            name=f"one leg of two, {name} keys",
            why="the other one may carry it",
            tables=legs.build(),
            fires=1,
            severity=severity,
            says=("what takes that leg is lost",),
        )
    for kind, info in (("gre", {"remote": "10.0.0.2"}), ("vxlan", {"id": 5, "remote": "10.0.0.2"})):
        over = _over(kind, info).route("198.51.100.0/24", via="10.1.0.2", dev="t0", protocol=12)
        yield Example(
            name=f"by a {kind} tunnel inside",
            why="BGP over it brought the route",
            tables=over.build(),
            fires=1,
            says=("by t0 > wg0, and so round and round",),
        )
    far = _host(allowed_ips=("10.0.0.2/32",)).link("t0", kind="gre", info={"remote": "10.0.0.2"})
    far.address("t0", "10.1.0.1/30").route("198.51.100.0/24", via="10.1.0.2", dev="t0")
    far.route("10.0.0.2/32", hops=[far.hop("eth0", "192.0.2.1"), far.hop("wg0")])
    yield Example(
        name="one leg of two, of the tunnel inside",
        why="the other one may carry it",
        tables=far.build(),
        fires=1,
        says=("what takes that leg is lost",),
    )
    six = _host(allowed_ips=("fd00::2/128",)).address("wg0", "fd00::1/64")
    six.link("t0", kind="vxlan", info={"id": 5, "remote6": "fd00::2"}).address("t0", "10.1.0.1/30")
    yield Example(
        name="by a vxlan tunnel inside, of IPv6",
        why="the same, with a far end of IPv6",
        tables=six.route("198.51.100.0/24", via="10.1.0.2", dev="t0").build(),
        fires=1,
        says=("by t0 > wg0, and so round and round",),
    )
    yield from _quiet_examples()


def _over(kind: str, info: dict[str, Any]) -> WireguardBuilder:
    """A tunnel to the inner address of a peer."""
    host = _host(allowed_ips=("10.0.0.2/32",))
    host.route("default", via="192.0.2.1", dev="eth0")
    host.link("t0", kind=kind, info=info).address("t0", "10.1.0.1/30")
    return host


def _quiet_examples() -> Iterator[Example]:
    quick = _host(51820).route("default", dev="wg0", table=51820).route("default", via="192.0.2.1", dev="eth0")
    quick.rule(32764, table=254, suppress_prefixlength=0).rule(32765, table=51820, fwmark=51820, invert=True)
    yield Example(name="wg-quick's rules", why="the mark takes it to main", tables=quick.build())
    for kind, info in (("gre", {"remote": "192.0.2.9"}), ("gre", {"remote": "0.0.0.0"}), ("bridge", {})):
        out = _over(kind, info).route("198.51.100.0/24", via="10.1.0.2", dev="t0")
        far = info.get("remote", "nobody")
        yield Example(name=f"by a {kind} to {far}", why="it gets out", tables=out.build())
    for kind, none in (("gre", "0.0.0.0"), ("ip6gre", "::")):
        any_ = _host().link("t0", kind=kind, info={"remote": none}).address("t0", "10.1.0.1/30")
        any_.route("198.51.100.0/24", via="10.1.0.2", dev="t0").route("default", dev="wg0")
        any_.route("default", dev="wg0", family="inet6")
        yield Example(name=f"by a {kind} without a far end", why="where it goes is not known", tables=any_.build())
    itself = _over("gre", {"remote": "10.1.0.2"}).route("198.51.100.0/24", via="10.1.0.2", dev="t0")
    yield Example(name="by a gre into itself", why="a fault of that tunnel", tables=itself.build())
    inside = _over("gre", {"remote": "10.0.0.2"}).build()
    yield Example(name="a tunnel inside", why="the endpoint goes by eth0", tables=inside)
    own = _host().route("default", dev="wg0").route("198.51.100.9/32", via="192.0.2.1", dev="eth0")
    yield Example(name="a route for the endpoint", why="it goes out by eth0", tables=own.build())
    nested = _host()
    nested.route("198.51.100.0/24", dev="wg0")
    nested.wg_peer("wg0", "b", endpoint="192.0.2.9", allowed_ips=("198.51.100.0/24",))
    yield Example(name="a peer behind a peer", why="it ends outside", tables=nested.build())
    inner = _host().wireguard("wg1").wg_peer("wg1", "b", endpoint="192.0.2.9", allowed_ips=("198.51.100.0/24",))
    yield Example(
        name="a tunnel in a tunnel", why="it ends outside", tables=inner.route("198.51.100.0/24", dev="wg1").build()
    )
    yield Example(
        name="no way at all", why="wg-endpoint-unroutable says it", tables=_host(endpoint="198.51.100.9").build()
    )
    idle = _host(endpoint=None)
    yield Example(name="no endpoint", why="nothing is sent", tables=idle.route("default", dev="wg0").build())
    first = _host(endpoint="192.0.2.9", allowed_ips=("198.51.100.0/24",))
    first.wg_peer("wg0", "b", endpoint="198.51.100.9", allowed_ips=("0.0.0.0/0",)).route("198.51.100.0/24", dev="wg0")
    yield Example(name="the longer prefix said first", why="the longest decides, not the last", tables=first.build())
    refused = _host().route("198.51.100.9/32", type="prohibit").route("default", dev="wg0")
    yield Example(name="refused", why="wg-endpoint-unroutable says it", tables=refused.build())
