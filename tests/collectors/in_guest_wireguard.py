"""Runs in the guest only (tests/collectors/test_wireguard.py starts it): the kernel module against ``wg``."""

import base64
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from netdiag.collectors import Options, links, softirq, wireguard
from netdiag.engine import judge
from netdiag.model.coverage import Coverage
from netdiag.model.snapshot import Meta, Snapshot, Tables
from netdiag.sources.live import LiveSource
from netdiag.sources.record import RecordingSource
from tests.collectors.test_wireguard import as_dump, read, wg_dump


def run(*words: str, text: str = "") -> str:
    """A command's output."""
    done = subprocess.run(words, input=text, capture_output=True, check=False, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr[-500:]}"
    return done.stdout


PEERS, ALLOWED = 300, 5
META = Meta(netdiag="test", name="guest", kernel="6.1", netns="1", taken_at="2026-01-01T00:00:00Z", uptime=100.0)


def test_in_the_guest_the_modules_devices_are_those_of_wg() -> None:
    """300 peers of five allowed-ips each, so that dumps are split over messages."""
    run("ip", "link", "add", "wg0", "type", "wireguard")
    private = run("wg", "genkey").strip()
    lines = [f"[Interface]\nPrivateKey = {private}\nListenPort = 51820"]
    for number in range(PEERS):
        prefixes = ", ".join(f"10.{number // 256}.{number % 256}.{low * 8}/29" for low in range(ALLOWED))
        key = run("wg", "genkey").strip() if number < 3 else None
        public = run("wg", "pubkey", text=key).strip() if key else _any_public(number)
        lines.append(f"[Peer]\nPublicKey = {public}\nAllowedIPs = {prefixes}\nEndpoint = 192.0.2.{number % 250}:5182")
    conf = Path("/run/wg0.conf")
    conf.write_text("\n".join(lines) + "\n", encoding="ascii")
    run("wg", "setconf", "wg0", str(conf))
    table = read()
    assert as_dump(table) == wg_dump(run("wg", "show", "all", "dump"))
    (device,) = table.devices
    assert len(device.peers) == PEERS
    assert all(len(peer.allowed_ips) == ALLOWED for peer in device.peers)
    assert device.public_key == run("wg", "show", "wg0", "public-key").strip()
    assert threads() == []
    Path("/sys/class/net/wg0/threaded").write_text("1", "ascii")
    assert threads() == ["info"]
    target = Path("/run/recording")
    wireguard.collect(RecordingSource(LiveSource(), target), Options(interval=0))
    raw = base64.b64decode(private)
    assert all(raw not in path.read_bytes() for path in target.rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def taken_away() -> Iterator[None]:
    """The guest itself is a host of other tests."""
    yield
    run("ip", "link", "del", "wg0")


def threads() -> list[str]:
    """What netdiag says of the threads in which the interface, now up, receives: read by three collectors alone, for
    the guest is slow."""
    run("ip", "link", "set", "wg0", "up")
    tables, source = Tables(), LiveSource()
    for one in (links, softirq, wireguard):
        tables = replace(tables, **one.collect(source, Options(interval=0)).tables)
    coverage = tuple(Coverage(collector=name, status="ok") for name in ("links", "softirq", "wireguard"))
    report = judge(Snapshot(meta=META, tables=tables, coverage=coverage), only=("wg-napi-threaded",))
    assert report.not_evaluated == ()
    return [finding.severity for finding in report.findings]


def _any_public(number: int) -> str:
    """Some 32 bytes that are a public key as good as any: WireGuard asks no more of them."""
    return base64.b64encode(number.to_bytes(31, "big") + b"\x42").decode()
