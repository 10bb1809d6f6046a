"""A cgroup's own program that takes the place of the machine's; and two that run one after the other."""

import os

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make

ROOT, APP = "/sys/fs/cgroup", "/sys/fs/cgroup/app"
EGRESS = 1


def attach(host: Host, folder: str, name: str, flags: int) -> None:
    """Programs of two names return 1 (let it pass) after other instructions, so that their tags differ."""

    def work() -> None:
        used = [make.map_(make.ARRAY, name.encode(), entries=1)] * (1 + (name == "agent"))
        one = make.program(make.CGROUP_SKB, name.encode(), verdict=1, maps=used)
        make.attach(one, os.open(folder, os.O_RDONLY), EGRESS, flags)
        make.pin(one, name)

    host.call(work)


def build(lab: Lab, flags: int = make.ALLOW_OVERRIDE, name: str = "edge1") -> Host:
    host = lab.host(name, own_cgroup=True)
    host.run("mkdir", APP)
    attach(host, ROOT, "policy", flags)
    return host


def both(lab: Lab) -> Host:
    host = build(lab, make.ALLOW_MULTI, "edge2")
    attach(host, APP, "agent", make.ALLOW_MULTI)
    return host


test_drill = drill_test(
    Drill(
        rule="bpf-cgroup-override-shadow",
        build=build,
        break_=lambda lab, host: attach(host, APP, "agent", make.ALLOW_OVERRIDE),
        repair=lambda lab, host: host.sh(f"bpftool cgroup detach {APP} egress pinned /sys/fs/bpf/agent"),
        severity="warning",
        expect={"kind": "bpf-attachment", "cgroup": APP, "name": "policy"},
        twin=both,
    )
)
