"""A link that one process holds: information, and none once it is pinned or gone."""

import signal
import socket

from tests.drills import bpfworld
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make


def hold() -> None:
    one = make.program(make.SCHED_CLS, b"policy", verdict=-1)
    make.link(one, socket.if_nametoindex("eth0"), 46)
    signal.pause()


holders: dict[str, int] = {}


def start(lab: Lab, host: Host) -> None:
    holders["pid"] = host.fork(hold)


test_drill = drill_test(
    Drill(
        rule="bpf-link-owner-dead",
        build=bpfworld.two_cables,
        break_=start,
        repair=lambda lab, host: host.end(holders["pid"]),
        severity="info",
        expect={"kind": "bpf-attachment", "ifname": "eth0", "name": "policy"},
    )
)
