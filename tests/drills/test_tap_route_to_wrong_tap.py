"""The routes of two guests are swapped."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import leaves_by
from tests.drills.tapworld import GUESTS, ask, worker
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host = worker(lab)
    for ifname, (address, _) in GUESTS.items():
        ask(lab, host, address, ifname)
    return host


def swap(lab: Lab, host: Host) -> None:
    host.ip("route replace 10.1.0.5/32 dev tap1\nroute replace 10.1.0.6/32 dev tap0")


def one(lab: Lab, host: Host) -> None:
    host.ip("route replace 10.1.0.4/31 dev tap1\nroute del 10.1.0.5/32 dev tap0\nroute add 10.1.0.9/32 dev tap0")


def outside(lab: Lab, host: Host) -> None:
    """What comes in from the uplink has a table of its own, and is sent to the neighbour's."""
    host.ip("route add 10.1.0.5/32 dev tap1 table 77\nrule add pref 100 iif eth0 lookup 77")


RULE = "tap-route-to-wrong-tap"
test_drill = drill_test(
    Drill(
        rule=RULE,
        name="swapped",
        build=build,
        break_=swap,
        repair=lambda lab, host: host.ip("route replace 10.1.0.5/32 dev tap0\nroute replace 10.1.0.6/32 dev tap1"),
        severity="critical",
        tolerate=(RULE,),  # a swap is two of them
        carries=leaves_by("tap0", "10.1.0.5"),
    ),
    Drill(rule=RULE, name="a wider route", build=build, break_=one, repair=None, expect={"dst": "10.1.0.5/32"}),
    Drill(rule=RULE, name="from outside", build=build, break_=outside, repair=None, expect={"dst": "10.1.0.5/32"}),
)
