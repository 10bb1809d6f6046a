"""What it checks
  A WireGuard interface has thousands of peers, and nine in ten have never shaken hands or not within the last day.

Why it matters
  Every change and every reading walks all peers; booting and "wg syncconf" take minutes, and one message too long makes
  some tools lose peers. The dead ones also keep their prefixes from new ones. Nothing fails yet.

Confirm
  wg show IFNAME latest-handshakes | wc -l
  wg show IFNAME latest-handshakes | awk '$2 == 0' | wc -l

Fix
  Let whatever adds peers take those away that were not heard for a day (wg set IFNAME peer KEY remove), or add them
  only when they call. A peer that is removed is unknown until it is added again.

Not flagged
  Fewer than 1,000 peers (up to 4,000 it is information), or a smaller share of silent ones: large gateways are as they
  are meant to be. Hosts that booted within the last ten minutes, where nobody has called yet.

References
  drivers/net/wireguard/netlink.c, peer.h MAX_PEERS_PER_DEVICE
"""

from collections.abc import Iterator

import msgspec

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.wireguard import WireguardDevice
from netdiag.rules.build_wireguard import NOW, WireguardBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import device_subject, source
from netdiag.rules.wireguardways import alive, device_objects

RULE = Rule(
    id="wg-peer-count-bloat",
    title="a WireGuard interface keeps thousands of peers that nobody uses",
    severity="warning",
    confidence="likely",
    reads=("links", "wireguard"),
    own_cause=True,
)
MANY, TOO_MANY, SHARE, DAY, FRESH = 1000, 4000, 0.9, 86_400, 600


def check(view: HostView) -> Iterator[Draft]:
    at = view.wireguard.at
    for device, _ in alive(view):
        count = len(device.peers)
        silent = sum(peer.latest_handshake is None or at - peer.latest_handshake > DAY for peer in device.peers)
        young = view.meta.uptime is not None and view.meta.uptime < FRESH
        if count >= MANY and silent >= SHARE * count and not young:
            yield _finding(device, count, silent)


def _finding(device: WireguardDevice, count: int, silent: int) -> Draft:
    name = device.ifname
    return RULE.found(
        subject=device_subject(device),
        message=f"{name} has {count} peers, {silent} of which have not been heard for a day or ever",
        evidence=[
            ("peers", count, source(device, "WGDEVICE_A_PEERS", "public_key")),
            ("silent ones", silent, source(device, "WGPEER_A_LAST_HANDSHAKE_TIME", "last_handshake_time_sec")),
        ],
        confirm=[f"wg show {quoted(name)} latest-handshakes | wc -l"],
        fix=f"wg set {quoted(name)} peer KEY remove  # for each that is not wanted any more",
        severity="warning" if count >= TOO_MANY else "info",
        touches=device_objects(device),
    )


def _host(count: int, heard: int, age: float = 60) -> WireguardBuilder:
    host = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a")
    (peer,) = host._devices["wg0"].peers
    fresh = msgspec.structs.replace(peer, latest_handshake=NOW - age)
    host._devices["wg0"] = msgspec.structs.replace(
        host._devices["wg0"], peers=(fresh,) * heard + (peer,) * (count - heard)
    )
    return host


def examples() -> Iterator[Example]:
    yield Example(
        name="4,000, a tenth heard",
        why="bloat",
        tables=_host(4000, 400).build(),
        fires=1,
        subject=subject("wireguard-interface", ifname="wg0"),
        severity="warning",
    )
    yield Example(name="3,999", why="large, not yet slow", tables=_host(3999, 10).build(), fires=1, severity="info")
    yield Example(name="heard two days ago", why="old", tables=_host(4000, 4000, 2 * DAY).build(), fires=1)
    yield Example(name="more than a tenth heard", why="a large gateway", tables=_host(4000, 401).build())
    yield Example(name="999", why="an ordinary mesh", tables=_host(999, 0).build())
    yield Example(name="1,000 heard yesterday", why="in use", tables=_host(1000, 1000, DAY).build())
    yield Example(name="1,000 never heard", why="from here on", tables=_host(1000, 0).build(), fires=1, severity="info")
