"""A site's network given out of the middle of a hub's range; and a hub for everything."""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import key_of, mesh
from tests.lab import Host, Lab


def build(lab: Lab, hub: str = "10.0.0.0/8,10.7.7.0/24") -> Host:
    host, _ = mesh(lab)
    peer = host.run("wg", "show", "wg0", "peers").stdout.strip()
    host.run("wg", "set", "wg0", "peer", peer, "allowed-ips", hub)
    host.ip("route add 10.0.0.0/8 dev wg0")
    return host


def site(host: Host) -> None:
    host.run("wg", "set", "wg0", "peer", key_of(host, "pubkey"), "allowed-ips", "10.7.0.0/16")


def everything(lab: Lab) -> Host:
    host = build(lab, "0.0.0.0/0")
    site(host)
    return host


def take_away(lab: Lab, host: Host) -> None:
    for line in host.run("wg", "show", "wg0", "allowed-ips").stdout.splitlines():
        if "10.7.0.0/16" in line:
            host.run("wg", "set", "wg0", "peer", line.split()[0], "remove")


test_drill = drill_test(
    Drill(
        rule="wg-allowedips-overlap-shadow",
        build=build,
        break_=lambda lab, host: site(host),
        repair=take_away,
        severity="warning",
        expect={"kind": "wireguard-interface", "ifname": "wg0"},
        twin=everything,
    )
)
