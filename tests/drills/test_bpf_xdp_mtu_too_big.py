"""One cable of two without XDP, because its MTU is too large for it; and jumbo cables that nobody gave a program."""

import socket

from tests.drills import bpfworld
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make


def attach(host: Host, ifname: str) -> None:
    def work() -> None:
        one = make.program(make.XDP, b"shield", verdict=2)
        make.pin(make.link(one, socket.if_nametoindex(ifname), 37), f"shield_{ifname}")

    host.call(work)


def mtu(lab: Lab, size: int) -> None:
    lab.hosts["edge1"].ip(f"link set dev eth1 mtu {size}")
    lab.hosts["far1"].ip(f"link set dev eth0 mtu {size}")


def build(lab: Lab) -> Host:
    host = bpfworld.two_cables(lab)
    attach(host, "eth0")
    attach(host, "eth1")
    return host


def jumbo(lab: Lab) -> Host:
    host = bpfworld.two_cables(lab)
    mtu(lab, 9000)
    return host


def too_big(lab: Lab, host: Host) -> None:
    host.run("rm", "/sys/fs/bpf/shield_eth1")
    mtu(lab, 9000)


def small_again(lab: Lab, host: Host) -> None:
    mtu(lab, 1500)
    attach(host, "eth1")


test_drill = drill_test(
    Drill(
        rule="bpf-xdp-mtu-too-big",
        build=build,
        break_=too_big,
        repair=small_again,
        severity="warning",
        expect={"kind": "link", "ifname": "eth1"},
        twin=jumbo,
    )
)
