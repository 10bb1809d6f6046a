"""A hash map filled to its last entry; and an LRU map that is full by design."""

from collections.abc import Iterable

from tests.drills import bpfworld
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make


def fill(host: Host, keys: Iterable[int]) -> None:
    def work() -> None:
        one = make.pinned("/sys/fs/bpf/flows")
        for key in keys:
            make.update(one, key.to_bytes(4, "little"), bytes(4))

    host.call(work)


def takes_one_more(lab: Lab, host: Host) -> bool:
    """What the program does with the first packet of a flow: a new entry."""

    def work() -> bool:
        one = make.pinned("/sys/fs/bpf/flows")
        try:
            make.update(one, (1 << 20).to_bytes(4, "little"), bytes(4))
        except OSError:
            return False
        return True

    taken = host.call(work)
    if taken:
        host.run("bpftool", "map", "delete", "pinned", "/sys/fs/bpf/flows", "key", *["0", "0", "16", "0"])
    return taken


def with_map(lab: Lab, kind: int) -> Host:
    host = bpfworld.two_cables(lab)

    def work() -> None:
        one = make.map_(kind, b"flows", entries=16)
        make.pin(make.program(make.SCHED_CLS, b"nat", verdict=-1, maps=[one]), "nat")
        make.pin(one, "flows")

    host.call(work)
    bpfworld.tc(host, "eth0", "nat", 1)
    fill(host, range(12))
    return host


def by_design(lab: Lab) -> Host:
    host = with_map(lab, make.LRU_HASH)
    fill(host, range(64))
    return host


def empty(lab: Lab, host: Host) -> None:
    for key in range(4):
        host.run("bpftool", "map", "delete", "pinned", "/sys/fs/bpf/flows", "key", str(key), "0", "0", "0")


test_drill = drill_test(
    Drill(
        rule="bpf-map-full",
        build=lambda lab: with_map(lab, make.HASH),
        break_=lambda lab, host: fill(host, range(16)),
        repair=empty,
        carries=takes_one_more,
        severity="critical",
        expect={"kind": "bpf-map", "name": "flows", "program": "nat"},
        twin=by_design,
    )
)
