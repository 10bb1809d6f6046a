"""What it checks
  Between two looks a WireGuard device took packets from a peer and threw them away for their source address, five or
  more: the module counts rx_errors and rx_frame_errors together; with a daemon in userspace a peer's data came in and
  the interface received nothing. Whose they are is told where one host of the fleet has an address, or routes guests'
  addresses, that the device does not allow its key; for a daemon only then is anything said.

Why it matters
  The handshake is fine and the sender's counters rise. The receiver decrypts each packet and drops it in silence.

Confirm
  ip -s -s link show dev IFNAME             (twice: RX errors and frame grow together)
  wg show IFNAME allowed-ips                (on the receiver)
  tcpdump -ni IFNAME                        (on the sender: which source goes out)

Fix
  On the receiver: wg set IFNAME peer KEY allowed-ips +PREFIX, if the source is right; else give the sender's route the
  right src, or masquerade what it forwards.

Not flagged
  Fewer than five packets: a guest that spoofs now and then. Totals since boot, counters that went back, one look.
  Errors without as many frame errors: they are something else. Peers that sent keepalives only.

References
  drivers/net/wireguard/receive.c wg_packet_consume_data_done(), dishonest_packet_peer; wg(8) allowed-ips
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from netdiag.index.cryptokey import Cryptokey
from netdiag.index.fleet import End, FleetView, Pair, across, on
from netdiag.model.finding import Draft, Subject, subject
from netdiag.model.link import Link, Stats64
from netdiag.model.snapshot import Tables
from netdiag.model.wireguard import PeerCounters, WireguardPeer
from netdiag.rules.build_fleet import builder, finished, peered
from netdiag.rules.build_wireguard import WireguardBuilder, key
from netdiag.rules.shape import FleetExample, Rule, quoted
from netdiag.rules.wireguardpeers import peer_subject

RULE = Rule(
    id="wg-rx-allowedips-reject",
    title="a WireGuard device throws a peer's packets away for their source address",
    severity="warning",
    confidence="likely",
    reads=("wireguard", "links", "addresses", "routes", "counters"),
    explains=("bgp-not-established", "bgp-hold-timer-expired"),
    scope="fleet",
)
LEAST = 5
DATA = 96
"""Bytes of the smallest packet with data, encrypted: a keepalive has 32."""
SMALLEST = 64
"""Of a datagram without a word in it. Five such are more than a handshake and keepalives of some seconds."""
MOST_ROUTES = 2000


class Thrown(NamedTuple):
    """What a device threw away between the looks."""

    packets: int
    fact: str
    source: str


def _thrown(end: End) -> Thrown | None:
    counters = end.host.tables.counters
    if counters.second is None:
        return None
    before = next((row for row in counters.first.links if row.ifindex == end.link.ifindex), None)
    after = next((row for row in counters.second.links if row.ifindex == end.link.ifindex), None)
    if before is None or after is None or before.ifname != after.ifname:
        return None
    was, now = before.stats, after.stats
    if end.device.userspace:
        if now.rx_packets != was.rx_packets or now.rx_dropped != was.rx_dropped:
            return None
        told = [pair for pair in _heard(end) if pair[1] >= LEAST * DATA]
        return Thrown(sum(size // DATA for _, size in told), "received 0 packets", "rx_packets") if told else None
    frames, errors = now.rx_frame_errors - was.rx_frame_errors, now.rx_errors - was.rx_errors
    if frames < LEAST or errors < frames:
        return None
    return Thrown(frames, f"rx_frame_errors grew by {frames}", "IFLA_STATS64 rx_frame_errors, rx_errors")


def _heard(end: End) -> Iterator[tuple[str, int]]:
    """Peers from which bytes came between the looks of the counters, each with how many."""
    first = {peer.public_key: peer.rx_bytes for peer in end.device.peers}
    for row in end.host.tables.wireguard.second:
        if row.ifname == end.device.ifname and row.rx_bytes > first.get(row.public_key, row.rx_bytes):
            yield row.public_key, row.rx_bytes - first[row.public_key]


def _strange(end: End, far: End, own: Cryptokey) -> list[str]:
    """Addresses of a host, and of what it routes to guests, that the device does not allow its key."""
    tables = far.host.tables
    links: dict[int | None, Link] = {link.ifindex: link for link in tables.links}
    sources = [row.local for row in far.addresses]
    for at in (tables.routes.dst_len == 32).nonzero()[0][:MOST_ROUTES].tolist():
        row = tables.routes.row(at)
        link = None if row.gateway else links.get(row.oif)
        if link is not None and link.kind in ("tun", "veth") and link.up and row.type == "unicast" and link != far.link:
            sources.append(row.dst.partition("/")[0])
    found = []
    for source in sources:
        allowed = own.lookup(source)
        if allowed is None or allowed.peer.public_key != far.device.public_key:
            found.append(source)
    return found


def check(view: FleetView) -> Iterator[Draft]:
    for number, end in enumerate(view.end_list):
        thrown = _thrown(end) if end.host.read("counters") else None
        if thrown is None:
            continue
        own, loud = Cryptokey(end.device), {key for key, size in _heard(end) if size >= LEAST * SMALLEST}
        suspects = [
            (pair, strange)
            for pair in view.where(view.edges.columns.near == number)
            if pair.far is not None and pair.peer.public_key in loud and (strange := _strange(end, pair.far, own))
        ]
        if suspects or not end.device.userspace:  # the two counts are not read at one moment: a burst may lie between
            yield _finding(end, thrown, suspects)


def _finding(end: End, thrown: Thrown, suspects: list[tuple[Pair, list[str]]]) -> Draft:
    name, ifname = end.host.name, end.device.ifname
    far = sorted({pair.far.host.name for pair, _ in suspects if pair.far is not None})
    who = f", probably of {', '.join(far[:3])}" if far else ""
    fix = f"find the sender: tcpdump -ni {quoted(ifname)} on its peers shows sources that {name} does not allow them"
    if suspects:
        pair, strange = suspects[0]
        fix = (
            f"wg set {quoted(ifname)} peer {quoted(pair.peer.public_key)} allowed-ips +{strange[0]}/"
            f"{128 if ':' in strange[0] else 32}  # on {name}, if {far[0]} is meant to send from {strange[0]}"
        )
    return RULE.found(
        subject=across((name, *far), subject("wireguard-interface", ifname=ifname)),
        message=f"{ifname} of {name} threw away {thrown.packets} or so packets of its peers for their source{who}",
        evidence=[
            (f"{ifname} of {name} between two looks", thrown.fact, thrown.source),
            *(
                (f"{pair.far.host.name} sends from" if pair.far else "", ", ".join(strange[:3]), "WGPEER_A_ALLOWEDIPS")
                for pair, strange in suspects[:2]
            ),
        ],
        confirm=[f"ip -s -s link show dev {quoted(ifname)}", f"wg show {quoted(ifname)} allowed-ips"],
        fix=fix,
        touches=[on(name, peer_subject(end.device, pair.peer)) for pair, _ in suspects],
        breaks=[on(name, peer_subject(end.device, pair.peer)) for pair, _ in suspects],
    )


def examples() -> Iterator[FleetExample]:
    def fleet(
        frames: int = 0,
        errors: int | None = None,
        *,
        heard: int = 2000,
        got: int = 0,
        user: bool = False,
        guest: bool = True,
        dropped: int = 0,
        peers: tuple[WireguardPeer, ...] = (),
        looks: tuple[PeerCounters, ...] = (),
        names: tuple[str, str] = ("wg0", "wg0"),
    ) -> dict[str, Tables]:
        """b sends to a. ``names``: of a's device at each count; without one it is not there."""
        a = peered(builder("a"), "b").second_look("wg0", "b", rx=heard)
        tables = finished("a", a)
        (device,) = tables.wireguard.devices
        device = msgspec.structs.replace(device, userspace=user, socket="/run/wireguard/wg0.sock" if user else None)
        device = msgspec.structs.replace(device, peers=(*device.peers, *peers))
        second = (*tables.wireguard.second, *looks)
        wireguard = msgspec.structs.replace(tables.wireguard, devices=(device,), second=second)
        stats = Stats64(
            rx_packets=got,
            rx_dropped=dropped,
            rx_errors=frames if errors is None else errors,
            rx_frame_errors=frames,
        )
        rows = [
            (
                a.link_counters("eth0"),
                *([msgspec.structs.replace(a.link_counters("wg0", stats=x), ifname=name)] if name else []),
            )
            for name, x in zip(names, (Stats64(), stats), strict=True)
        ]
        a.counters(before={"links": rows[0]}, after={"links": rows[1]})
        tables = replace(tables, wireguard=wireguard, counters=a.build().counters)
        b = peered(builder("b"), "a")
        if guest:
            b.link("tap0", kind="tun").route("10.70.0.9/32", dev="tap0")
        return {"fra-a": tables, "fra-b": finished("b", b)}

    def case(name: str, why: str, hosts: Any, fires: int = 0, **more: Any) -> FleetExample:
        return FleetExample(name=name, why=why, hosts=hosts, fires=fires, **more)

    about = subject("wireguard-interface", ifname="wg0")
    yield case("the module counts them", "a guest of b is not allowed", fleet(LEAST), 1, subject=about)
    yield case("nobody known", "the sender is not found", fleet(LEAST, guest=False), 1, severity="warning")
    yield case("one less", "a guest that spoofs", fleet(LEAST - 1))
    yield case("other errors", "they would be counted as frames too", fleet(0, 50))
    yield case("a daemon", "data came in, nothing came out", fleet(user=True, heard=LEAST * DATA), 1)
    unknown = fleet(user=True, heard=LEAST * DATA, guest=False)
    yield case("a daemon, nobody known", "the packets may have come between the two counts", unknown)
    yield case("a daemon, keepalives", "they carry no data", fleet(user=True, heard=LEAST * DATA - 1))
    yield case("a daemon, all is well", "it came out", fleet(user=True, heard=5000, got=3))
    yield case("quiet", "nothing came", fleet(heard=0))
    only_a, both = across(("fra-a",), about), across(("fra-a", "fra-b"), about)
    yield case("a quiet peer with a guest", "it sent nothing", fleet(LEAST, heard=0), 1, subject=only_a)
    least = LEAST * SMALLEST
    yield case("small packets", "a peer with a guest", fleet(LEAST, heard=least), 1, subject=both)
    yield case("keepalives of a peer with a guest", "somebody else's", fleet(LEAST, heard=least - 1), 1, subject=only_a)
    yield case("not all of them are errors", "one of the counts is of something else", fleet(LEAST, LEAST - 1))
    for when, names in (("before", ("", "wg0")), ("after", ("wg0", "")), ("by that name", ("wg9", "wg0"))):
        yield case(f"not there {when}", "the interface was made anew", fleet(LEAST, names=names))
    yield case("a daemon, dropped above it", "the packets came out", fleet(user=True, heard=5000, dropped=3))
    other = PeerCounters(ifname="wg1", public_key=key("b"), rx_bytes=9000, tx_bytes=0)
    yield case("a daemon, heard on another device", "by the same key", fleet(user=True, heard=0, looks=(other,)))
    phone = WireguardPeer(public_key=key("p"), endpoint="203.0.113.5", endpoint_port=51820)
    loud = PeerCounters(ifname="wg0", public_key=key("p"), rx_bytes=9000, tx_bytes=0)
    unknown = fleet(LEAST, peers=(phone,), looks=(loud,))
    yield case("an unknown peer is loud too", "its sources are not known", unknown, 1, subject=both)
    added = PeerCounters(ifname="wg0", public_key=key("n"), rx_bytes=9000, tx_bytes=0)
    yield case("a peer that was added between the looks", "how much is new is not known",
               fleet(LEAST, looks=(added,)), 1, subject=both)  # fmt: skip
    taken = WireguardPeer(public_key=key("c"), allowed_ips=("10.70.0.9/32",))
    yield case("allowed to another peer", "a guest that moved", fleet(LEAST, peers=(taken,)), 1, subject=both)
    yield from _no_guests(lambda b: fleet(LEAST, guest=False) | {"fra-b": finished("b", b)}, only_a)


def _no_guests(fleet: Callable[[WireguardBuilder], dict[str, Tables]], about: Subject) -> Iterator[FleetExample]:
    """Routes of single addresses that lead to no guest: b does not send from there."""

    def far(dev: str | None, dst: str = "10.70.0.9/32", **fields: Any) -> WireguardBuilder:
        b = peered(builder("b"), "a")
        b.link("tap0", kind="tun").link("tap1", kind="tun", up=False).link("veth0", kind="veth")
        b.route(dst, dev=dev, **fields)
        return b

    own = peered(builder("b"), "a")
    own.link("wg0", kind="tun", ifindex=own.ifindex("wg0"), mtu=1420).route("10.64.0.1/32", dev="wg0")
    for name, b in (
        ("by the uplink", far("eth0")),
        ("by a tap that is down", far("tap1")),
        ("by a gateway behind a veth", far("veth0", via="169.254.1.1")),
        ("the host's own address on a tap", far("tap0", type="local", table=255, scope=254)),
        ("refused", far(None, type="blackhole")),
        ("a peer of a daemon's tunnel", own),
    ):
        yield FleetExample(name=name, why="no source of its packets", hosts=fleet(b), fires=1, subject=about)
