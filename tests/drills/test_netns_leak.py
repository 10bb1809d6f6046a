"""Empty namespaces pile up; a warm pool with taps is healthy."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host = lab.host("node1")
    host.sh("ip netns add ops; ip netns add pool")
    return host


def pool(lab: Lab) -> Host:
    """Sixty machines made ahead, each with its tap."""
    host = build(lab)
    host.sh("for n in $(seq 60); do ip netns add p$n; ip -n p$n tuntap add dev tap0 mode tap; done")
    return host


test_drill = drill_test(
    Drill(
        rule="netns-leak",
        build=build,
        break_=lambda lab, host: host.sh("for n in $(seq 55); do ip netns add cni-$n; done"),
        repair=lambda lab, host: host.sh("for n in $(seq 55); do ip netns del cni-$n; done"),
        severity="warning",
        expect={"kind": "host"},
        twin=pool,
    )
)
