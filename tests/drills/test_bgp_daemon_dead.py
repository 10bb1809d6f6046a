"""BIRD killed so that its socket stays behind, BIRD that hangs, and BIRD stopped on purpose."""

import os
import socket
from collections.abc import Callable

from tests.drills.bgp import conf, session, world
from tests.drills.harness import Drill, confirm, drill_test
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


def announced(lab: Lab, host: Host) -> bool:
    """The neighbour has a route to the address that this host announces."""
    return "203.0.113.1" in lab.hosts["edge2"].run("ip", "route", "show", "proto", "bird").stdout


def again(lab: Lab, host: Host) -> None:
    lab.birdd(host, conf("edge1", session("up1", "edge2")))


def stopped(lab: Lab) -> Host:
    """Stopped in order: BIRD takes its socket away."""
    host = build(lab)
    host.run("birdc", "down")
    lab.wait(lambda: not host.call(lambda: os.path.exists("/run/bird/bird.ctl")), 5, "BIRD has ended")
    return host


KILLED = Drill(
    rule="bgp-daemon-dead",
    name="killed",
    build=world,
    break_=signal("KILL"),
    repair=again,
    carries=announced,
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


def test_a_full_queue_stands_under_it(lab: Lab) -> None:
    """Nine clients that BIRD does not accept: the queue is full, because the daemon is stopped."""
    host = build(lab)
    host.sh("kill -STOP $(cat /run/bird/bird.pid)")

    def clients() -> None:
        for _ in range(9):
            one = socket.socket(socket.AF_UNIX)
            one.connect("/run/bird/bird.ctl")

    host.call(clients)  # what was connected waits there even after the client has ended
    report = host.report("--interval", "0", "--deadline", "8")
    first, *rest = report["findings"]
    assert first["rule"] == "bgp-daemon-dead"
    (stuck,) = [row for row in rest if row["rule"] == "unix-bird-socket-stuck"]
    assert (stuck["severity"], stuck["explained_by"]) == ("warning", first["id"])
    for command in stuck["confirm"]:
        confirm(host, command)


def test_a_restart_waits_for_its_neighbours(lab: Lab) -> None:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    bgp = "protocol bgp up1 { local 192.0.2.1 as 65001; neighbor 192.0.2.2 as 65002; graceful restart on; "
    bgp += "ipv4 { import all; export all; }; }"
    host.write("/etc/bird/again.conf", CONF + bgp)
    host.spawn("bird", "-R", "-f", "-c", "/etc/bird/again.conf", "-s", "/run/bird.ctl")
    lab.wait(lambda: "recovery" in host.run("birdc", "-s", "/run/bird.ctl", "show", "status", check=False).stdout, 5)
    report = host.report("--interval", "0", "--rule", "bgp-stuck-wait-eor")
    (found,) = report["findings"]
    assert (found["severity"], found["subject"]["path"]) == ("info", "/run/bird.ctl")
    assert "for 1 channels (up1 not up)" in found["message"]
