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


def gone(lab: Lab, host: Host) -> None:
    """The neighbour reboots: its daemon ends, and then the host does not answer. (Half a minute later this host would
    forget by itself that it ever did.)"""
    killed(lab, host)
    lab.wait(lambda: not stands(host, "up1"), 5, "the session is down")
    lab.hosts["edge2"].ip("link set dev eth0 down")
    host.ip("neigh flush to 192.0.2.2")


def unanswered(lab: Lab, host: Host) -> bool:
    """Somebody sends to the neighbour's prefix, and its address is asked for in vain."""
    lab.send_udp(host, "203.0.113.2", 9)
    return "FAILED" in host.run("ip", "neigh", "show", "to", "192.0.2.2").stdout and learnt(host)


def back(lab: Lab, host: Host) -> None:
    lab.hosts["edge2"].ip("link set dev eth0 up")
    restarted(A_WHILE)(lab, host)


test_drill = drill_test(
    drill("it may come back", "info", A_WHILE),
    drill("too late", "warning", FOR_LONG),
    Drill(
        name="the host is gone",
        rule="bgp-gr-stale",
        build=build(A_WHILE),
        break_=gone,
        settle=unanswered,
        repair=back,
        severity="critical",
        expect={"kind": "bgp-session", "name": "up1"},
    ),
)
