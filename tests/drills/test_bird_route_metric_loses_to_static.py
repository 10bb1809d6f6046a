"""A route typed by hand over one of BIRD's."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import goes
from tests.lab import Host, Lab

CONF = """
router id 192.0.2.1;
protocol device {}
protocol kernel { scan time 600; ipv4 { export all; }; }
protocol static { ipv4; route 198.51.100.0/24 via 192.0.2.2; }
"""


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses=["192.0.2.2/24", "192.0.2.3/24"])
    lab.birdd(host, CONF)
    lab.wait(lambda: "proto bird" in host.run("ip", "route").stdout, 10, "the route")
    return host


def twin(lab: Lab) -> Host:
    host = build(lab)
    host.ip("route add 198.51.100.0/24 via 192.0.2.3 metric 100")
    host.ip("route add 192.0.2.0/24 dev eth0 proto bird metric 32")
    return host


def owned(lab: Lab) -> Host:
    """BIRD's gateway brings there what is sent."""
    host = build(lab)
    lab.hosts["edge2"].ip("address add 198.51.100.1/32 dev lo")
    return host


def overruled(lab: Lab, host: Host) -> None:
    host.ip("route add 198.51.100.0/24 via 192.0.2.9")
    assert not goes(host, "198.51.100.1")  # asked once: each further packet would have it looked for anew
    lab.wait(lambda: "FAILED" in host.run("ip", "neigh").stdout, 8, "it is given up")


test_drill = drill_test(
    Drill(
        rule="bird-route-metric-loses-to-static",
        build=build,
        break_=lambda lab, host: host.ip("route add 198.51.100.0/24 via 192.0.2.3"),
        repair=None,
        severity="warning",
        expect={"kind": "route", "dst": "198.51.100.0/24", "table": 254},
        twin=twin,
    ),
    Drill(
        name="to a gateway that is gone",
        rule="neigh-gateway-failed",
        build=owned,
        break_=overruled,
        repair=lambda lab, host: host.ip("route del 198.51.100.0/24 via 192.0.2.9"),
        explains=("bird-route-metric-loses-to-static",),
        carries=lambda lab, host: goes(host, "198.51.100.1"),
        severity="critical",
        expect={"kind": "neighbour", "dst": "192.0.2.9"},
    ),
)
