"""A prefix that is given to a second peer leaves the first; and peers without prefixes that are meant so."""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import key_of, mesh
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """A tunnel that has carried traffic, and a second peer with prefixes of its own."""
    host, _ = mesh(lab)
    host.run("ping", "-c1", "-W3", "10.9.0.2")
    give(host, second_peer(host), "10.9.0.3/32")
    return host


def second_peer(host: Host) -> str:
    """The key of the second peer; made when first asked for, and found by its endpoint's port after that."""
    lines = [line.split() for line in host.run("wg", "show", "wg0", "endpoints").stdout.splitlines()]
    known = [key for key, endpoint in lines if endpoint.endswith(":51823")]
    if known:
        return known[0]
    made = key_of(host, "pubkey")
    host.run("wg", "set", "wg0", "peer", made, "endpoint", "192.0.2.2:51823")
    return made


def first_peer(host: Host) -> str:
    return next(key for key in host.run("wg", "show", "wg0", "peers").stdout.split() if key != second_peer(host))


def give(host: Host, peer: str, prefixes: str) -> None:
    host.run("wg", "set", "wg0", "peer", peer, "allowed-ips", prefixes)


def steal(lab: Lab, host: Host) -> None:
    give(host, second_peer(host), "10.9.0.3/32,10.9.0.2/32")


def restore(lab: Lab, host: Host) -> None:
    give(host, first_peer(host), "10.9.0.2/32")


def wanted(lab: Lab) -> Host:
    """A peer that never spoke, with a keepalive."""
    host, _ = mesh(lab, keepalive=25)
    give(host, second_peer(host), "10.9.0.3/32")
    return host


def prepared(lab: Lab) -> Host:
    """One peer is made ahead, without prefixes."""
    host = build(lab)
    give(host, second_peer(host), "")
    return host


STOLEN = Drill(
    rule="wg-allowedips-duplicate-moved",
    name="living keys",
    build=build,
    break_=steal,
    repair=restore,
    severity="warning",
    expect={"kind": "wireguard-peer", "ifname": "wg0"},
    twin=prepared,
)
WANTED = Drill(
    rule="wg-allowedips-duplicate-moved",
    name="keepalive",
    build=wanted,
    break_=steal,
    repair=restore,
    severity="warning",
    expect={"kind": "wireguard-peer", "ifname": "wg0"},
)
test_drill = drill_test(STOLEN, WANTED)
