"""A foreign route with BIRD's metric was there first."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

CONF = """
router id 192.0.2.1;
protocol device {}
protocol kernel k4 { scan time 1; ipv4 { export all; }; }
protocol static { ipv4; route 198.51.100.0/24 via 192.0.2.2; route 203.0.113.0/24 via 192.0.2.2; }
"""


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses=["192.0.2.2/24", "192.0.2.3/24"])
    lab.birdd(host, CONF)
    lab.wait(lambda: host.run("ip", "route").stdout.count("proto bird") == 2, 10, "the routes")
    return host


def replaced(lab: Lab, host: Host) -> None:
    host.sh("ip route replace 198.51.100.0/24 via 192.0.2.3 metric 32 proto static")


test_drill = drill_test(
    Drill(
        rule="bgp-krt-file-exists",
        build=build,
        break_=replaced,
        repair=None,
        severity="warning",
        expect={"kind": "route", "dst": "198.51.100.0/24", "table": 254},
    ),
)
