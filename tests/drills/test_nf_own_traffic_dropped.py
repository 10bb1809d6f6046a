"""A second table drops BGP both ways, before a session begins and while it stands; and one that lets one side begin."""

from tests.drills import bgp
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

BOTH = "tcp dport 179 drop; tcp sport 179 drop;"
HALF = "tcp dport 179 ct state new drop;"


def table(rules: str) -> str:
    return f"table inet agent {{ chain in {{ type filter hook input priority 10; policy accept; {rules} }}; }}"


def half(lab: Lab) -> Host:
    host = bgp.world(lab)
    lab.nft(host, table(HALF))
    return host


def begun_anew(lab: Lab, host: Host) -> None:
    """The daemon is restarted under the new table: the session has never stood since."""
    lab.nft(host, table(BOTH))
    host.run("birdc", "restart", "up1")


def gone(lab: Lab, host: Host) -> object:
    return host.run("nft", "delete", "table", "inet", "agent")


test_drill = drill_test(
    Drill(
        rule="nf-own-traffic-dropped",
        build=bgp.world,
        break_=begun_anew,
        repair=gone,
        settle=lambda lab, host: bgp.established(host, 0),
        severity="critical",
        expect={"kind": "nft-chain", "table": "agent"},
        explains=("bgp-not-established",),
        carries=lambda lab, host: bgp.established(host, 1),
        twin=half,
    ),
    Drill(
        rule="bgp-hold-timer-expired",
        name="dropped here",
        build=bgp.world,
        break_=lambda lab, host: lab.nft(host, table(BOTH)),
        repair=gone,
        settle=lambda lab, host: bgp.established(host, 0),
        severity="critical",
        expect={"kind": "bgp-session", "name": "up1"},
        explains=("bgp-not-established", "nf-own-traffic-dropped"),
        twin=half,
    ),
)
