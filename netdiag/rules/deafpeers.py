"""Peers of WireGuard that call, and do not hear the answers: a firewall, or a way, that lets through one direction.

A try of a handshake counts as bytes received (drivers/net/wireguard/receive.c, wireguard-go likewise), but makes no new
keys: those are noted with the first packet that they carry. So bytes that came while the last handshake stayed what it
was are tries. Pure; nothing can fail.
"""

from collections.abc import Iterator
from typing import Any

from netdiag.model.wireguard import PeerCounters, WireguardPeer
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example
from netdiag.rules.wireguardpeers import INITIATION

SEVERAL = 2
"""Tries of a handshake, five seconds apart, after which an answer to the first would have come."""


def calls(peer: WireguardPeer, second: PeerCounters | None) -> int:
    """Tries of a handshake that came between the looks, where nothing else did and none led to new keys: whoever sends
    them does not hear our answers, or new keys would be there within a round trip."""
    if second is None or second.latest_handshake != peer.latest_handshake:
        return 0
    number, rest = divmod(second.rx_bytes - peer.rx_bytes, INITIATION)
    return number if not rest and number > 0 else 0


def words(count: int) -> str:
    """What the peer does."""
    return f"it calls, with {count * INITIATION} bytes of handshakes, and does not hear the answers"


def deaf_examples() -> Iterator[Example]:
    """For wg-handshake-stale."""

    def looked(old: float, keepalive: int, rx: int, **second: Any) -> WireguardBuilder:
        host = WireguardBuilder()
        host.link("eth0").address("eth0", "192.0.2.1/24")
        host.wireguard("wg0")
        host.wg_peer("wg0", "a", age=old, persistent_keepalive=keepalive)
        return host.second_look("wg0", "a", rx=rx, tx=92, **second)

    for rx, fires in ((148, 1), (147, 0), (149, 0), (296, 1)):
        says = ("last handshake 216 s ago; it calls, with", "does not hear the answers", f"received {rx} in 12.0 s")
        yield Example(
            name=f"keepalive, and {rx} bytes come in",
            why="tries: it is there, and a firewall takes what goes to it",
            tables=looked(216, 25, rx).build(),
            fires=fires,
            severity="warning" if fires else None,
            confidence="certain" if fires else None,
            says=says if fires else (),
        )
    back = looked(216, 25, 148, age=-3).build()
    yield Example(name="keepalive, a try came and new keys were made", why="the far end is back", tables=back)
    for rx, fires in ((148, 0), (296, 1)):
        yield Example(
            name=f"no keepalive, {rx} bytes of tries come in",
            why="the first may be under way still",
            tables=looked(900, 0, rx).build(),
            fires=fires,
            confidence="likely" if fires else None,
        )
    alive = looked(180, 0, 296).build()
    yield Example(name="no keepalive, keys alive, tries come in", why="they make new ones before", tables=alive)
