"""A gate that ends every packet's way before the policy behind it; and one that lets them on."""

from tests.drills import bpfworld
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host = bpfworld.two_cables(lab)
    bpfworld.program(host, "gate", b"gate", verdict=-1)
    bpfworld.program(host, "closed", b"gate", verdict=0)
    bpfworld.program(host, "policy", b"policy", verdict=0)
    bpfworld.tc(host, "eth0", "gate", 1)
    bpfworld.tc(host, "eth0", "policy", 2)
    return host


def gate(host: Host, pin: str) -> None:
    host.sh(
        f"tc filter del dev eth0 ingress pref 1; tc filter add dev eth0 ingress pref 1 bpf da pinned /sys/fs/bpf/{pin}"
    )


test_drill = drill_test(
    Drill(
        rule="bpf-tc-terminal-shadow",
        build=build,
        break_=lambda lab, host: gate(host, "closed"),
        repair=lambda lab, host: gate(host, "gate"),
        severity="warning",
        expect={"kind": "bpf-attachment", "ifname": "eth0", "name": "policy"},
    )
)
