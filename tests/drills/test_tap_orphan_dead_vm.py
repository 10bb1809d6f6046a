"""A machine is killed; its persistent tap and its route stay."""

from tests.drills.harness import Drill, drill_test
from tests.drills.tapworld import boot, stop, worker
from tests.lab import Host, Lab


def stopped(lab: Lab) -> Host:
    """A machine was stopped and its route taken away; the persistent tap is left."""
    host = worker(lab)
    stop(host)
    host.ip("route del 10.1.0.5/32 dev tap0\nroute del 10.1.0.6/32 dev tap1")
    return host


def build(lab: Lab) -> Host:
    host = worker(lab, held=("tap0",))
    host.ip("route del 10.1.0.6/32 dev tap1")
    return host


test_drill = drill_test(
    Drill(
        rule="tap-orphan-dead-vm",
        build=build,
        break_=lambda lab, host: stop(host),
        repair=lambda lab, host: boot(host, "tap0"),
        expect={"kind": "tap", "ifname": "tap0"},
        twin=stopped,
    )
)
