"""Loopback is switched off under a program that listens there; and a namespace whose loopback never was up."""

from tests.drills.bpfworld import two_cables
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host = two_cables(lab)
    lab.listen_tcp(host, "127.0.0.1", 8500)
    return host


def unused(lab: Lab) -> Host:
    """Nothing there needs it."""
    host = two_cables(lab)
    host.ip("link set lo down")
    return host


def answers(_: Lab, host: Host) -> bool:
    return not host.run("ping", "-c1", "-W1", "127.0.0.1", check=False).returncode


test_drill = drill_test(
    Drill(
        rule="loopback-down",
        build=build,
        break_=lambda lab, host: host.ip("link set lo down"),
        repair=None,
        severity="critical",
        expect={"kind": "link", "ifname": "lo"},
        carries=answers,
        twin=unused,
    )
)
