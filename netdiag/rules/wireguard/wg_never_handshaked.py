"""What it checks
  A WireGuard peer with an endpoint that has never shaken hands although this host tried: at least a dozen initiations,
  148 bytes each and five seconds apart, have been sent to it since it was made, so a minute's worth. Where no peer of
  a device has ever answered and several were tried, that is one finding.

Why it matters
  The peer has never worked: everything routed to it is dropped on this host. WireGuard does not say why. A far end
  that does not know this host's key, or that is addressed by a key that is not its own, stays silent on purpose.

Confirm
  wg show IFNAME latest-handshakes
  wg show IFNAME transfer
  ip route get ENDPOINT
  tcpdump -ni any udp port LISTEN_PORT: initiations of 148 bytes leave, no response of 92 bytes comes

Fix
  Compare on both hosts, in this order: the endpoint's address and port with "wg show IFNAME listen-port" over there;
  the peer's key with "wg show IFNAME public-key" over there, and the same the other way round; whether both have the
  same preshared key; the firewalls. wg set IFNAME peer KEY endpoint ADDRESS:PORT changes nothing for other peers. A
  peer of whom the key is wrong must be removed and made anew.

Not flagged
  A peer without an endpoint, which waits for the other side to call. A peer to which nothing was sent: idle peers of a
  full mesh, or fresh from provisioning. Less than a dozen tries, also while they go on. A peer whose handshake comes
  between the two looks. A device that is down (wg-iface-down). A peer that shook hands once (wg-handshake-stale). How
  long ago a peer was made is not known: the bytes sent to it stand for that.

References
  drivers/net/wireguard/messages.h struct message_handshake_initiation, REKEY_TIMEOUT; timers.c
  wg_expired_retransmit_handshake(), which gives up after 18 tries; WireGuard paper, sections 5.4 and 6.4
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.wireguard import PeerCounters, WireguardDevice, WireguardPeer
from netdiag.rules.build_wireguard import WireguardBuilder, key
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import (
    INITIATION,
    device_subject,
    devices,
    endpoint_word,
    inner_neighbours,
    peer_subject,
    second_looks,
    source,
    way_to,
)

RULE = Rule(
    id="wg-never-handshaked",
    title="a WireGuard peer has never answered",
    severity="warning",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls", "wireguard"),
    explains=("bgp-not-established", "bgp-hold-timer-expired", "bgp-bfd-down"),
)

MANY_TRIES = 12
"""A minute's worth."""


def spoken(peer: WireguardPeer, second: PeerCounters | None) -> bool:
    """Whether a peer has ever shaken hands, at the second look if not at the first."""
    return peer.latest_handshake is not None or (second is not None and second.latest_handshake is not None)


def tried(peer: WireguardPeer) -> bool:
    """Whether a minute's worth of tries went to a peer's endpoint."""
    return peer.endpoint is not None and peer.tx_bytes >= MANY_TRIES * INITIATION


def check(view: HostView) -> Iterator[Draft]:
    seconds = second_looks(view)
    for device, link in devices(view):
        if not link.up:
            continue
        looks = [(peer, seconds.get((device.ifname, peer.public_key))) for peer in device.peers]
        found = [(peer, second) for peer, second in looks if tried(peer) and not spoken(peer, second)]
        if len(found) > 1 and not any(spoken(peer, second) for peer, second in looks):
            yield _of_device(view, device, [peer for peer, _ in found])
            continue
        for peer, second in found:
            yield _of_peer(view, device, peer, second)


def _evidence(device: WireguardDevice, peer: WireguardPeer) -> list[tuple[str, object, str]]:
    return [
        (
            "latest handshake",
            "never",
            source(device, "WGPEER_A_LAST_HANDSHAKE_TIME", "last_handshake_time_sec"),
        ),
        (f"bytes sent to {endpoint_word(peer)}", peer.tx_bytes, source(device, "WGPEER_A_TX_BYTES", "tx_bytes")),
        ("bytes received", peer.rx_bytes, source(device, "WGPEER_A_RX_BYTES", "rx_bytes")),
    ]


def _of_peer(view: HostView, device: WireguardDevice, peer: WireguardPeer, second: PeerCounters | None) -> Draft:
    name = device.ifname
    goes_on = peer.persistent_keepalive or (second is not None and second.tx_bytes > peer.tx_bytes)
    return RULE.found(
        subject=peer_subject(device, peer),
        message=f"peer {peer.public_key} of {name} at {endpoint_word(peer)} has never answered: "
        f"{peer.tx_bytes // INITIATION} tries, no handshake" + ("" if goes_on else "; nothing is sent to it now"),
        evidence=_evidence(device, peer),
        confirm=_confirm(device, peer),
        fix=f"wg set {quoted(name)} peer {quoted(peer.public_key)} endpoint {quoted(endpoint_word(peer))}"
        "  # with the right address and port; if they are right, compare the keys on both hosts",
        confidence="certain" if goes_on else "likely",
        touches=[device_subject(device), subject("link", ifname=name), *way_to(view, device, peer)],
        breaks=inner_neighbours(device, peer),
    )


def _of_device(view: HostView, device: WireguardDevice, found: list[WireguardPeer]) -> Draft:
    name, first = device.ifname, max(found, key=lambda peer: (peer.tx_bytes, peer.public_key))
    return RULE.found(
        subject=device_subject(device),
        message=f"no peer of {name} has ever answered: {len(found)} of {len(device.peers)} were tried, "
        f"{endpoint_word(first)} {first.tx_bytes // INITIATION} times",
        evidence=_evidence(device, first),
        confirm=_confirm(device, first),
        fix=f"wg show {quoted(name)} public-key  # compare with what the far ends have; then this host's firewall and "
        f"UDP port {device.listen_port}",
        touches=[
            subject("link", ifname=name),
            *(peer_subject(device, peer) for peer in found),
            *(thing for peer in found for thing in way_to(view, device, peer)),
        ],
        breaks=[thing for peer in found for thing in inner_neighbours(device, peer)],
    )


def _confirm(device: WireguardDevice, peer: WireguardPeer) -> list[str]:
    name = quoted(device.ifname)
    address, mark = (peer.endpoint or "").partition("%")[0], f" mark {device.fwmark:#x}" if device.fwmark else ""
    return [f"wg show {name} latest-handshakes", f"wg show {name} transfer", f"ip route get {quoted(address)}{mark}"]


def examples() -> Iterator[Example]:
    yield from _peer_examples()
    yield from _quiet_examples()
    yield from _several_examples()


ABOUT = subject("wireguard-peer", ifname="wg0", public_key=key("a"))
DOZEN = 1776
"""Bytes of twelve initiations."""


def _host(tx: int = DOZEN, *, up: bool = True, userspace: bool = False, **fields: Any) -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "192.0.2.1/24").address("eth0", "2001:db8::1/64")
    host.wireguard("wg0", up=up, userspace=userspace)
    return host.wg_peer("wg0", "a", tx_bytes=tx, **fields)


def _peer_examples() -> Iterator[Example]:
    for userspace in (False, True):
        for endpoint in ("192.0.2.2", "2001:db8::2", "198.51.100.9"):
            yield Example(
                name=f"a dozen tries to {endpoint}, {'userspace' if userspace else 'kernel'}",
                why="keepalives make it try for ever; with or without a route to its endpoint",
                tables=_host(userspace=userspace, endpoint=endpoint, persistent_keepalive=25).build(),
                fires=1,
                subject=ABOUT,
                severity="warning",
                confidence="certain",
                says=("has never answered: 12 tries, no handshake", "latest handshake never"),
            )
    yield Example(
        name="given up",
        why="it never worked, but nobody wants it now",
        tables=_host().second_look("wg0", "a").build(),
        fires=1,
        severity="warning",
        confidence="likely",
        says=("nothing is sent to it now",),
    )
    yield Example(
        name="one look, no keepalive",
        why="whether it goes on is not known",
        tables=_host().build(),
        fires=1,
        confidence="likely",
    )
    yield Example(
        name="still trying without keepalive",
        why="somebody wants to send",
        tables=_host().second_look("wg0", "a", tx=148).build(),
        fires=1,
        confidence="certain",
    )
    yield Example(
        name="answers that do not verify",
        why="a preshared key that differs: bytes come, no handshake",
        tables=_host(rx_bytes=1104).build(),
        fires=1,
        says=("bytes received 1104",),
    )


def _quiet_examples() -> Iterator[Example]:
    yield Example(name="not yet a dozen", why="one byte less", tables=_host(DOZEN - 1, persistent_keepalive=25).build())
    yield Example(name="nothing sent", why="idle in a full mesh, or just provisioned", tables=_host(0).build())
    yield Example(
        name="no endpoint",
        why="the other side calls; the bytes went to an endpoint that was taken away",
        tables=_host(endpoint=None).build(),
    )
    yield Example(name="shaken hands", why="it has worked", tables=_host(age=5000).build())
    yield Example(
        name="handshake between the looks",
        why="its far end has just come",
        tables=_host().second_look("wg0", "a", rx=92, age=-3).build(),
    )
    yield Example(name="device down", why="wg-iface-down says it", tables=_host(up=False).build())
    moved = _host(userspace=True).elsewhere("wg0")
    yield Example(name="interface in another namespace", why="whether it is up is not known", tables=moved.build())


def _several_examples() -> Iterator[Example]:
    def two(**fields: Any) -> WireguardBuilder:
        return _host().wg_peer("wg0", "b", endpoint="192.0.2.3", **fields)

    whole = subject("wireguard-interface", ifname="wg0")
    yield Example(
        name="no peer has ever answered",
        why="one cause, one finding: this host's key, port or way out",
        tables=two(tx_bytes=2664).wg_peer("wg0", "c").build(),
        fires=1,
        subject=whole,
        severity="warning",
        says=("2 of 3 were tried, 192.0.2.3:51820 18 times",),
    )
    yield Example(
        name="two tried, a third has answered",
        why="the device works: two peers do not",
        tables=two(tx_bytes=DOZEN).wg_peer("wg0", "c", age=5000).build(),
        fires=2,
        subject=subject("wireguard-peer", ifname="wg0"),
    )
    third = two(tx_bytes=DOZEN).wg_peer("wg0", "c").second_look("wg0", "c", rx=92, age=-1)
    yield Example(name="two tried, a third answers now", why="the same", tables=third.build(), fires=2)
    yield Example(name="one tried of two", why="the other one is idle", tables=two().build(), fires=1, subject=ABOUT)
