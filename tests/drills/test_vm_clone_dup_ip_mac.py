"""Two machines restored from one snapshot in one namespace."""

from tests.drills.harness import Drill, drill_test
from tests.drills.tapworld import GUESTS, worker
from tests.lab import Host, Lab
from tests.lab.taps import hold


def clone(lab: Lab, host: Host) -> None:
    """A second tap with the same guest; the host hears both."""
    address, mac = GUESTS["tap0"]
    host.ip("tuntap add dev tap2 mode tap\nlink set tap2 up\nroute add 10.1.0.7/32 dev tap2")
    hold(host, "tap2", guests={address: mac})
    host.ip(f"neigh replace {address} lladdr {mac} dev tap0 nud reachable")
    host.ip(f"neigh replace {address} lladdr {mac} dev tap2 nud stale")


def namespaces(lab: Lab) -> Host:
    """One address on taps of separate namespaces: the recommended design."""
    host = worker(lab)
    host.sh("ip netns add vm1; ip -n vm1 tuntap add dev tap0 mode tap; ip -n vm1 link set tap0 up")
    host.sh("ip -n vm1 route add 10.1.0.5/32 dev tap0")
    host.sh("ip -n vm1 neigh add 10.1.0.5 lladdr 06:00:00:00:00:05 dev tap0 nud stale")
    return host


test_drill = drill_test(
    Drill(
        rule="vm-clone-dup-ip-mac",
        build=worker,
        break_=clone,
        repair=lambda lab, host: host.ip("link del tap2"),
        severity="critical",
        expect={"kind": "neighbour", "dst": "10.1.0.5"},
        twin=namespaces,
    )
)
