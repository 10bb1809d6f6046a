"""A kernel protocol whose export somebody forgot."""

from tests.drills.bgp import conf, reconfigured, session, world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def forgotten(lab: Lab, host: Host) -> None:
    text = conf("edge1", session("up1", "edge2"))
    reconfigured(host, text.replace("kernel { ipv4 { export all; }; }", "kernel { ipv4 { export none; }; }"))
    lab.wait(lambda: "proto bird" not in host.run("ip", "route").stdout, 10, "the kernel's table is empty")


def restored(lab: Lab, host: Host) -> None:
    reconfigured(host, conf("edge1", session("up1", "edge2")))


test_drill = drill_test(
    Drill(
        rule="bgp-kernel-export-none",
        build=world,
        break_=forgotten,
        repair=restored,
        severity="critical",
        expect={"kind": "bird-protocol", "name": "kernel1"},
    ),
)
