"""``show wireguard``: a line a peer with words a person compares, the same in JSON with numbers."""

import json
from dataclasses import replace
from typing import Any

import pytest

from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Filters, table_json, table_text
from netdiag.render.views import view
from netdiag.render.views.wireguard import age_word, octets_word
from netdiag.rules.build_wireguard import WireguardBuilder, key
from tests.snapshotfile.hosts import META


def snapshot() -> Snapshot:
    host = WireguardBuilder().wireguard("wg0", fwmark=51820)
    host.wg_peer("wg0", "a", age=125, rx_bytes=1536, tx_bytes=3 << 30, persistent_keepalive=25, preshared_key=True)
    host.wg_peer("wg0", "b", endpoint=None, allowed_ips=())
    host.wg_peer("wg0", "c", endpoint="2001:db8::2", age=-5, allowed_ips=("10.0.0.3/32", "fd00::/64"))
    host.wireguard("wg1", userspace=True)
    return Snapshot(meta=META, tables=host.build(), coverage=())


def text(width: int | None = None, **filters: Any) -> str:
    shown = view("wireguard")
    return "".join(table_text(shown, shown.rows(snapshot(), Filters(**filters)), width))


def rows(**filters: Any) -> Any:
    return json.loads("".join(table_json(view("wireguard").rows(snapshot(), Filters(**filters)))))


def test_a_line_a_peer() -> None:
    lines = [line.split() for line in text().splitlines()]
    assert len(lines) == 5
    first = lines[1]
    assert first[:6] == ["wg0", f"{key('a')[:8]}...", "192.0.2.2:51820", "2m5s", "1.5KiB", "3GiB"]
    assert first[-2:] == ["preshared_key", key("a")]
    assert "never" in lines[2]
    assert {"[2001:db8::2]:51820", "-5s"} <= set(lines[3])
    assert lines[4][0] == "wg1" and "userspace" in lines[4]


def test_one_device() -> None:
    assert [row["ifname"] for row in rows(dev="wg1")] == ["wg1"]
    assert {row["ifname"] for row in rows(dev="wg0")} == {"wg0"}
    assert rows(dev="wg2") == []


def test_json_has_the_numbers() -> None:
    peer, never, future, bare = rows()
    assert (peer["handshake_age"], peer["rx_bytes"], peer["tx_bytes"]) == (125.0, 1536, 3 << 30)
    assert (peer["fwmark"], peer["listen_port"], peer["preshared_key"]) == (51820, 51820, True)
    assert "latest_handshake" not in never and "endpoint" not in never
    assert future["allowed_ips"] == ["10.0.0.3/32", "fd00::/64"]
    assert "peer" not in bare and bare["userspace"] is True


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_the_screen_and_tells_peers_apart(width: int) -> None:
    *lines, left_out = text(width).splitlines()
    assert "--json has everything" in left_out
    assert all(len(line) <= width for line in lines)
    assert [line.split()[1][:8] for line in lines[1:4]] == [key(letter)[:8] for letter in "abc"]


def test_hostile_names_are_escaped() -> None:
    host = snapshot()
    first = host.tables.wireguard.devices[0]
    device = type(first)(ifname="wg\x1b[2J", peers=first.peers[:1])
    hostile = replace(host, tables=replace(host.tables, wireguard=type(host.tables.wireguard)(devices=(device,))))
    shown = view("wireguard")
    assert "\x1b" not in "".join(table_text(shown, shown.rows(hostile, Filters()), 80))


@pytest.mark.parametrize(
    ("octets", "word"),
    [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (1536, "1.5KiB"), (1 << 20, "1MiB"), (5 << 60, "5EiB")],
)
def test_sizes(octets: int, word: str) -> None:
    assert octets_word(octets) == word


@pytest.mark.parametrize(
    ("seconds", "word"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (185, "3m5s"), (3600, "1h"), (7800, "2h10m"), (86400, "1d"), (-61, "-1m1s")],
)
def test_ages(seconds: float, word: str) -> None:
    assert age_word(seconds) == word
