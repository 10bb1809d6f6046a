"""wg-quick's rule for the mark is gone; and a mark that only the firewall uses."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import leaves_by
from tests.drills.wireguardworld import full_tunnel, mesh
from tests.lab import Host, Lab


def for_the_firewall(lab: Lab) -> Host:
    host, _ = mesh(lab)
    host.run("wg", "set", "wg0", "fwmark", "7")
    return host


test_drill = drill_test(
    Drill(
        rule="wg-fwmark-rule-missing",
        build=full_tunnel,
        break_=lambda lab, host: host.ip("rule del not fwmark 51820 table 51820"),
        repair=None,
        severity="critical",
        expect={"kind": "wireguard-interface", "ifname": "wg0"},
        carries=leaves_by("wg0", "203.0.113.50"),
        twin=for_the_firewall,
    )
)
