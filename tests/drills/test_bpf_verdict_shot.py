"""Programs that drop whatever leaves by tc or arrives by XDP; and programs that let packets by."""

import socket

from tests.drills import bpfworld
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make


def build(lab: Lab) -> Host:
    host = bpfworld.two_cables(lab)
    bpfworld.program(host, "open", b"open", verdict=0)
    bpfworld.program(host, "closed", b"closed", verdict=2)
    bpfworld.tc(host, "eth0", "open", 1, "egress")
    return host


def xdp(host: Host, verdict: int) -> None:
    def work() -> None:
        one = make.program(make.XDP, b"shield", verdict=verdict)
        make.pin(make.link(one, socket.if_nametoindex("eth0"), 37), "shield")

    host.call(work)


def passing(lab: Lab) -> Host:
    host = build(lab)
    xdp(host, 2)
    return host


test_drill = drill_test(
    Drill(
        rule="bpf-verdict-shot",
        build=build,
        break_=lambda lab, host: bpfworld.tc(host, "eth1", "closed", 1, "egress"),
        repair=None,
        severity="warning",
        expect={"kind": "bpf-attachment", "ifname": "eth1"},
        twin=passing,
    ),
    Drill(
        rule="bpf-xdp-drop-counter",
        build=build,
        break_=lambda lab, host: xdp(host, 1),
        repair=lambda lab, host: host.run("rm", "/sys/fs/bpf/shield"),
        severity="warning",
        expect={"kind": "bpf-attachment", "ifname": "eth0"},
        twin=passing,
    ),
)
