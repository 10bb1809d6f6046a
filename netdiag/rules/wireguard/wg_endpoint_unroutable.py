"""What it checks
  A WireGuard peer's endpoint to which this host has no way: the routing tables, asked with the mark of the device,
  answer "unreachable", or a route or policy rule of type blackhole, unreachable or prohibit holds the endpoint. Or the
  endpoint is this host itself: its own address with the port of the very device, or with a port at which nobody
  listens. Or it is routed into another WireGuard interface, of which no peer has it among its allowed addresses.

Why it matters
  No handshake leaves. The interface is up, its routes are there, and what goes into it is queued and thrown away.
  Typical: an endpoint of IPv6 on a host that lost its IPv6 default route, a blackhole for an aggregate, a policy rule.

Confirm
  ip route get ENDPOINT mark FWMARK
  wg show IFNAME endpoints

Fix
  Give the host a way to the endpoint: take the route that refuses away (ip route del TYPE PREFIX) or add the missing
  one; a policy rule that refuses needs one before it (ip rule add pref N to ENDPOINT lookup TABLE). Only packets to
  that prefix change their way. If the peer has another address of the family that works: wg set IFNAME peer KEY
  endpoint ADDRESS:PORT.

Not flagged
  A peer that roamed and is not used: keys too old and no keepalive, told as info only. A peer without an endpoint. A
  device that is down. Where the host has no default route at all, that stands above. An endpoint on this host at which
  another program listens: a proxy that carries WireGuard in something else. With --all-netns, a device alone in its
  namespace: its packets leave by the one that it was made in.

References
  drivers/net/wireguard/socket.c send4() send6(), "No route to %pISpfsc for peer"; wg(8) "endpoint"
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.index.packet import Lookup
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.build_wireguard import WireguardBuilder, key
from netdiag.rules.routewords import around, ip_command
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.sockettables import served
from netdiag.rules.wireguardpeers import (
    device_subject,
    devices,
    endpoint_word,
    inner_neighbours,
    peer_subject,
    query_to,
    source,
)
from netdiag.rules.wireguardways import alive, device_objects, family_of, network, peer_for, route_get, sending

RULE = Rule(
    id="wg-endpoint-unroutable",
    title="this host has no way to a WireGuard peer's endpoint",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls", "wireguard"),
    consults=("sockets",),
    explains=(
        "wg-handshake-stale",
        "wg-never-handshaked",
        "wg-mtu-exceeds-underlay",
        "bgp-*",
        "route-blackhole-unexpected",
    ),
)
REFUSALS = ("ENETUNREACH", "EHOSTUNREACH", "EACCES", "EINVAL")
ACTIONS = ("blackhole", "unreachable", "prohibit")
DEFAULT = {"inet": "0.0.0.0/0", "inet6": "::/0"}


def refused(view: HostView, device: WireguardDevice, peer: WireguardPeer) -> Lookup | None:
    """The kernel's answer where it refuses, whatever cannot be known."""
    query = query_to(device, peer)
    answer = view.lookup(query) if query is not None else None
    if answer is not None and answer.type == "local":
        return answer if _to_itself(view, device, peer) else None
    if answer is not None and into_nobody(view, device, answer) is not None:
        return answer
    if answer is None or any(other.ok for other in (answer, *answer.alternatives)):
        return None
    return answer if answer.error in REFUSALS else None


def into_nobody(view: HostView, own: WireguardDevice, answer: Lookup) -> str | None:
    """The other WireGuard interface that the packets go into, of which no peer takes them; None: they go elsewhere."""
    others = {link.ifindex: device for device, link in devices(view) if link.up and device.ifname != own.ifname}
    ways = [others.get(hop.oif) for hop in answer.hops]
    if not ways or any(other is None or peer_for(other, answer.query.dst) is not None for other in ways):
        return None
    return view.ifname(answer.hops[0].oif)


def _to_itself(view: HostView, device: WireguardDevice, peer: WireguardPeer) -> bool:
    """Whether an endpoint on this host is the device's own port, or nobody's."""
    if peer.endpoint_port == device.listen_port:
        return True
    address, port = (peer.endpoint or "").partition("%")[0], peer.endpoint_port or 0
    return view.read_whole("sockets") and not served(view, address, port, IPPROTO_UDP)


def check(view: HostView) -> Iterator[Draft]:
    at = view.wireguard.at
    for device, _ in alive(view):
        found = [(peer, answer) for peer in device.peers if (answer := refused(view, device, peer)) is not None]
        # A peer that never spoke is one that is wanted and cannot be had; one with old keys may have gone elsewhere.
        sure = [(peer, answer) for peer, answer in found if sending(peer, at) or peer.latest_handshake is None]
        if len(sure) == len(device.peers):
            yield _finding(view, device, sure, sure=True)
            continue
        for one in found:
            yield _finding(view, device, [one], sure=one in sure)


def _finding(
    view: HostView, device: WireguardDevice, found: list[tuple[WireguardPeer, Lookup]], *, sure: bool
) -> Draft:
    name, (peer, answer) = device.ifname, found[0]
    family, address = family_of(peer.endpoint or ""), (peer.endpoint or "").partition("%")[0]
    by, alone, row = "no route", [], None
    if answer.type == "local":
        own = peer.endpoint_port == device.listen_port
        by = f"it is this host itself, {'the port of ' + name if own else 'where nobody listens'}"
        undo = f"wg set {quoted(name)} peer {quoted(peer.public_key)} endpoint ADDRESS:PORT"
    elif (other := into_nobody(view, device, answer)) is not None:
        by = f"it is routed into {other}, where no peer has it among its allowed addresses"
        undo = f"{ip_command(family)} route add {quoted(address)} via GATEWAY dev UPLINK"
    elif answer.route is not None:
        row = view.route_rows(family, [answer.route])[0]
        by = f"{answer.type} route {row.dst} of table {row.table}"
        if network(row.dst).num_addresses == 1:  # a refusal of this endpoint and of nothing else is this fault
            alone = [subject("route", dst=row.dst, table=row.table)]
        undo = f"{ip_command(family)} route del {answer.type} {row.dst} table {row.table}"
    elif answer.rule is not None and answer.rule.action in ACTIONS:
        by = f"policy rule {answer.rule.priority} ({answer.rule.action})"
        pref = max(answer.rule.priority - 1, 0)
        undo = (
            f"{ip_command(family)} rule add pref {pref} to {quoted(address)} lookup main  # where main has a way to it"
        )
    else:
        undo = f"{ip_command(family)} route add {quoted(address)} via GATEWAY dev UPLINK"
    error = f" ({answer.error})" if answer.error else ""
    many = f" and {len(found) - 1} other{'s' if len(found) > 2 else ''}" if len(found) > 1 else ""
    return RULE.found(
        subject=peer_subject(device, peer) if len(found) == 1 else device_subject(device),
        message=f"{name}: no way to endpoint {endpoint_word(peer)}{many}: {by}{error}, "
        + ("no handshake leaves this host" if sure else "the peer is not in use"),
        evidence=[
            ("endpoint", endpoint_word(peer), source(device, "WGPEER_A_ENDPOINT", "endpoint")),
            (f"way to {address}", f"{answer.error or answer.type}, {by}", "RTM_GETROUTE, RTM_GETRULE"),
            ("persistent keepalive", peer.persistent_keepalive or "off", source(device, "keepalive", "keepalive")),
        ],
        confirm=[route_get(device, address), f"wg show {quoted(name)} endpoints"],
        fix=undo,
        severity="critical" if sure else "info",
        touches=[
            *(subject("address", address=one.endpoint.partition("%")[0]) for one, _ in found if one.endpoint),
            *device_objects(device),
            *(peer_subject(device, one) for one, _ in found),
            *(around(one.endpoint.partition("%")[0]) for one, _ in found if one.endpoint),
            subject("route", dst=DEFAULT[family], table=254),
            *([subject("route", dst=row.dst, table=row.table)] if row is not None else []),
        ],
        breaks=[
            *alone,
            *(peer_subject(device, one) for one, _ in found),
            *(thing for one, _ in found for thing in inner_neighbours(device, one)),
        ],
    )


def _host(endpoint: str | None = "198.51.100.9", *, age: float | None = 20, **peer: Any) -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "192.0.2.2/24").address("eth0", "2001:db8::2/64")
    return host.wireguard("wg0").wg_peer("wg0", "a", endpoint=endpoint, age=age, **peer)


def examples() -> Iterator[Example]:
    about = subject("wireguard-peer", ifname="wg0", public_key=key("a"))
    for endpoint in ("198.51.100.9", "2001:db8:9::9"):
        yield Example(
            name=f"no route to {endpoint}",
            why="the plain fault",
            tables=_host(endpoint).build(),
            fires=1,
            subject=about,
            severity="critical",
            says=("no route (ENETUNREACH), no handshake leaves",),
        )
    apart = _host().build()
    made = (msgspec.structs.replace(apart.wireguard.devices[0], elsewhere=True),)
    apart = replace(apart, wireguard=msgspec.structs.replace(apart.wireguard, devices=made))
    yield Example(name="alone in its namespace", why="its socket is in the one that it was made in", tables=apart)
    for kind, code in (("blackhole", "EINVAL"), ("unreachable", "EHOSTUNREACH"), ("prohibit", "EACCES")):
        host = _host().route("default", via="192.0.2.1", dev="eth0").route("198.51.100.0/24", type=kind)
        yield Example(
            name=f"{kind} route",
            why="the default route does not help",
            tables=host.build(),
            fires=1,
            subject=about,
            says=(f"{kind} route 198.51.100.0/24 of table 254 ({code})", f"ip route del {kind} 198.51.100.0/24"),
        )
    barred = _host().rule(100, action="prohibit").route("default", via="192.0.2.1", dev="eth0")
    said = ("policy rule 100 (prohibit) (EACCES)", "ip rule add pref 99 to 198.51.100.9 lookup main")
    yield Example(name="refused by a rule", why="no route helps", tables=barred.build(), fires=1, says=said)
    yield Example(
        name="never shook hands, no keepalive",
        why="an endpoint that somebody wrote down and that cannot be reached",
        tables=_host(age=None).build(),
        fires=1,
        severity="critical",
    )
    yield Example(
        name="keys alive to the last second",
        why="it is in use",
        tables=_host(age=180).build(),
        fires=1,
        severity="critical",
    )
    yield Example(
        name="roamed and idle", why="nobody wants it now", tables=_host(age=181).build(), fires=1, severity="info"
    )
    yield Example(
        name="old keys and a keepalive",
        why="this host tries for ever",
        tables=_host(age=9000, persistent_keepalive=25).build(),
        fires=1,
        severity="critical",
    )
    both = _host().wg_peer("wg0", "b", endpoint="203.0.113.9", age=20)
    yield Example(
        name="all peers",
        why="one cause, one finding",
        tables=both.build(),
        fires=1,
        subject=subject("wireguard-interface", ifname="wg0"),
        severity="critical",
        says=("and 1 other: ",),
    )
    yield Example(
        name="reachable", why="a default route", tables=_host().route("default", via="192.0.2.1", dev="eth0").build()
    )
    yield Example(name="on the link", why="a connected subnet", tables=_host("192.0.2.9").build())
    yield Example(name="no endpoint", why="it will call", tables=_host(None).build())
    down = WireguardBuilder().wireguard("wg0", up=False).wg_peer("wg0", "a", endpoint="198.51.100.9", age=20)
    yield Example(name="device down", why="wg-iface-down says it", tables=down.build())
    marked = WireguardBuilder()
    marked.link("eth0").address("eth0", "192.0.2.2/24")
    marked.wireguard("wg0", fwmark=7).wg_peer("wg0", "a", endpoint="198.51.100.9", age=20)
    marked.route("default", via="192.0.2.1", dev="eth0", table=100).rule(100, table=100, fwmark=7)
    yield Example(name="by its mark only", why="the way is in another table", tables=marked.build())
    some = _host().wg_peer("wg0", "b", endpoint="203.0.113.9", age=20).wg_peer("wg0", "c", endpoint="192.0.2.9", age=20)
    yield Example(name="two of three", why="the third is on the link", tables=some.build(), fires=2, subject=about)
    maybe = _host().rule(100, table=100, unknown=1).route("default", via="192.0.2.1", dev="eth0", table=100)
    yield Example(name="by a rule that is not understood", why="there may be a way", tables=maybe.build())
    refused = _host().rule(100, action="prohibit", unknown=1).route("default", via="192.0.2.1", dev="eth0")
    yield Example(name="refused by a rule that is not understood", why="not for all, it may be", tables=refused.build())
    udp = _host().rule(100, table=100, ip_proto=17).route("default", via="192.0.2.1", dev="eth0", table=100)
    yield Example(name="by a rule for UDP", why="WireGuard is UDP", tables=udp.build())
    yield from _itself()
    yield from _into_others()


def _itself() -> Iterator[Example]:
    """Endpoints on this host."""
    crit: dict[str, Any] = {"fires": 1, "severity": "critical"}

    def case(name: str, why: str, host: WireguardBuilder, **expected: Any) -> Example:
        return Example(name=name, why=why, tables=host.build(), **expected)

    for own in ("192.0.2.2", "2001:db8::2", "127.0.0.1"):
        said = ("it is this host itself, the port of wg0",)
        yield case(f"its own port at {own}", "the addresses were mixed up", _host(own), says=said, **crit)
    other = _host("192.0.2.2", endpoint_port=51821)
    yield case("a port of nobody", "the same", other, says=("where nobody listens",), **crit)
    yield case("a port of which nothing is known", "somebody may listen", other, late=("sockets",), unjudged=True)
    proxy = _host("127.0.0.1", endpoint_port=4567)
    proxy.socket(src="127.0.0.1", sport=4567, protocol=17, comm="udp2raw")
    yield case("a proxy on this host", "it carries WireGuard in TCP", proxy)


def _into_others() -> Iterator[Example]:
    """Endpoints behind another device."""

    def host(*allowed: str, peers: bool = True, **out: Any) -> WireguardBuilder:
        built = _host("10.5.9.9", persistent_keepalive=25, age=None, endpoint_port=51821)
        built.wireguard("wg1", listen_port=51821)
        if peers:
            built.wg_peer("wg1", "c", endpoint="192.0.2.9", age=20, allowed_ips=allowed)
        built.route("10.5.0.0/16", **(out or {"dev": "wg1"}))
        return built

    says = ("routed into wg1, where no peer has it",)
    for name, built in (
        ("behind another device, in a hole", host("10.5.0.0/24")),
        ("behind another device without peers", host(peers=False)),
    ):
        yield Example(
            name=name,
            why="it takes the packets and drops them",
            tables=built.build(),
            fires=1,
            severity="critical",
            says=says,
        )
    nested = host("10.5.9.0/24").build()
    yield Example(name="a tunnel in a tunnel", why="a peer takes the packets", tables=nested)
    legs = host("10.5.0.0/24", dev="eth0", via="192.0.2.1")
    legs.route("10.5.9.9/32", hops=[legs.hop("wg1"), legs.hop("eth0", "192.0.2.1")])
    yield Example(name="behind another device, or not", why="another leg gets out", tables=legs.build())
