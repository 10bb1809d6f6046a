"""A tcx program that passes everything in front of tc's filters; and one that says "next"."""

import socket

from tests.drills import bpfworld
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make

TCX_INGRESS = 46


def link(host: Host, name: str, verdict: int) -> None:
    def work() -> None:
        program = make.program(make.SCHED_CLS, name.encode(), verdict=verdict)
        make.pin(make.link(program, socket.if_nametoindex("eth0"), TCX_INGRESS), name)

    host.call(work)


def build(lab: Lab) -> Host:
    host = bpfworld.two_cables(lab)
    bpfworld.program(host, "policy", b"policy", verdict=0)
    bpfworld.tc(host, "eth0", "policy", 2)
    link(host, "polite", -1)
    return host


test_drill = drill_test(
    Drill(
        rule="bpf-tcx-before-tc",
        build=build,
        break_=lambda lab, host: link(host, "agent", 0),
        repair=lambda lab, host: host.run("rm", "/sys/fs/bpf/agent"),
        severity="warning",
        expect={"kind": "bpf-attachment", "ifname": "eth0"},
    )
)
