"""What it checks
  A WireGuard peer that did answer once and no longer does, although this host talks to it:
    its last handshake is older than 180 seconds and than 167 and its persistent keepalive: with a keepalive, one end
    would have made new keys by then (likely; certain ten seconds later, when two tries more were lost)
    or it is older than 180 seconds, and between the two looks at the counters this host sent two or more tries of a
    handshake, of 148 bytes each, and received nothing. One try alone is told as info: the answer may be under way
    or it is older than 180 seconds, and somebody here sends to it: BIRD has called a neighbour behind it since, TCP
    sends again and again to an address behind it, or a tracked connection to its endpoint was used a moment ago; or
    packets went into the interface of a daemon while it sent nothing to any peer, and no other one has dead keys.
  All this too of a peer from which tries of a handshake come, and nothing else: it does not hear our answers.
  Where every peer of a device is silent and several are stale, that is one finding.

Why it matters
  Keys die 180 seconds after the handshake. Since then everything sent to the peer is dropped on this host; the
  interface is up, the routes are there, and no sender hears of it.

Confirm
  wg show IFNAME latest-handshakes
  wg show IFNAME transfer, twice with ten seconds between: sent rises, received does not
  ip route get ENDPOINT
  tcpdump -ni any udp port LISTEN_PORT: initiations of 148 bytes leave, no response of 92 bytes comes

Fix
  The far end is off, has lost this host's key, or its packets do not arrive: look there first, then at firewalls and
  NAT on the way. If the peer has moved: wg set IFNAME peer KEY endpoint ADDRESS:PORT, which disturbs no other
  peer. Names are resolved once, when the configuration is read, and not again.

Not flagged
  Idle peers: without traffic and keepalive a handshake gets as old as it likes, and most peers of a full mesh are like
  that. A peer from which anything but tries of a handshake came between the looks. A device that is down
  (wg-iface-down), a peer that never shook hands (wg-never-handshaked), one without an endpoint. Handshakes from before
  this boot, which only a clock that was set since can show. With --interval 0 only peers with a keepalive, and those
  that are seen to be wanted, can be judged, and the rule says "not evaluated" for the others that are silent; with the
  default of one second a try, which comes every five seconds, is mostly missed: use --interval 12 to be sure.

References
  drivers/net/wireguard/messages.h REJECT_AFTER_TIME REKEY_TIMEOUT, timers.c wg_expired_retransmit_handshake(),
  send.c keep_key_fresh(); WireGuard paper, sections 6.2 and 6.5
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from netdiag.index.view import HostView
from netdiag.model.finding import Confidence, Draft, Unjudged, subject
from netdiag.model.wireguard import PeerCounters, WireguardDevice, WireguardPeer
from netdiag.rules.build_wireguard import WireguardBuilder, key
from netdiag.rules.deafpeers import SEVERAL, calls, deaf_examples, words
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import (
    INITIATION,
    REJECT_AFTER_TIME,
    REKEY_TIMEOUT,
    device_subject,
    devices,
    endpoint_word,
    inner_neighbours,
    overdue,
    peer_subject,
    second_looks,
    source,
    way_to,
)
from netdiag.rules.wireguardwanted import Fact, wanted, wanted_examples

RULE = Rule(
    id="wg-handshake-stale",
    title="a WireGuard peer no longer answers",
    severity="warning",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls", "wireguard"),
    consults=("bird", "sockets", "conntrack", "conntrack_state", "deltas"),
    explains=("bgp-not-established", "bgp-hold-timer-expired", "bgp-bfd-down"),
)


class Stale(NamedTuple):
    """A peer that does not answer."""

    peer: WireguardPeer
    age: float
    """Seconds since its last handshake, at the first look."""
    sent: int
    """Bytes sent to it between the looks."""
    confidence: Confidence
    wanted: Fact | None = None
    """What shows that somebody sends to it, where only that tells."""
    calls: int = 0
    """Tries of a handshake that came from it between the looks."""


def silent(view: HostView, peer: WireguardPeer, second: PeerCounters | None) -> bool:
    """Whether nothing came from a peer between the looks."""
    return second is None or (second.rx_bytes == peer.rx_bytes and second.latest_handshake == peer.latest_handshake)


def judged(view: HostView, peer: WireguardPeer, second: PeerCounters | None, wish: Fact | None = None) -> Stale | None:
    """A peer that should have answered, see the page."""
    called = calls(peer, second)
    if peer.latest_handshake is None or peer.endpoint is None or not (called or silent(view, peer, second)):
        return None
    at, uptime = view.wireguard.at, view.meta.uptime
    age = at - peer.latest_handshake
    if uptime is not None and age > uptime:
        return None
    sent = second.tx_bytes - peer.tx_bytes if second is not None else 0
    late = age - overdue(peer.persistent_keepalive) if peer.persistent_keepalive else 0.0
    if late > 0:
        return Stale(peer, age, sent, "certain" if late > 2 * REKEY_TIMEOUT else "likely", calls=called)
    if age > REJECT_AFTER_TIME and called >= SEVERAL:
        return Stale(peer, age, sent, "likely", calls=called)
    if age > REJECT_AFTER_TIME and wish is not None and sent < 2 * INITIATION:
        return Stale(peer, age, sent, "likely", wish, called)
    if age > REJECT_AFTER_TIME and called:
        return None  # it may be about to wake
    if age > REJECT_AFTER_TIME and sent >= INITIATION:
        return Stale(peer, age, sent, "likely" if sent >= 2 * INITIATION else "possible")
    return None


def undecided(view: HostView, peer: WireguardPeer) -> bool:
    """Whether one look leaves open if a peer is idle or dead: keys too old to be used, and no keepalive."""
    if peer.latest_handshake is None or peer.endpoint is None or peer.persistent_keepalive:
        return False
    age, uptime = view.wireguard.at - peer.latest_handshake, view.meta.uptime
    return age > REJECT_AFTER_TIME and (uptime is None or age <= uptime)


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    seconds, wishes = second_looks(view), wanted(view)
    for device, link in devices(view):
        if not link.up:
            continue
        if view.wireguard.second_at is None:
            open_ = sum(
                undecided(view, peer) for peer in device.peers if (device.ifname, peer.public_key) not in wishes
            )
            if open_:
                yield Unjudged(
                    reason=f"{device.ifname}: {open_} peer{'s' if open_ > 1 else ''} with old keys and no persistent "
                    "keepalive: idle or dead, one look cannot tell (give --interval 12)"
                )
        looks = [(peer, seconds.get((device.ifname, peer.public_key))) for peer in device.peers]
        found = [
            stale
            for peer, second in looks
            if (stale := judged(view, peer, second, wishes.get((device.ifname, peer.public_key)))) is not None
        ]
        sure = [stale for stale in found if stale.confidence != "possible"]
        if len(sure) > 1 and not any(_alive(view, peer, second) for peer, second in looks):
            yield _of_device(view, device, sure)
            continue
        for stale in found:
            yield _of_peer(view, device, stale)


def _alive(view: HostView, peer: WireguardPeer, second: PeerCounters | None) -> bool:
    """Whether a peer has living keys, or was heard between the looks."""
    young = peer.latest_handshake is not None and view.wireguard.at - peer.latest_handshake <= REJECT_AFTER_TIME
    return young or not silent(view, peer, second)


def _evidence(view: HostView, device: WireguardDevice, stale: Stale) -> list[tuple[str, object, str]]:
    peer, seconds = stale.peer, view.wireguard.seconds
    rows: list[tuple[str, object, str]] = [
        (
            "seconds since the last handshake",
            round(stale.age),
            source(device, "WGPEER_A_LAST_HANDSHAKE_TIME", "last_handshake_time_sec"),
        ),
        (
            "persistent keepalive",
            peer.persistent_keepalive or "off",
            source(device, "WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL", "persistent_keepalive_interval"),
        ),
    ]
    if stale.wanted is not None:
        rows.append(stale.wanted)
    if seconds is not None:
        moved = f"sent {stale.sent}, received {stale.calls * INITIATION} in {seconds:.1f} s"
        rows.append(("bytes between two looks", moved, source(device, "WGPEER_A_TX_BYTES", "tx_bytes")))
    return rows


def _of_peer(view: HostView, device: WireguardDevice, stale: Stale) -> Draft:
    peer, name = stale.peer, device.ifname
    doing = ""
    if stale.confidence == "certain":
        doing = f"with a keepalive of {peer.persistent_keepalive} s new keys were due long ago"
    elif stale.wanted is not None:
        doing = f"{stale.wanted[0]}: {stale.wanted[1]}"
    elif not stale.calls:
        doing = f"{stale.sent} bytes were sent to it while this was looked at, and nothing came back"
    if stale.calls:
        doing = words(stale.calls)
    return RULE.found(
        subject=peer_subject(device, peer),
        message=f"peer {peer.public_key} of {name} at {endpoint_word(peer)} does not answer: "
        f"last handshake {round(stale.age)} s ago; {doing}",
        evidence=_evidence(view, device, stale),
        confirm=_confirm(device, peer),
        fix=f"wg set {quoted(name)} peer {quoted(peer.public_key)} endpoint {quoted(endpoint_word(peer))}"
        "  # with the address it has now, if it moved",
        confidence=stale.confidence,
        touches=[device_subject(device), subject("link", ifname=name), *way_to(view, device, peer)],
        breaks=inner_neighbours(device, peer),
    )


def _of_device(view: HostView, device: WireguardDevice, found: list[Stale]) -> Draft:
    name, newest = device.ifname, min(found, key=lambda stale: (stale.age, stale.peer.public_key))
    ways = [thing for stale in found for thing in way_to(view, device, stale.peer)]
    return RULE.found(
        subject=device_subject(device),
        message=f"no peer of {name} answers: {len(found)} of {len(device.peers)} should, and the last handshake of "
        f"any was {round(newest.age)} s ago",
        evidence=_evidence(view, device, newest),
        confirm=_confirm(device, newest.peer),
        fix=f"{_confirm(device, newest.peer)[-1]}  # what all have in common: this host's way out, its "
        f"firewall, UDP port {device.listen_port}",
        confidence="certain" if any(stale.confidence == "certain" for stale in found) else "likely",
        touches=[subject("link", ifname=name), *ways],
        breaks=[
            subject("link", ifname=name),
            *(thing for stale in found for thing in inner_neighbours(device, stale.peer)),
        ],
    )


def _confirm(device: WireguardDevice, peer: WireguardPeer) -> list[str]:
    name = quoted(device.ifname)
    address, mark = (peer.endpoint or "").partition("%")[0], f" mark {device.fwmark:#x}" if device.fwmark else ""
    return [f"wg show {name} latest-handshakes", f"wg show {name} transfer", f"ip route get {quoted(address)}{mark}"]


def examples() -> Iterator[Example]:
    yield from _keepalive_examples()
    yield from _traffic_examples()
    yield from _quiet_examples()
    yield from _several_examples()
    yield from wanted_examples()
    yield from deaf_examples()


ABOUT = subject("wireguard-peer", ifname="wg0", public_key=key("a"))


def _host(age: float | None = 216, keepalive: int = 25, *, up: bool = True, **fields: Any) -> WireguardBuilder:
    """A device with one peer over eth0; 216 seconds are more than a keepalive of 25 allows, whatever is lost."""
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "192.0.2.1/24").address("eth0", "2001:db8::1/64")
    return host.wireguard("wg0", up=up).wg_peer("wg0", "a", age=age, persistent_keepalive=keepalive, **fields)


def _keepalive_examples() -> Iterator[Example]:
    for endpoint in ("192.0.2.2", "2001:db8::2", "fe80::2%2"):
        yield Example(
            name=f"keepalive, and no handshake since, {endpoint}",
            why="one look proves it: new keys were due",
            tables=_host(endpoint=endpoint).build(),
            fires=1,
            subject=ABOUT,
            severity="warning",
            confidence="certain",
            says=("last handshake 216 s ago; with a keepalive of 25 s",),
        )
    yield Example(name="longest keepalive", why="it counts as it is", tables=_host(60000, 65535).build())
    for keepalive, latest in ((1, 180), (13, 180), (14, 181), (25, 192)):
        for late, confidence in ((0, None), (1, "likely"), (10, "likely"), (11, "certain")):
            told: dict[str, Any] = {"fires": 1, "subject": ABOUT, "confidence": confidence} if late else {}
            yield Example(
                name=f"a keepalive of {keepalive} s, {latest + late} s old",
                why="one end makes new keys at the first keepalive after 165 s; two tries may be lost",
                tables=_host(latest + late, keepalive).build(),
                **told,
            )
    yield Example(
        name="second look without an answer",
        why="tries may be missed between the looks",
        tables=_host().second_look("wg0", "a").build(),
        fires=1,
        confidence="certain",
        says=("sent 0, received 0 in 12.0 s",),
    )
    yield Example(
        name="keepalive that is heard again",
        why="the far end is back: it sends",
        tables=_host().second_look("wg0", "a", rx=92, tx=148).build(),
    )
    yield Example(
        name="keepalive, new handshake at the second look",
        why="the far end is back",
        tables=_host().second_look("wg0", "a", age=-3).build(),
    )


def _traffic_examples() -> Iterator[Example]:
    def moved(age: float, rx: int, tx: int, keepalive: int = 0) -> WireguardBuilder:
        return _host(age, keepalive).second_look("wg0", "a", rx=rx, tx=tx)

    yield Example(
        name="two tries, no answer",
        why="somebody wants to send, and the peer is not there",
        tables=moved(181, 0, 296).build(),
        fires=1,
        subject=ABOUT,
        severity="warning",
        confidence="likely",
        says=("296 bytes were sent to it",),
    )
    for tries, tx in (("one try", 148), ("less than two", 295)):
        yield Example(
            name=f"{tries}, no answer yet",
            why="an idle peer that is being woken looks the same for as long as the answer takes",
            tables=moved(181, 0, tx).build(),
            fires=1,
            severity="info",
            confidence="possible",
        )
    yield Example(name="less than a try", why="nobody tried to make new keys", tables=moved(181, 0, 147).build())
    yield Example(
        name="keys still alive",
        why="what is sent within 180 s needs no answer at once",
        tables=moved(180, 0, 9000).build(),
    )
    yield Example(name="answered", why="it was heard", tables=moved(600, 92, 296).build())
    yield Example(
        name="tries within the grace of the keepalive",
        why="either proof is enough",
        tables=moved(200, 0, 296, 25).build(),
        fires=1,
        confidence="likely",
    )


def _quiet_examples() -> Iterator[Example]:
    yield Example(
        name="idle for a day, one look",
        why="most peers of a full mesh; or dead, and nobody knows",
        tables=_host(86400, 0).build(),
        unjudged=True,
    )
    yield Example(name="idle, keys alive", why="nothing is open", tables=_host(180, 0).build())
    yield Example(name="idle, keys just dead", why="one second more", tables=_host(181, 0).build(), unjudged=True)
    for name, host, unjudged in (
        ("never, no keepalive", _host(None, 0), False),
        ("idle, no endpoint", _host(86400, 0, endpoint=None), False),
        ("idle, a handshake before this boot", _host(100_001, 0), False),
        ("idle since this boot", _host(100_000, 0), True),
    ):
        yield Example(name=name, why="whether one look leaves it open", tables=host.build(), unjudged=unjudged)
    yield Example(
        name="idle at both looks",
        why="nobody sends, nobody answers",
        tables=_host(86400, 0).second_look("wg0", "a").build(),
    )
    yield Example(name="never", why="wg-never-handshaked says it", tables=_host(None).build())
    yield Example(
        name="never, with tries",
        why="the same with two looks",
        tables=_host(None).second_look("wg0", "a", tx=296).build(),
    )
    yield Example(name="device down", why="wg-iface-down says it", tables=_host(up=False).build())
    yield Example(name="no endpoint", why="there is nobody to ask", tables=_host(endpoint=None).build())
    yield Example(
        name="handshake before this boot",
        why="the clock was wrong when the handshake was noted, and was set since",
        tables=_host(100_001).build(),
    )
    yield Example(
        name="handshake as old as this boot",
        why="the oldest that can be",
        tables=_host(100_000).build(),
        fires=1,
        subject=ABOUT,
    )
    yield Example(name="handshake in the future", why="the clock went back", tables=_host(-3600).build())


def _several_examples() -> Iterator[Example]:
    def two(age: float | None, keepalive: int = 25, **fields: Any) -> WireguardBuilder:
        return _host().wg_peer("wg0", "b", age=age, persistent_keepalive=keepalive, **fields)

    whole = subject("wireguard-interface", ifname="wg0")
    yield Example(
        name="all peers stale",
        why="one cause, one finding: this host's uplink, most likely",
        tables=two(400).build(),
        fires=1,
        subject=whole,
        severity="warning",
        confidence="certain",
        says=("no peer of wg0 answers: 2 of 2 should, and the last handshake of any was 216 s ago",),
    )
    yield Example(
        name="all stale but one that is idle",
        why="nobody is heard",
        tables=two(400).wg_peer("wg0", "c", age=86400).build(),
        fires=1,
        subject=whole,
        unjudged=True,
    )
    yield Example(
        name="two stale, one alive",
        why="the tunnel works: these two peers do not",
        tables=two(400).wg_peer("wg0", "c", age=180).build(),
        fires=2,
        subject=subject("wireguard-peer", ifname="wg0"),
    )
    yield Example(
        name="two stale, one that never was",
        why="nobody is heard",
        tables=two(400).wg_peer("wg0", "c").build(),
        fires=1,
        subject=whole,
    )
    heard = two(400).wg_peer("wg0", "c", age=900).second_look("wg0", "c", rx=148)
    yield Example(name="two stale, one just heard", why="the same", tables=heard.build(), fires=2)
    yield Example(name="one of two stale", why="one finding", tables=two(100).build(), fires=1, subject=ABOUT)
    yield Example(
        name="one stale, one idle for long",
        why="one peer alone says nothing about the others",
        tables=two(900, 0).build(),
        fires=1,
        subject=ABOUT,
        unjudged=True,
    )
    woken = two(900, 0).second_look("wg0", "b", tx=148)
    yield Example(
        name="one stale, one being woken",
        why="a possibility is no second witness",
        tables=woken.build(),
        fires=2,
        subject=ABOUT,
    )
    busy = _host(300, 0).second_look("wg0", "a", tx=296)
    busy.wg_peer("wg0", "b", age=400).second_look("wg0", "b", tx=444)
    yield Example(
        name="two without keepalive, both tried",
        why="tries are not as sure as a keepalive",
        tables=busy.build(),
        fires=1,
        subject=whole,
        confidence="likely",
    )
