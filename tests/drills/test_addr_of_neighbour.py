"""A guest's address was left on lo; and an address beside it that nobody else has."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import leaves_by
from tests.drills.tapworld import worker
from tests.lab import Host, Lab


def own_service(lab: Lab) -> Host:
    host = worker(lab)
    host.ip("address add 10.1.0.9/32 dev lo")
    return host


test_drill = drill_test(
    Drill(
        rule="addr-of-neighbour",
        build=worker,
        break_=lambda lab, host: host.ip("address add 10.1.0.5/32 dev lo"),
        repair=None,
        severity="critical",
        expect={"kind": "address", "address": "10.1.0.5", "ifname": "lo"},
        carries=leaves_by("tap0", "10.1.0.5"),
        twin=own_service,
    )
)
