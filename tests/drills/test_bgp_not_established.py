"""BGP neighbours that are stopped, filtered, cut off or misnumbered, and sessions that are down on purpose."""

from tests.drills.bgp import conf, session, stands, world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def stop(lab: Lab, host: Host) -> None:
    lab.hosts["edge2"].sh("kill $(cat /run/bird/bird.pid)")


def start(lab: Lab, host: Host) -> None:
    lab.birdd(lab.hosts["edge2"], conf("edge2", session("down1", "edge1")))
    lab.wait(lambda: stands(host, "up1"), 20, "the session stands again")


def switched_off(lab: Lab) -> Host:
    """The only session is drained; one is passive, one waits for a range, and one never was on."""
    others = """
    protocol bgp waits from near { passive; neighbor 192.0.2.9 as 65009; }
    protocol bgp anyone from near { neighbor range 192.0.2.128/25 as 65010; }
    protocol bgp never from near { disabled; neighbor 192.0.2.10 as 65010; }
    """
    host = world(lab, more=others)
    host.run("birdc", "disable", "up1")
    return host


def filtered(lab: Lab, host: Host) -> None:
    lab.nft(
        lab.hosts["edge2"],
        "table inet t { chain i { type filter hook input priority 0; tcp dport 179 drop; tcp sport 179 drop; }; }",
    )


def opened(lab: Lab, host: Host) -> None:
    lab.hosts["edge2"].run("nft", "flush", "ruleset")
    lab.wait(lambda: stands(host, "up1"), 20, "the session stands again")


def cut(lab: Lab, host: Host) -> None:
    host.ip("link set dev eth0 down")


def repaired(lab: Lab, host: Host) -> None:
    host.ip("link set dev eth0 up")
    lab.wait(lambda: stands(host, "up1"), 20, "the session stands again")


ABOUT = {"kind": "bgp-session", "name": "up1"}
STOPPED = Drill(
    rule="bgp-not-established",
    name="stopped",
    build=world,
    break_=stop,
    repair=start,
    severity="critical",
    expect=ABOUT,
    twin=switched_off,
)
ONE_OF_TWO = Drill(
    rule="bgp-not-established",
    name="one of two stopped",
    build=lambda lab: world(lab, 2),
    break_=stop,
    repair=start,
    severity="warning",
    expect=ABOUT,
)
FILTERED = Drill(
    rule="bgp-hold-timer-expired",
    name="filtered",
    explains=("bgp-not-established",),
    build=world,
    break_=filtered,
    repair=opened,
    severity="critical",
    expect=ABOUT,
)
CUT = Drill(
    rule="bgp-not-established",
    name="interface down",
    build=world,
    break_=cut,
    repair=repaired,
    severity="critical",
    expect=ABOUT,
)
test_drill = drill_test(STOPPED, ONE_OF_TWO, FILTERED, CUT)
