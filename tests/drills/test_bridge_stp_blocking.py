"""The spanning tree protocol is switched on under a running guest."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab.taps import hold


def build(lab: Lab) -> Host:
    """A guest in a bridge without the protocol."""
    host = lab.host("node1")
    host.ip("link add br0 type bridge stp_state 0\nlink set br0 up\naddress add 10.1.0.1/24 dev br0")
    host.ip("tuntap add dev tap0 mode tap vnet_hdr\nlink set tap0 master br0\nlink set tap0 up")
    hold(host, "tap0")
    return host


def restarted(lab: Lab, host: Host) -> None:
    """The protocol is on, and the port starts anew: it listens for fifteen seconds."""
    host.ip("link set br0 type bridge stp_state 1\nlink set tap0 down\nlink set tap0 up")


test_drill = drill_test(
    Drill(
        rule="bridge-stp-blocking",
        build=build,
        break_=restarted,
        repair=None,
        severity="warning",
        expect={"kind": "link", "ifname": "tap0"},
    )
)
