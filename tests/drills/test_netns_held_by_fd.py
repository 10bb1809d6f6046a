"""A namespace is deleted while some process has it open."""

import os

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab.taps import name_process


def build(lab: Lab) -> Host:
    host = lab.host("node1")
    host.sh("ip netns add job; ip -n job link add v0 type veth peer name v1")
    return host


def held(lab: Lab, host: Host, comm: str = "exporter") -> None:
    def keep() -> None:
        name_process(comm)
        kept = os.open("/run/netns/job", os.O_RDONLY)
        os.read(os.pipe()[0], kept)

    host.fork(keep)
    lab.wait(lambda: host.run("pgrep", "-x", comm, check=False).stdout, 5, "it has the namespace open")
    lab.wait(lambda: "netns/job" in host.sh(f"ls -l /proc/$(pgrep -x {comm})/fd").stdout, 5, "the descriptor")
    host.run("ip", "netns", "del", "job")


def agent(lab: Lab) -> Host:
    """A container engine does so for a living."""
    host = build(lab)
    held(lab, host, "containerd")
    return host


test_drill = drill_test(
    Drill(rule="netns-held-by-fd", build=build, break_=held, repair=None, severity="warning", twin=agent)
)
