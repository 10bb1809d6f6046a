"""A made-up fleet for the bench and the tests of the store: hosts in regions, a WireGuard mesh, some routes each.

    python -m tests.bench.fillfleet FOLDER HOSTS PEERS ROUTES    writes FOLDER/<host>.netdiag

Every host is healthy: addresses match allowed-ips, handshakes are fresh, both ends count the same bytes.
"""

import hashlib
import sys
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from netdiag.collect import collectors
from netdiag.model.address import Address
from netdiag.model.coverage import Coverage
from netdiag.model.link import Link
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import Route, routes_from_rows
from netdiag.model.snapshot import Meta, Snapshot, Tables
from netdiag.model.wireguard import PeerCounters, Wireguard, WireguardDevice, WireguardPeer
from netdiag.snapshotfile import snapshot_octets

REGIONS = ("fra", "ams", "sin", "iad", "lhr", "gru", "nrt", "syd")
ROLES = ("edge", "worker", "gateway")
NOW = 1_795_600_000.0
TAKEN = "2026-11-25T23:06:40Z"


@cache
def public_key(number: int) -> str:
    """The key of one host."""
    return b64encode(hashlib.sha256(b"%d" % number).digest()).decode()


def inner(number: int) -> str:
    """Its address in the mesh."""
    return f"10.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def underlay(number: int) -> str:
    """Its address outside."""
    return f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def name_of(number: int, hosts: int) -> str:
    """``fra-edge12``: neighbours in number are neighbours in region."""
    return f"{REGIONS[number * len(REGIONS) // hosts]}-{ROLES[number % len(ROLES)]}{number}"


def _peer(number: int) -> WireguardPeer:
    return WireguardPeer(
        public_key=public_key(number),
        endpoint=underlay(number),
        endpoint_port=51820,
        persistent_keepalive=25,
        latest_handshake=NOW - 30.0 - number % 60,
        rx_bytes=100_000 + number,
        tx_bytes=90_000 + number,
        allowed_ips=(f"{inner(number)}/32",),
    )


def _counters(number: int) -> PeerCounters:
    return PeerCounters(
        ifname="wg0",
        public_key=public_key(number),
        rx_bytes=100_800 + number,
        tx_bytes=90_800 + number,
        latest_handshake=NOW - 30.0 - number % 60,
    )


def _route(dst: str, oif: int, scope: int = 253, kind: str = "unicast", table: int = 254) -> Route:
    return Route(
        family="inet", dst=dst, table=table, type=kind, protocol=4, scope=scope, priority=0, tos=0, flags=0, oif=oif,
        gateway=None, prefsrc=None, nh_id=None, expires=None, extra=None,
    )  # fmt: skip


def host(number: int, hosts: int, peers: int, routes: int, taken_at: str = TAKEN) -> Snapshot:
    """One host: lo, eth0 with its underlay address, wg0 with its inner one."""
    others = sorted({(number + step) % hosts for step in range(-(peers // 2), peers - peers // 2 + 1)} - {number})
    device = WireguardDevice(
        ifname="wg0", ifindex=3, public_key=public_key(number), listen_port=51820, peers=tuple(map(_peer, others))
    )
    local = [f"{underlay(number)}/32", f"{inner(number)}/32"]
    rows = [_route(dst, oif, 254, "local", 255) for oif, dst in enumerate(local, 2)]
    rows += [_route("198.18.0.0/15", 2), _route("10.64.0.0/10", 3)]
    rows += [_route(f"172.{16 + at // 256}.{at % 256}.0/24", 2) for at in range(routes)]
    tables = Tables(
        links=(
            Link(ifindex=1, ifname="lo", type=772, flags=0x10049, mtu=65536),
            Link(ifindex=2, ifname="eth0", flags=0x11043, operstate="up", carrier=True, address="02:00:00:00:00:01"),
            Link(ifindex=3, ifname="wg0", type=65534, flags=0x100D1, mtu=1420, kind="wireguard"),
        ),
        addresses=(
            Address(ifindex=1, family="inet", local="127.0.0.1", prefixlen=8, scope=254),
            Address(ifindex=2, family="inet", local=underlay(number), prefixlen=15),
            Address(ifindex=3, family="inet", local=inner(number), prefixlen=10),
        ),
        routes=routes_from_rows("inet", rows),
        rules=tuple(PolicyRule(family="inet", priority=p, table=t) for p, t in ((0, 255), (32766, 254), (32767, 253))),
        wireguard=Wireguard(
            devices=(device,), at=NOW, second_at=NOW + 1.0, seconds=1.0, second=tuple(map(_counters, others))
        ),
    )
    meta = Meta(
        netdiag="0.1.0", name=name_of(number, hosts), kernel="6.8.0-31", boot_id=f"boot-{number}", netns="4026531840",
        taken_at=taken_at, uptime=86_400.0 + number,
    )  # fmt: skip
    return Snapshot(meta=meta, tables=tables, coverage=tuple(Coverage(collector=n, status="ok") for n in collectors()))


def fleet(hosts: int, peers: int, routes: int, taken_at: str = TAKEN) -> Iterator[Snapshot]:
    """All of them, in turn."""
    return (host(number, hosts, peers, routes, taken_at) for number in range(hosts))


def write(folder: Path, hosts: int, peers: int, routes: int, taken_at: str = TAKEN) -> None:
    """One file a host."""
    folder.mkdir(parents=True, exist_ok=True)
    for snapshot in fleet(hosts, peers, routes, taken_at):
        (folder / f"{snapshot.meta.name}.netdiag").write_bytes(snapshot_octets(snapshot))


if __name__ == "__main__":
    write(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
