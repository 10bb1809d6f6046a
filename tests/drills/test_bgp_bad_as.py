"""AS numbers that the two sides of a session do not agree about."""

from tests.drills.bgp import conf, reconfigured, session, stands, world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

EDGE1, EDGE2 = conf("edge1", session("up1", "edge2")), conf("edge2", session("down1", "edge1"))


def wrong_here(lab: Lab, host: Host) -> None:
    """We expect another number than the neighbour has."""
    reconfigured(host, EDGE1.replace("as 65002", "as 65099"))


def right_here(lab: Lab, host: Host) -> None:
    reconfigured(host, EDGE1)
    lab.wait(lambda: stands(host, "up1"), 20, "the session stands again")


def wrong_there(lab: Lab, host: Host) -> None:
    """The neighbour expects another number than ours."""
    reconfigured(lab.hosts["edge2"], EDGE2.replace("as 65001", "as 65099"))
    host.run("birdc", "restart", "up1")


def right_there(lab: Lab, host: Host) -> None:
    reconfigured(lab.hosts["edge2"], EDGE2)
    lab.wait(lambda: stands(host, "up1"), 20, "the session stands again")


def switched_off(lab: Lab) -> Host:
    """A wrong number on a session that is off harms nobody."""
    host = world(lab, more="protocol bgp old from near { disabled; neighbor 192.0.2.2 port 1179 as 65099; }")
    host.run("birdc", "disable", "old")
    return host


ABOUT = {"kind": "bgp-session", "name": "up1"}
HERE = Drill(
    rule="bgp-bad-as",
    name="wrong here",
    build=world,
    break_=wrong_here,
    repair=right_here,
    severity="critical",
    expect=ABOUT,
    twin=switched_off,
)
THERE = Drill(
    rule="bgp-bad-as",
    name="wrong there",
    build=lambda lab: world(lab, 2),
    break_=wrong_there,
    repair=right_there,
    severity="warning",
    expect=ABOUT,
)
test_drill = drill_test(HERE, THERE)
