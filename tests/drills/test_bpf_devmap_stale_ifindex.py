"""A map that still names an interface that has gone."""

from tests.drills.bpfworld import tc, two_cables
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make


def _set(host: Host, ifindex: int) -> None:
    host.call(lambda: make.update(make.pinned("/sys/fs/bpf/to"), bytes(4), ifindex.to_bytes(4, "little")))


def healthy(lab: Lab) -> Host:
    host = two_cables(lab)

    def work() -> None:
        to = make.map_(make.HASH, b"redirect_ifinde")
        make.pin(make.program(make.SCHED_CLS, b"switch", verdict=-1, maps=[to]), "switch")
        make.pin(to, "to")

    host.call(work)
    tc(host, "eth0", "switch", 1)
    _set(host, 1)
    return host


DRILL = Drill(
    rule="bpf-devmap-stale-ifindex",
    build=healthy,
    break_=lambda lab, host: _set(host, 9999),
    repair=None,
    severity="warning",
    expect={"kind": "bpf-map", "program": "switch"},
)
test_drill = drill_test(DRILL)
