"""A route into the tunnel for a network that no peer has; and an aggregate over the peers, which is healthy."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import leaves_by
from tests.drills.wireguardworld import mesh
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    return mesh(lab)[0]


def office(lab: Lab) -> Host:
    """A network behind the other host, beside the tunnel."""
    host = build(lab)
    host.ip("route add 10.8.0.0/16 via 192.0.2.2 metric 100")
    return host


def aggregate(lab: Lab) -> Host:
    host = build(lab)
    host.ip("route add 10.0.0.0/9 dev wg0")  # a nameserver of the machine in the rest of 10/8 is none of it
    return host


test_drill = drill_test(
    Drill(
        rule="wg-route-without-allowedips",
        build=office,
        break_=lambda lab, host: host.ip("route add 10.8.0.0/16 dev wg0"),
        repair=None,
        carries=leaves_by("eth0", "10.8.0.9"),
        severity="critical",
        expect={"kind": "route", "dst": "10.8.0.0/16", "ifname": "wg0"},
        twin=aggregate,
    ),
    Drill(
        rule="wg-route-without-allowedips",
        name="IPv6, in a table of its own",
        build=build,
        break_=lambda lab, host: host.sh("ip -6 rule add pref 90 table 9; ip -6 route add fd00:8::/64 dev wg0 table 9"),
        repair=lambda lab, host: host.sh("ip -6 rule del pref 90; ip -6 route flush table 9"),
        severity="critical",
        expect={"kind": "route", "dst": "fd00:8::/64", "table": 9},
    ),
)
