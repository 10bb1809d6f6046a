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

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from netdiag.index.cryptokey import Cryptokey
from netdiag.index.fleet import End, FleetView, Pair, across, on
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Stats64
from netdiag.model.snapshot import Tables
from netdiag.rules.build_fleet import builder, finished, peered
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
    links = {link.ifindex: link for link in tables.links}
    sources = [row.local for row in far.addresses]
    for at in (tables.routes.dst_len == 32).nonzero()[0][:MOST_ROUTES].tolist():
        row = tables.routes.row(at)
        link = links.get(row.oif or 0)
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
        own, loud = Cryptokey(end.device), dict(_heard(end))
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
    ) -> dict[str, Tables]:
        a = peered(builder("a"), "b").second_look("wg0", "b", rx=heard)
        tables = finished("a", a)
        (device,) = tables.wireguard.devices
        device = msgspec.structs.replace(device, userspace=user, socket="/run/wireguard/wg0.sock" if user else None)
        tables = replace(tables, wireguard=msgspec.structs.replace(tables.wireguard, devices=(device,)))
        stats = Stats64(rx_packets=got, rx_errors=frames if errors is None else errors, rx_frame_errors=frames)
        before, after = a.link_counters("wg0"), a.link_counters("wg0", stats=stats)
        a.counters(before={"links": (before,)}, after={"links": (after,)})
        tables = replace(tables, counters=a.build().counters)
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
