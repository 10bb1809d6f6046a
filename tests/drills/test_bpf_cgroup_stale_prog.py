"""A program that a dead agent left on a cgroup; and one that is pinned, so that somebody can find it."""

import os

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make

CONNECT4, EGRESS = 10, 1


def attach(host: Host, kind: int, hook: int, *, pin: bool = False) -> None:
    def work() -> None:
        one = make.program(kind, b"policy", verdict=1, expected=hook if kind == make.CGROUP_SOCK_ADDR else 0)
        make.attach(one, os.open("/sys/fs/cgroup", os.O_RDONLY), hook, make.ALLOW_MULTI)
        if pin:
            make.pin(one, "policy")

    host.call(work)


def pinned(lab: Lab) -> Host:
    host = lab.host("edge2", own_cgroup=True)
    attach(host, make.CGROUP_SKB, EGRESS, pin=True)
    return host


test_drill = drill_test(
    Drill(
        rule="bpf-cgroup-stale-prog",
        name="connect4",
        build=lambda lab: lab.host("edge1", own_cgroup=True),
        break_=lambda lab, host: attach(host, make.CGROUP_SOCK_ADDR, CONNECT4),
        repair=None,
        severity="warning",
        expect={"kind": "bpf-attachment", "cgroup": "/sys/fs/cgroup", "name": "policy"},
        twin=pinned,
    ),
    Drill(
        rule="bpf-cgroup-stale-prog",
        name="egress",
        build=lambda lab: lab.host("edge1", own_cgroup=True),
        break_=lambda lab, host: attach(host, make.CGROUP_SKB, EGRESS),
        repair=None,
        severity="warning",
    ),
)
