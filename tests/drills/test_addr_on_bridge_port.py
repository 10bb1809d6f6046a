"""An uplink is put into a bridge with its address still on it, and the neighbour entries expire; and one whose address
moved along."""

from tests.drills.bpfworld import two_cables
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host = two_cables(lab)
    host.ip("link add br0 type bridge\naddress add 10.2.0.1/24 dev br0\nlink set br0 up")
    host.ip("route add 198.51.100.0/24 via 192.0.2.6")
    return host


def moved(lab: Lab) -> Host:
    """The address is on the bridge, and stayed on the port as well; the route goes by the bridge."""
    host = build(lab)
    host.ip("link set eth1 master br0\naddress add 192.0.2.5/30 dev br0\nroute del 192.0.2.4/30 dev eth1")
    host.ip("route replace 198.51.100.0/24 via 192.0.2.6 dev br0")
    return host


def answers(lab: Lab, host: Host) -> bool:
    return not host.run("ping", "-c1", "-W1", "192.0.2.6", check=False).returncode


test_drill = drill_test(
    Drill(
        rule="addr-on-bridge-port",
        build=build,
        break_=lambda lab, host: host.ip("link set eth1 master br0\nneigh flush dev eth1"),
        repair=lambda lab, host: host.ip("link set eth1 nomaster"),
        severity="critical",
        expect={"kind": "link", "ifname": "eth1"},
        carries=answers,
        twin=moved,
    )
)
