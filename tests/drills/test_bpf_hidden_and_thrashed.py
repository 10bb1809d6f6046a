"""A bpffs mounted upon another one, an LRU map that is too small, and an MTU that an XDP program does not allow."""

from tests.drills import bpfworld
from tests.drills.harness import Drill, confirm, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make

SIZE = 64
KEYS = {"": range(40)}
"""What the flows' keys are at the moment: forty that come again and again, or ever new ones."""


def with_flows(lab: Lab) -> Host:
    host = bpfworld.two_cables(lab)

    def work() -> None:
        one = make.map_(make.LRU_HASH, b"flows", entries=SIZE)
        make.pin(make.program(make.SCHED_CLS, b"nat", verdict=-1, maps=[one]), "nat")
        make.pin(one, "flows")

    host.call(work)
    bpfworld.tc(host, "eth0", "nat", 1)
    KEYS[""] = range(SIZE)
    flow(lab, host)
    return host


def flow(lab: Lab, host: Host) -> None:
    def work() -> None:
        one = make.pinned("/sys/fs/bpf/flows")
        for key in KEYS[""]:
            make.update(one, key.to_bytes(4, "little"), bytes(4))

    host.call(work)


def scanned(lab: Lab, host: Host) -> None:
    KEYS[""] = range(10_000, 14_000)
    flow(lab, host)


def scanning(lab: Lab, host: Host) -> None:
    """The flows of the moment, others than those of the look before where it is a scan."""
    flow(lab, host)
    if KEYS[""].start >= 10_000:
        KEYS[""] = range(KEYS[""].start + 4000, KEYS[""].stop + 4000)


def calm(lab: Lab, host: Host) -> None:
    KEYS[""] = range(SIZE)


def pinned(lab: Lab) -> Host:
    host = bpfworld.two_cables(lab)
    host.call(lambda: make.pin(make.map_(make.HASH, b"flows"), "flows"))
    return host


test_drill = drill_test(
    Drill(
        rule="bpf-lru-thrash",
        build=with_flows,
        break_=scanned,
        during=scanning,
        repair=calm,
        severity="warning",
        expect={"kind": "bpf-map", "name": "flows", "program": "nat"},
    ),
    Drill(
        rule="bpf-orphan-by-mount",
        build=pinned,
        break_=lambda lab, host: host.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf"),
        repair=None,
        severity="warning",
        expect={"kind": "host", "path": "/sys/fs/bpf"},
    ),
)


def test_mtu_under_xdp(lab: Lab) -> None:
    """It is the end opposite to the program that takes no larger MTU."""
    host = bpfworld.two_cables(lab)
    far = lab.hosts["far0"]
    asked = ("--interval", "0", "--rule", "bpf-xdp-blocks-mtu-change")
    assert not host.report(*asked)["findings"]
    bpfworld.program(far, "pass", b"pass", make.XDP, verdict=2)
    far.run("ip", "link", "set", "dev", "eth0", "xdpdrv", "pinned", "/sys/fs/bpf/pass")
    assert host.run("ip", "link", "set", "dev", "eth0", "mtu", "9000", check=False).returncode != 0
    (found,) = host.report(*asked)["findings"]
    assert (found["subject"]["ifname"], found["severity"]) == ("eth0", "info")
    confirm(host, found["confirm"][0])
