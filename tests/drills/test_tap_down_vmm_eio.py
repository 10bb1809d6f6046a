"""A tap goes down under a running machine."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import leaves_by
from tests.drills.tapworld import worker
from tests.lab import Host, Lab


def paused(lab: Lab) -> Host:
    """A machine whose process is stopped, on a tap that is down; and one that nobody holds."""
    host = worker(lab, held=("tap0",))
    host.sh("kill -STOP $(pgrep -x firecracker)")
    host.ip("link set dev tap0 down\nlink set dev tap1 down")
    return host


def repair(lab: Lab, host: Host) -> None:
    host.ip("link set dev tap0 up\nroute add 10.1.0.5/32 dev tap0")


test_drill = drill_test(
    Drill(
        rule="tap-down-vmm-eio",
        build=worker,
        break_=lambda lab, host: host.ip("link set dev tap0 down"),
        repair=repair,
        severity="critical",
        expect={"kind": "tap", "ifname": "tap0"},
        carries=leaves_by("tap0", "10.1.0.5"),
        twin=paused,
    )
)
