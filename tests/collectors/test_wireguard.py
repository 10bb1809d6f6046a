"""WireGuard as netdiag and as ``wg show all dump`` read it: wireguard-go in a lab host, the module in the guest."""

import base64
import os
import socket
from pathlib import Path

import pytest

from netdiag.collectors import Collected, Options, wireguard
from netdiag.model.wireguard import Wireguard
from netdiag.sources.live import LiveSource
from tests.lab import Host, Lab
from tests.lab.daemons import Peer, key_pair
from tests.vm.oneboot import InGuest


def read() -> Wireguard:
    """What the collector finds where this runs."""
    collected: Collected = wireguard.collect(LiveSource(), Options(interval=0))
    assert (collected.status, collected.detail) == ("ok", "")
    table: Wireguard = collected.tables["wireguard"]
    return table


def as_dump(table: Wireguard) -> set[tuple[str, ...]]:
    """The peers as lines of ``wg show all dump``, without the keys that nobody should see."""
    lines = set()
    for device in table.devices:
        for peer in device.peers:
            address = f"[{peer.endpoint}]" if peer.endpoint and ":" in peer.endpoint else peer.endpoint
            lines.add(
                (
                    device.ifname,
                    peer.public_key,
                    f"{address}:{peer.endpoint_port}" if address else "(none)",
                    ",".join(sorted(peer.allowed_ips)) or "(none)",
                    str(int(peer.latest_handshake or 0)),
                    str(peer.rx_bytes),
                    str(peer.tx_bytes),
                    str(peer.persistent_keepalive or "off"),
                )
            )
    return lines


def wg_dump(text: str) -> set[tuple[str, ...]]:
    """The same lines from ``wg`` itself."""
    lines = set()
    for line in text.splitlines():
        words = line.split("\t")
        if len(words) == 9:
            ifname, key, _, endpoint, allowed, *rest = words
            lines.add((ifname, key, endpoint, ",".join(sorted(allowed.split(","))), *rest))
    return lines


def pair(lab: Lab) -> tuple[Host, list[str]]:
    """A host whose wg0 has talked to one of its two peers; and every secret that it was given."""
    host, other = lab.host("a"), lab.host("b")
    lab.link(host, "eth0", other, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    own, own_public = key_pair(host)
    far, far_public = key_pair(other)
    _, idle_public = key_pair(host)
    psk = host.run("wg", "genpsk").stdout.strip()
    lab.wireguard(
        host,
        "wg0",
        own,
        51820,
        [
            Peer(
                public_key=far_public,
                allowed_ips=["10.0.0.2/32", "fd00::/64"],
                endpoint="192.0.2.2:51820",
                preshared_key=psk,
                persistent_keepalive=25,
            ),
            Peer(public_key=idle_public, allowed_ips=[]),
        ],
    )
    lab.wireguard(
        other,
        "wg0",
        far,
        51820,
        [
            Peer(
                public_key=own_public,
                allowed_ips=["10.0.0.1/32"],
                endpoint="192.0.2.1:51820",
                preshared_key=psk,
            )
        ],
    )
    # An initiation that is lost while the other side comes up is repeated only after five seconds.
    other.ip("addr add 10.0.0.2/24 dev wg0\nlink set dev wg0 up")
    host.ip("addr add 10.0.0.1/24 dev wg0\nlink set dev wg0 up")
    host.run("ping", "-c1", "-W9", "10.0.0.2")
    return host, [own, psk]


def test_userspace_devices_are_those_of_wg(lab: Lab) -> None:
    host, _ = pair(lab)

    def same() -> bool:
        return as_dump(host.call(read)) == wg_dump(host.run("wg", "show", "all", "dump").stdout)

    lab.wait(same, 5, "netdiag and wg agree on three looks in a row at moving counters")
    (device,) = host.call(read).devices
    assert device.public_key == host.run("wg", "show", "wg0", "public-key").stdout.strip()
    assert (device.userspace, device.listen_port) == (True, 51820)
    assert [peer.preshared_key for peer in device.peers].count(True) == 1


def test_no_secret_is_in_a_recording_or_a_snapshot(lab: Lab, tmp_path: Path) -> None:
    host, secrets = pair(lab)
    assert host.netdiag("record", "-o", str(tmp_path / "recording"), "--interval", "0.1")[0] == 0
    assert host.netdiag("collect", "-o", str(tmp_path / "host.netdiag"), "--interval", "0.1")[0] == 0
    for path in [*tmp_path.rglob("*.*")]:
        if not path.is_file():
            continue
        octets = path.read_bytes()
        for secret in secrets:
            raw = base64.b64decode(secret)
            for form in (secret.encode(), raw, raw.hex().encode()):
                assert form not in octets, path


def test_two_looks_at_the_counters(lab: Lab) -> None:
    host, _ = pair(lab)
    collected = host.call(lambda: wireguard.collect(LiveSource(), Options(interval=0.05)))
    table: Wireguard = collected.tables["wireguard"]
    assert table.seconds is not None and table.seconds >= 0.05
    assert {row.public_key for row in table.second} == {peer.public_key for peer in table.devices[0].peers}


def test_a_host_without_wireguard_says_absent(lab: Lab) -> None:
    report = lab.host("plain").report("--interval", "0")
    (row,) = [row for row in report["coverage"] if row["collector"] == "wireguard"]
    assert row["status"] == "absent"


def test_a_socket_that_a_killed_daemon_left_behind_is_named(lab: Lab) -> None:
    def left() -> Wireguard:
        os.makedirs("/run/wireguard", exist_ok=True)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind("/run/wireguard/wg7.sock")  # nobody listens
        table: Wireguard = wireguard.collect(LiveSource(), Options(interval=0.0)).tables["wireguard"]
        return table

    table = lab.host("plain").call(left)
    assert (table.devices, table.dead_sockets) == ((), ("/run/wireguard/wg7.sock",))


@pytest.mark.in_guest("tests/collectors/in_guest_wireguard.py")
def test_kernel_devices_are_those_of_wg(in_guest: InGuest) -> None:
    in_guest.passed(1)
