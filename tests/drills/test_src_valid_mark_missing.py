"""wg-quick's rules with a strict filter on the uplink that forgets the mark; and the same with a loose filter."""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import full_tunnel
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host = full_tunnel(lab)
    host.sysctl({"net.ipv4.conf.eth0.rp_filter": 1, "net.ipv4.conf.eth0.src_valid_mark": 1})
    return host


def loose(lab: Lab) -> Host:
    host = full_tunnel(lab)
    host.sysctl({"net.ipv4.conf.eth0.rp_filter": 2})
    return host


test_drill = drill_test(
    Drill(
        rule="src-valid-mark-missing",
        build=build,
        break_=lambda lab, host: host.sysctl({"net.ipv4.conf.eth0.src_valid_mark": 0}),
        repair=None,
        severity="critical",
        expect={"kind": "sysctl", "name": "net.ipv4.conf.eth0.src_valid_mark"},
        twin=loose,
    )
)
