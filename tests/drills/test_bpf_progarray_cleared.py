"""An entry program whose loader went and took the entries of its prog_array along."""

from collections.abc import Callable

from tests.drills.bpfworld import two_cables
from tests.drills.harness import Drill, drill_test
from tests.drills.losses import arrives
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make

DROP = 2
"""TC_ACT_SHOT: what the entry program does with a packet that nobody has judged."""


def _load(*, keep: bool, fill: bool = True) -> Callable[[], None]:
    def work() -> None:
        calls = make.map_(make.PROG_ARRAY, b"calls", entries=4)
        callee = make.program(make.SCHED_CLS, b"callee", verdict=-1)
        if fill:
            make.update(calls, bytes(4), callee.to_bytes(4, "little"))
        make.pin(make.program(make.SCHED_CLS, b"entry", verdict=DROP, first=make.tail_call(calls)), "entry")
        if keep:
            make.pin(calls, "calls")

    return work


def attach(host: Host) -> None:
    host.sh(
        "tc qdisc add dev eth0 clsact\n"
        "tc filter add dev eth0 ingress pref 1 bpf da object-pinned /sys/fs/bpf/entry\nrm /sys/fs/bpf/entry"
    )


def healthy(lab: Lab) -> Host:
    host = two_cables(lab)
    host.call(_load(keep=True))
    attach(host)
    return host


def mend(lab: Lab, host: Host) -> None:
    host.run("tc", "qdisc", "del", "dev", "eth0", "clsact")
    host.call(_load(keep=True))
    attach(host)


def not_attached(lab: Lab) -> Host:
    """Another program that is pinned only, with an empty map of its own."""
    host = healthy(lab)
    host.call(_load(keep=False))
    return host


CLEARED = Drill(
    rule="bpf-progarray-cleared",
    build=healthy,
    break_=lambda lab, host: host.run("rm", "/sys/fs/bpf/calls"),
    repair=mend,
    carries=arrives("far0", "192.0.2.1"),
    severity="critical",
    expect={"kind": "bpf-map", "name": "calls", "program": "entry", "ifname": "eth0"},
    twin=not_attached,
)
test_drill = drill_test(CLEARED)
