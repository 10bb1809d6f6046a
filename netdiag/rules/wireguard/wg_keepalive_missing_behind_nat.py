"""What it checks
  A WireGuard peer without a persistent keepalive whose keys have expired, on a host that sends to it from a private
  address (RFC 1918, 100.64.0.0/10) to a public one: there is a NAT between them that forgets the way back.

Why it matters
  While this host sends, the NAT knows where answers go; one or two minutes after the last packet it does not, and the
  peer can no longer reach this host. It works again as soon as something is sent from here, which makes it look
  haunted.

Confirm
  wg show IFNAME persistent-keepalive
  wg show IFNAME latest-handshakes
  ip route get ENDPOINT

Fix
  wg set IFNAME peer KEY persistent-keepalive 25; one packet of 32 bytes every 25 seconds, and nothing else changes.
  Write it into the configuration too.

Not flagged
  Hosts with a public address, or whose peer is in private address space as well. Peers with a keepalive or with living
  keys. Never more than information: a client that nobody calls needs no keepalive.

References
  https://www.wireguard.com/quickstart/ "NAT and Firewall Traversal Persistence"; wg(8); RFC 4787 REQ-5
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.build_wireguard import WireguardBuilder, key
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import REJECT_AFTER_TIME, endpoint_word, peer_subject, query_to, source
from netdiag.rules.wireguardways import alive, device_objects, route_get

RULE = Rule(
    id="wg-keepalive-missing-behind-nat",
    title="a WireGuard peer behind NAT has no keepalive",
    severity="info",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls", "wireguard"),
)
PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8")
)


def private(address: str) -> bool:
    """An IPv4 address that somebody must translate on the way to the Internet."""
    return any(ipaddress.ip_address(address) in one for one in PRIVATE)


def check(view: HostView) -> Iterator[Draft]:
    for device, _ in alive(view):
        for peer in device.peers:
            if peer.persistent_keepalive or peer.endpoint is None or ":" in peer.endpoint or private(peer.endpoint):
                continue
            if peer.latest_handshake is None or view.wireguard.at - peer.latest_handshake <= REJECT_AFTER_TIME:
                continue
            own = own_address(view, device, peer)
            if own is not None and private(own):
                yield _finding(device, peer, own)


def own_address(view: HostView, device: WireguardDevice, peer: WireguardPeer) -> str | None:
    """The source of the encrypted packets; None where that is not sure."""
    query = query_to(device, peer)
    assert query is not None
    answer = view.lookup(query)
    if answer.prefsrc is not None:
        return answer.prefsrc
    own = [row.local for row in view.addresses if row.ifindex == answer.oif and row.family == "inet" and not row.scope]
    return own[0] if len({private(address) for address in own}) == 1 else None


def _finding(device: WireguardDevice, peer: WireguardPeer, own: str) -> Draft:
    name = device.ifname
    return RULE.found(
        subject=peer_subject(device, peer),
        message=f"peer {peer.public_key} of {name} at {endpoint_word(peer)} is reached from the private address {own}, "
        "so by NAT, and has no keepalive: it cannot reach this host while this host is silent",
        evidence=[
            (
                "persistent keepalive",
                "off",
                source(device, "WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL", "persistent_keepalive_interval"),
            ),
            ("source of the encrypted packets", own, "RTM_GETROUTE, RTM_GETADDR"),
        ],
        confirm=[f"wg show {quoted(name)} persistent-keepalive", route_get(device, peer.endpoint or "")],
        fix=f"wg set {quoted(name)} peer {quoted(peer.public_key)} persistent-keepalive 25",
        touches=device_objects(device),
    )


def _host(own: str = "192.168.1.7/24", *, age: float | None = 181, **peer: Any) -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth0").address("eth0", own).route("default", via=own.rpartition(".")[0] + ".1", dev="eth0")
    return host.wireguard("wg0").wg_peer("wg0", "a", age=age, **({"endpoint": "198.51.100.9"} | peer))


def examples() -> Iterator[Example]:
    about = _subject()
    for own in ("192.168.1.7/24", "10.1.2.3/24", "172.31.0.9/24", "100.127.0.9/24"):
        yield Example(
            name=f"from {own}",
            why="somebody translates it",
            tables=_host(own).build(),
            fires=1,
            subject=about,
            severity="info",
        )
    for own in ("203.0.113.7/24", "172.32.0.9/24", "100.128.0.9/24"):
        yield Example(name=f"from {own}", why="a public address", tables=_host(own).build())
    yield Example(name="living keys", why="it works now", tables=_host(age=180).build())
    yield Example(name="never spoke", why="nobody knows", tables=_host(age=None).build())
    yield Example(name="keepalive", why="as it should be", tables=_host(persistent_keepalive=25).build())
    yield Example(name="in the same network", why="no NAT", tables=_host(endpoint="10.9.9.9").build())
    yield Example(name="IPv6", why="no NAT", tables=_host(endpoint="2001:db8::9").build())
    yield Example(name="no endpoint", why="it calls by itself", tables=_host(endpoint=None).build())
    dual = (
        _host(endpoint="2001:db8:9::9")
        .address("eth0", "2001:db8::7/64")
        .route("default", via="2001:db8::1", dev="eth0")
    )
    yield Example(name="IPv6 beside NAT", why="no NAT", tables=dual.build())
    second = _host().address("eth0", "203.0.113.7/24")
    yield Example(name="a public address besides", why="which it takes is not sure", tables=second.build())
    other = _host()
    other.address("eth0", "2001:db8::7/64").link("eth1").address("eth1", "203.0.113.7/24")
    yield Example(name="public ones of another card and family", why="it takes neither", tables=other.build(), fires=1)
    no = _host().without_routes(table=254)
    yield Example(name="no way", why="wg-endpoint-unroutable says it", tables=no.build())


def _subject() -> dict[str, str | int]:
    return {"kind": "wireguard-peer", "ifname": "wg0", "public_key": key("a")}
