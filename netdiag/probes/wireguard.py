"""Does a WireGuard peer answer? One byte is sent into the tunnel, and the peer's counters are read before and after.

No key is read or made: the kernel, or the daemon, does the handshake as for any packet. A session that is alive shows
by a packet that comes back: if nothing else, the peer's own keepalive ten seconds after data that it did not answer
(KEEPALIVE_TIMEOUT in drivers/net/wireguard/messages.h). One that is not alive shows by a handshake, or by none.
"""

import ipaddress
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from netdiag.model.probe import Destination, Verdict, WireguardResult
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.probes.plan import WIREGUARD_WAIT
from netdiag.probes.sockets import Probe

LOOK = 0.25
"""Seconds between two looks at the counters."""
Devices = Iterable[WireguardDevice]
Read = Callable[[], Devices]


@dataclass(frozen=True, kw_only=True)
class Tunnel:
    """A peer, and the address inside the tunnel to which the byte goes."""

    ifname: str
    peer: WireguardPeer
    to: Destination


def tunnels(devices: Devices, asked: str) -> list[Tunnel]:
    """The peers that are meant: by address inside the tunnel, by public key, or all of an interface. Pure."""
    try:
        address = ipaddress.ip_address(asked)
    except ValueError:
        named = [
            (device.ifname, peer)
            for device in devices
            for peer in device.peers
            if asked in (device.ifname, peer.public_key)
        ]
        return [Tunnel(ifname=name, peer=peer, to=to) for name, peer in named if (to := _inside(peer)) is not None]
    best: tuple[int, Tunnel] | None = None
    for device in devices:
        for peer in device.peers:
            for prefix in map(ipaddress.ip_network, peer.allowed_ips):
                if address in prefix and (best is None or prefix.prefixlen > best[0]):
                    best = prefix.prefixlen, Tunnel(ifname=device.ifname, peer=peer, to=_to(asked, address))
    return [best[1]] if best else []


def _to(name: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Destination:
    return Destination(name=name, address=str(address), family="inet6" if address.version == 6 else "inet")


def _inside(peer: WireguardPeer) -> Destination | None:
    """An address that can only be the peer's: of the longest prefix; None where it has but default routes."""
    prefixes = sorted(
        map(ipaddress.ip_network, peer.allowed_ips), key=lambda prefix: (prefix.version, -prefix.prefixlen)
    )
    whole = [prefix for prefix in prefixes if prefix.prefixlen == prefix.max_prefixlen]
    for prefix in whole or [prefix for prefix in prefixes if prefix.prefixlen]:
        first = prefix[1] if prefix.num_addresses > 2 else prefix[0]
        return _to(peer.public_key, first)
    return None


def judged(tunnel: Tunnel, before: WireguardPeer, after: WireguardPeer | None, now: float) -> WireguardResult:
    """What the counters say. Pure; ``now``: Unix time."""
    shook = after is not None and (after.latest_handshake or 0) > (before.latest_handshake or 0)
    received = after.rx_bytes - before.rx_bytes if after is not None else 0
    sent = after.tx_bytes - before.tx_bytes if after is not None else 0
    verdict, says = _verdict(tunnel, after, shook, sent, received)
    last = (after or before).latest_handshake
    port = f" port {before.endpoint_port}" if before.endpoint_port is not None else ""
    return WireguardResult(
        destination=tunnel.to,
        verdict=verdict,
        says=says,
        ifname=tunnel.ifname,
        public_key=before.public_key,
        endpoint=f"{before.endpoint}{port}" if before.endpoint is not None else None,
        handshake_age=round(max(0.0, now - last), 1) if last else None,
        handshook=shook,
        sent_bytes=max(0, sent),
        received_bytes=max(0, received),
    )


def _verdict(tunnel: Tunnel, after: WireguardPeer | None, shook: bool, sent: int, received: int) -> tuple[Verdict, str]:
    who = f"the peer {tunnel.peer.public_key[:8]}... of {tunnel.ifname}"
    if after is None:
        return "unknown", f"{who} went away while it was probed"
    if sent < 0 or received < 0:
        return "unknown", f"the counters of {who} were reset while it was probed"
    if shook:
        return "ok", f"{who} answers: a new handshake"
    if received > 0:
        return "ok", f"{who} answers: {received} bytes came back"
    if after.endpoint is None:
        return "failed", f"{who} has no endpoint: this host cannot begin, the peer must"
    if sent == 0:
        return "failed", f"nothing left for {who}: no route into the tunnel, or a filter"
    return "failed", f"{who} does not answer: {sent} bytes went out, none came back"


def run(tunnel: Tunnel, read: Read, *, wait: float = WIREGUARD_WAIT) -> WireguardResult:
    """Send the byte, and look until something comes. Raises NotPermitted, Unsent."""
    before = _peer(read(), tunnel) or tunnel.peer
    with Probe(tunnel.to, proto="udp", device=tunnel.ifname) as probe:
        probe.ask(LOOK, size=29 if tunnel.to.family == "inet" else 49)
        end = time.monotonic() + wait
        while True:
            result = judged(tunnel, before, _peer(read(), tunnel), time.time())
            if result.verdict != "failed" or time.monotonic() >= end:
                return result
            time.sleep(LOOK)


def _peer(devices: Devices, tunnel: Tunnel) -> WireguardPeer | None:
    rows = [peer for device in devices if device.ifname == tunnel.ifname for peer in device.peers]
    return next((peer for peer in rows if peer.public_key == tunnel.peer.public_key), None)
