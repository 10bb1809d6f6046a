"""BIRD killed so that its socket stays behind, BIRD that hangs, and BIRD stopped on purpose."""

import os
from collections.abc import Callable

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

CONF = """
router id 192.0.2.1;
protocol device {}
protocol static { ipv4; route 203.0.113.0/24 via 192.0.2.2; }
protocol kernel { ipv4 { export all; }; }
"""
SOCKET = {"kind": "socket", "path": "/run/bird/bird.ctl"}


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    lab.birdd(host, CONF)
    return host


def signal(name: str) -> Callable[[Lab, Host], object]:
    """A signal for the BIRD of the host."""
    return lambda lab, host: host.sh(f"kill -{name} $(cat /run/bird/bird.pid)")


def stopped(lab: Lab) -> Host:
    """Stopped in order: BIRD takes its socket away."""
    host = build(lab)
    host.run("birdc", "down")
    lab.wait(lambda: not host.call(lambda: os.path.exists("/run/bird/bird.ctl")), 5, "BIRD has ended")
    return host


KILLED = Drill(
    rule="bgp-daemon-dead",
    name="killed",
    build=build,
    break_=signal("KILL"),
    repair=lambda lab, host: lab.birdd(host, CONF),
    severity="critical",
    expect=SOCKET,
    twin=stopped,
)
HANGS = Drill(
    rule="bgp-daemon-dead",
    name="hangs",
    build=build,
    break_=signal("STOP"),
    repair=signal("CONT"),
    severity="critical",
    expect=SOCKET,
    twin=lambda lab: lab.host("edge1"),
)
test_drill = drill_test(KILLED, HANGS)
