"""Near misses of the domain fleet."""

from tests.zoo.near import ByTest, Line, Shown

HEALTHY = "tests/fleet/test_world.py::test_draining_provisioning_and_a_roll_out_wake_nobody"

LINES: tuple[Line, ...] = (
    ByTest("fleet-host-cut", "drained, or not provisioned yet", HEALTHY),
    Shown("fleet-odd-one-out", "a value of a role or region", "a role's own"),
    Shown("fleet-odd-one-out", "a difference without a symptom", "less than half of those with it"),
    Shown("fleet-region-cut", "idle pairs", "idle"),
    Shown("fleet-region-cut", "a blip that is over", "a blip that is over"),
    ByTest("fleet-region-cut", "a region that is silent by design", HEALTHY),
    Shown("fleet-region-pair-cut", "idle, or over", "idle"),
    Shown("fleet-shared-upstream-fault", "one restart", "bounced once"),
    ByTest("fleet-shared-upstream-fault", "a roll-out of BIRD, host by host", HEALTHY),
    Shown("fleet-shared-upstream-fault", "a single host", "a single host"),
)
