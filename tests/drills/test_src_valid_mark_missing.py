"""wg-quick's rules with a strict filter on the uplink that forgets the mark; and the same with a loose filter."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import arrives
from tests.drills.wireguardworld import FAR_AWAY, full_tunnel
from tests.lab import Host, Lab

RESTORED = (
    "table ip w { chain p { type filter hook prerouting priority mangle; udp dport 9009 meta mark set 51820; }; }"
)
"""What wg-quick does by the mark of the connection: the tunnel's answers bear its mark when they come in."""


def build(lab: Lab) -> Host:
    host = full_tunnel(lab)
    lab.nft(host, RESTORED)
    lab.hosts["b"].ip(f"address add {FAR_AWAY}/32 dev lo")
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
        carries=arrives("b", "192.0.2.1", src=FAR_AWAY),
        twin=loose,
    )
)
