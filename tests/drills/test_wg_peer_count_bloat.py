"""Thousands of peers of which hardly one was heard within the last day, told by a scripted daemon."""

import base64

import pytest

from netdiag.rules.wireguard import wg_peer_count_bloat
from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import Told, scripted
from tests.lab import Host, Lab

COUNT = 4000


def peers(heard: int) -> list[Told]:
    """So many of them heard a minute ago, the others never."""
    keys = (base64.b64encode(bytes([1]) + number.to_bytes(31, "big")).decode() for number in range(COUNT))
    return [
        Told(
            public_key=key,
            age=60 if number < heard else None,
            allowed_ips=[f"10.{number >> 8}.{number & 255}.1/32"],
            endpoint="192.0.2.2:51820" if number < heard else None,
        )
        for number, key in enumerate(keys)
    ]


@pytest.fixture(autouse=True)
def long_since_booted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine of the tests may have booted minutes ago, when nobody could have called yet."""
    monkeypatch.setattr(wg_peer_count_bloat, "FRESH", 0)


def build(lab: Lab) -> Host:
    """A large gateway most of whose peers call."""
    host, far = lab.host("gateway"), lab.host("far")
    lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    host.ip("tuntap add dev wg0 mode tun\nlink set dev wg0 mtu 1420 up\naddress add 10.255.0.1/32 dev wg0")
    host.ip("route add 10.0.0.0/9 dev wg0")
    scripted(host, "wg0", peers(COUNT - 100))
    return host


DRILL = Drill(
    rule="wg-peer-count-bloat",
    build=build,
    break_=lambda lab, host: scripted(host, "wg0", peers(COUNT // 20)),
    repair=lambda lab, host: scripted(host, "wg0", peers(COUNT - 100)),
    severity="warning",
    expect={"kind": "wireguard-interface", "ifname": "wg0"},
)
test_drill = drill_test(DRILL)
