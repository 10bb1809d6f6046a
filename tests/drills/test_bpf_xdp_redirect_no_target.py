"""XDP that redirects into a cable whose other end cannot take it; and one whose other end runs a program."""

import socket

from tests.drills import bpfworld
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make

XDP_PASS, XDP = 2, 37


def inside(lab: Lab) -> None:
    """A program that passes everything, on the other end."""

    def work() -> None:
        one = make.program(make.XDP, b"pass", verdict=XDP_PASS)
        make.pin(make.link(one, socket.if_nametoindex("eth0"), XDP), "pass")

    lab.hosts["far1"].call(work)


def build(lab: Lab) -> Host:
    host = bpfworld.two_cables(lab)
    inside(lab)

    def work() -> None:
        targets = make.map_(make.DEVMAP, b"targets", entries=4)
        make.update(targets, bytes(4), socket.if_nametoindex("eth1").to_bytes(4, "little"))
        one = make.program(make.XDP, b"balancer", verdict=XDP_PASS, maps=[targets])
        make.pin(make.link(one, socket.if_nametoindex("eth0"), XDP), "balancer")
        make.pin(targets, "targets")

    host.call(work)
    return host


test_drill = drill_test(
    Drill(
        rule="bpf-xdp-redirect-no-target",
        build=build,
        break_=lambda lab, host: lab.hosts["far1"].run("rm", "/sys/fs/bpf/pass"),
        repair=lambda lab, host: inside(lab),
        severity="warning",
        expect={"kind": "bpf-map", "name": "targets", "ifname": "eth1"},
    )
)
