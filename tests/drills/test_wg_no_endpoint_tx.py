"""Packets to a peer whose endpoint is forgotten; and the same peer when nobody sends to it."""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import mesh
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host, _ = mesh(lab)
    host.run("ping", "-c1", "-W5", "10.9.0.2")
    return host


def forget(lab: Lab, host: Host) -> None:
    peer = host.run("wg", "show", "wg0", "peers").stdout.strip()
    host.run("wg", "set", "wg0", "peer", peer, "remove")
    host.run("wg", "set", "wg0", "peer", peer, "allowed-ips", "10.9.0.2/32")
    host.ip("route replace 10.9.0.0/24 dev wg0")


def remember(lab: Lab, host: Host) -> None:
    peer = host.run("wg", "show", "wg0", "peers").stdout.strip()
    host.run("wg", "set", "wg0", "peer", peer, "endpoint", "192.0.2.2:51820")


test_drill = drill_test(
    Drill(
        rule="wg-no-endpoint-tx",
        build=build,
        break_=forget,
        repair=remember,
        during=lambda lab, host: host.run("ping", "-c1", "-W1", "10.9.0.2", check=False),
        severity="warning",
        expect={"kind": "wireguard-peer", "ifname": "wg0"},
    )
)
