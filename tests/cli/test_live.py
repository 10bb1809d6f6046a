"""The verbs on a real host: a broken router in a network namespace, read, saved, recorded and replayed."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from netdiag.schema import published
from tests.lab import Host, Lab

pytestmark = pytest.mark.lab
WHEN = ("taken_at", "coverage")
"""What differs between two readings of one host."""


@pytest.fixture(scope="module")
def broken() -> Iterator[Host]:
    """edge1 --- edge2: unequal MTUs, a default route to nobody, an MTU too low for IPv6."""
    with Lab() as lab:
        host, peer = lab.host("edge1"), lab.host("edge2")
        lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/29", b_addresses="192.0.2.2/29")
        lab.link(host, "eth1", peer, "eth1", a_addresses="198.51.100.1/30", b_addresses="198.51.100.2/30")
        host.ip("route add default via 192.0.2.6 dev eth0")
        peer.ip("link set dev eth1 mtu 9000")
        yield host


def report(out: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(out)
    jsonschema.validate(document, published("netdiag.report-1"))
    return document


def without_time(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in WHEN}


def test_check_finds_what_is_broken(broken: Host) -> None:
    status, out, err = broken.netdiag("check", "--json", "--interval", "0")
    found = report(out)
    assert err == ""
    assert status == {"warning": 1, "critical": 2}[found["verdict"]]
    assert "link-mtu-peer-mismatch" in {finding["rule"] for finding in found["findings"]}
    assert found["host"]["name"] == "edge1"


def test_text_fits_on_the_first_screen(broken: Host) -> None:
    _, out, _ = broken.netdiag("check", "--interval", "0")
    assert sum(max(1, -(-len(line) // 80)) for line in out.splitlines()) <= 24
    assert out.startswith("edge1  ") and "coverage: " in out


def test_a_snapshot_says_the_same_as_the_host(broken: Host, tmp_path: Path) -> None:
    path = str(tmp_path / "edge1.netdiag")
    assert broken.netdiag("collect", "-o", path, "--interval", "0")[0] == 0
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    live = broken.netdiag("check", "--json", "--interval", "0")
    loaded = broken.netdiag("check", "--json", path)
    assert loaded[0] == live[0]
    assert without_time(report(loaded[1])) == without_time(report(live[1]))


def test_a_replay_gives_the_same_bytes_twice(broken: Host, tmp_path: Path) -> None:
    folder = str(tmp_path / "edge1")
    assert broken.netdiag("record", "-o", folder, "--interval", "0") == (0, "", "")
    first = broken.netdiag("--replay", folder, "check", "--json", "--interval", "0")
    assert first == broken.netdiag("--replay", folder, "check", "--json", "--interval", "0")
    live = broken.netdiag("check", "--json", "--interval", "0")
    assert without_time(report(first[1])) == without_time(report(live[1]))
    assert json.loads(broken.netdiag("--replay", folder, "show", "links", "--json")[1])


def test_every_table_can_be_shown(broken: Host) -> None:
    rows = json.loads(broken.netdiag("show", "links", "--json")[1])
    assert {row["ifname"] for row in rows} == {"lo", "eth0", "eth1"}
    routes = json.loads(broken.netdiag("show", "routes", "--json", "--table", "main", "--family", "inet")[1])
    stock = json.loads(broken.run("ip", "-json", "route", "show", "table", "main").stdout)
    assert [(row["dst"], row.get("gateway"), row["dev"], row["protocol"]) for row in routes] == [
        (row["dst"], row.get("gateway"), row["dev"], row.get("protocol", "boot")) for row in stock
    ]
    for name in ("addresses", "rules", "nexthops", "neighbours", "sysctls", "counters", "coverage"):
        status, out, _ = broken.netdiag("show", name, "--json", *(["--interval", "0"] if name == "counters" else []))
        assert status == 0 and isinstance(json.loads(out), list)


def test_doctor(broken: Host) -> None:
    status, out, _ = broken.netdiag("doctor", "--json")
    health = json.loads(out)
    assert (status, health["verdict_possible"]) == (0, True)
    assert {row["collector"] for row in health["collectors"]} >= {"links", "addresses", "routes", "rules"}
