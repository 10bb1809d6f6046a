"""A tool with its own iptables leaves rules in the old backend; and Docker's policy there, beside a machine."""

from tests.drills import test_nf_forward_drop_policy as forwarded
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

OLD = "iptables-legacy -A FORWARD -i docker0 -j ACCEPT; iptables-legacy -P FORWARD DROP"


def build(lab: Lab) -> Host:
    host = lab.host("worker")
    host.sh("iptables-nft -A INPUT -p tcp --dport 22 -j ACCEPT; iptables-legacy -L")
    return host


DRILLS = (
    Drill(
        rule="nf-legacy-and-nft-both",
        build=build,
        break_=lambda lab, host: host.sh("iptables-legacy -A INPUT -p tcp --dport 8080 -j DROP"),
        repair=lambda lab, host: host.sh("iptables-legacy -F"),
        severity="warning",
        expect={"kind": "nft-chain", "family": "ip", "chain": "INPUT", "backend": "legacy"},
    ),
    Drill(
        rule="nf-forward-drop-policy",
        name="old backend",
        build=forwarded.build,
        break_=lambda lab, host: host.sh(
            "iptables-legacy -A FORWARD -i docker0 -j ACCEPT; iptables-legacy -P FORWARD DROP"
        ),
        repair=None,
        severity="critical",
        expect={"kind": "nft-chain", "table": "filter", "chain": "FORWARD", "backend": "legacy"},
    ),
)
test_drill = drill_test(*DRILLS)
