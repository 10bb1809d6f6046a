"""XDP that redirects into a cable whose other end cannot take it; and one whose other end has GRO on."""

import socket

from tests.drills import bpfworld
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make

XDP_PASS, XDP = 2, 37


def build(lab: Lab) -> Host:
    host = bpfworld.two_cables(lab)
    lab.hosts["far1"].run("ethtool", "-K", "eth0", "gro", "on")

    def work() -> None:
        targets = make.map_(make.DEVMAP, b"targets", entries=4)
        make.update(targets, bytes(4), socket.if_nametoindex("eth1").to_bytes(4, "little"))
        one = make.program(make.XDP, b"balancer", verdict=XDP_PASS, maps=[targets])
        make.pin(make.link(one, socket.if_nametoindex("eth0"), XDP), "balancer")
        make.pin(targets, "targets")

    host.call(work)
    return host


def gro(lab: Lab, state: str) -> None:
    lab.hosts["far1"].run("ethtool", "-K", "eth0", "gro", state)


test_drill = drill_test(
    Drill(
        rule="bpf-xdp-redirect-no-target",
        build=build,
        break_=lambda lab, host: gro(lab, "off"),
        repair=lambda lab, host: gro(lab, "on"),
        severity="warning",
        expect={"kind": "bpf-map", "name": "targets", "ifname": "eth1"},
    )
)
