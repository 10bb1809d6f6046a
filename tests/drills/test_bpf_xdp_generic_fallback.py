"""XDP that fell back to generic mode on a veth, beside interfaces where generic is right."""

from tests.drills.bpfworld import program, two_cables
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make


def healthy(lab: Lab) -> Host:
    host = two_cables(lab)
    program(host, "x", b"guard", make.XDP, 2)
    host.sh("ip link set eth0 xdpdrv pinned /sys/fs/bpf/x")
    return host


def fall_back(lab: Lab, host: Host) -> None:
    host.sh("ip link set eth0 xdpdrv off; ip link set eth0 xdpgeneric pinned /sys/fs/bpf/x")


def back(lab: Lab, host: Host) -> None:
    host.sh("ip link set eth0 xdpgeneric off; ip link set eth0 xdpdrv pinned /sys/fs/bpf/x")


def right_there(lab: Lab) -> Host:
    """A tap and a bridge."""
    host = two_cables(lab)
    program(host, "x", b"guard", make.XDP, 2)
    host.sh(
        "ip tuntap add tap0 mode tap; ip link add br0 type bridge\n"
        "for name in tap0 br0; do ip link set $name xdpgeneric pinned /sys/fs/bpf/x; done"
    )
    return host


DRILL = Drill(
    rule="bpf-xdp-generic-fallback",
    build=healthy,
    break_=fall_back,
    repair=back,
    severity="warning",
    expect={"kind": "bpf-attachment", "ifname": "eth0", "hook": "xdp"},
    twin=right_there,
)
test_drill = drill_test(DRILL)
