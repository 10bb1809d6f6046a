"""A prefix given to a peer with wg set, which makes no route; and a peer for everything with selective routes."""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import mesh
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    return mesh(lab)[0]


def allow(host: Host, prefixes: str) -> None:
    peer = host.run("wg", "show", "wg0", "peers").stdout.strip()
    host.run("wg", "set", "wg0", "peer", peer, "allowed-ips", prefixes)


def selective(lab: Lab) -> Host:
    host = build(lab)
    allow(host, "0.0.0.0/0,::/0,10.0.0.0/8")
    host.ip("route add 10.60.0.0/16 dev wg0")
    return host


test_drill = drill_test(
    Drill(
        rule="wg-allowedips-without-route",
        build=build,
        break_=lambda lab, host: allow(host, "10.9.0.2/32,10.50.0.0/16"),
        repair=None,
        severity="warning",
        expect={"kind": "wireguard-peer", "ifname": "wg0"},
        twin=selective,
    ),
    Drill(
        rule="wg-allowedips-without-route",
        name="IPv6",
        build=build,
        break_=lambda lab, host: allow(host, "10.9.0.2/32,fd00:50::/64"),
        repair=None,
        severity="warning",
        expect={"kind": "wireguard-peer", "ifname": "wg0"},
    ),
)
