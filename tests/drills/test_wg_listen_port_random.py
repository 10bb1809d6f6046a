"""A WireGuard device that lost its port: the kernel, or the daemon, drew another."""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import mesh
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host, _ = mesh(lab, keepalive=25)
    assert host.netdiag("collect", "--interval", "0", "-o", "/run/before.netdiag")[0] == 0
    return host


test_drill = drill_test(
    Drill(
        rule="wg-listen-port-random",
        build=build,
        break_=lambda lab, host: host.run("wg", "set", "wg0", "listen-port", "43117"),
        repair=None,
        severity="warning",
        expect={"kind": "wireguard-interface", "ifname": "wg0"},
        check_args=("--interval", "0", "--baseline", "/run/before.netdiag"),
    )
)
