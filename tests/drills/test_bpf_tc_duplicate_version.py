"""A loader that leaves its old tc program behind, beside hosts with several programs on purpose."""

import socket

from tests.drills.bpfworld import program, tc, two_cables
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make


def healthy(lab: Lab) -> Host:
    host = two_cables(lab)
    program(host, "v1", b"policy", verdict=-1)
    tc(host, "eth0", "v1", 1)
    return host


def new_beside_old(lab: Lab, host: Host) -> None:
    program(host, "v2", b"policy")
    tc(host, "eth0", "v2", 2)


def new_by_tcx(lab: Lab, host: Host) -> None:
    def work() -> None:
        made = make.program(make.SCHED_CLS, b"policy", verdict=0)
        make.pin(make.link(made, socket.if_nametoindex("eth0"), 46), "l2")

    host.call(work)


def chain(lab: Lab) -> Host:
    """The same program twice, another one, and the same name on the way out and on another interface's XDP."""
    host = healthy(lab)
    tc(host, "eth0", "v1", 2)
    program(host, "nat", b"nat", verdict=-1)
    tc(host, "eth0", "nat", 3)
    program(host, "out", b"policy")
    tc(host, "eth0", "out", 1, "egress")
    program(host, "x", b"policy", make.XDP, 2)
    host.run("ip", "link", "set", "eth0", "xdp", "pinned", "/sys/fs/bpf/x")
    return host


def upgraded_whole(lab: Lab) -> Host:
    """tc replaces a filter in its place."""
    host = healthy(lab)
    program(host, "v2", b"policy")
    host.sh("tc filter replace dev eth0 ingress pref 1 handle 1 bpf da object-pinned /sys/fs/bpf/v2")
    return host


EXPECT = {"kind": "bpf-attachment", "ifname": "eth0", "name": "policy", "direction": "ingress"}
BY_TC = Drill(
    rule="bpf-tc-duplicate-version",
    name="by tc",
    build=healthy,
    break_=new_beside_old,
    repair=None,
    severity="warning",
    expect=EXPECT,
    twin=chain,
)
BY_TCX = Drill(
    rule="bpf-tc-duplicate-version",
    name="by tcx",
    build=healthy,
    break_=new_by_tcx,
    repair=None,
    severity="warning",
    expect=EXPECT,
    twin=upgraded_whole,
)
test_drill = drill_test(BY_TC, BY_TCX)
