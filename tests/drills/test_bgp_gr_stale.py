"""A neighbour whose daemon dies and that had promised to restart: its routes stay as long as it said, or longer."""

from collections.abc import Callable

from tests.drills.bgp import conf, reconfigured, session, stands, world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

A_WHILE = "graceful restart on; graceful restart time 600;"
FOR_LONG = "graceful restart on; graceful restart time 1; long lived graceful restart on; long lived stale time 600;"
KNOWS = "long lived graceful restart aware;"


def restarted(options: str) -> Callable[[Lab, Host], None]:
    """The neighbour's daemon comes up, with those promises."""

    def start(lab: Lab, host: Host) -> None:
        lab.birdd(lab.hosts["edge2"], conf("edge2", session("down1", "edge1", options)))
        lab.wait(lambda: stands(host, "up1") and learnt(host), 20, "the session stands again")

    return start


def build(options: str) -> Callable[[Lab], Host]:
    """edge2 restarts gracefully."""

    def made(lab: Lab) -> Host:
        host = world(lab)
        killed(lab, host)
        reconfigured(host, conf("edge1", session("up1", "edge2", KNOWS)))
        restarted(options)(lab, host)
        return host

    return made


def learnt(host: Host) -> bool:
    """Its prefix is routed."""
    return "203.0.113.2" in host.run("ip", "route", "show", "proto", "bird").stdout


def killed(lab: Lab, host: Host) -> None:
    lab.hosts["edge2"].sh("kill -9 $(cat /run/bird/bird.pid)")


def drill(name: str, severity: str, options: str) -> Drill:
    return Drill(
        name=name,
        rule="bgp-gr-stale",
        build=build(options),
        break_=killed,
        settle=lambda lab, host: not stands(host, "up1") and learnt(host),
        repair=restarted(options),
        severity=severity,
        expect={"kind": "bgp-session", "name": "up1"},
    )


test_drill = drill_test(drill("it may come back", "info", A_WHILE), drill("too late", "warning", FOR_LONG))
