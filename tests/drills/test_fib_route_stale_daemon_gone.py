"""BIRD killed, its control socket removed; and a BIRD whose control socket is elsewhere."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

CONF = """
router id 192.0.2.1;
protocol device {}
protocol kernel { ipv4 { export all; }; }
protocol static { ipv4; route 198.51.100.0/24 via 192.0.2.2; }
"""


def routed(host: Host) -> bool:
    return "proto bird" in host.run("ip", "route").stdout


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    start(lab, host)
    return host


def start(lab: Lab, host: Host) -> None:
    lab.birdd(host, CONF)
    lab.wait(lambda: routed(host), 10, "the route")


def killed(lab: Lab, host: Host) -> None:
    host.sh("kill -9 $(cat /run/bird/bird.pid); rm /run/bird/bird.ctl")


def elsewhere(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    host.write("/etc/other.conf", CONF)
    host.spawn("bird", "-f", "-c", "/etc/other.conf", "-s", "/run/other.ctl")
    lab.wait(lambda: routed(host), 10, "the route")
    return host


test_drill = drill_test(
    Drill(
        rule="fib-route-stale-daemon-gone",
        build=build,
        break_=killed,
        repair=start,
        severity="warning",
        expect={"kind": "bird-protocol", "name": "bird", "family": "inet"},
        twin=elsewhere,
    ),
)


def test_left_on_purpose(lab: Lab) -> None:
    """BIRD stops in order and leaves its routes (persist): for the minutes of a restart no alarm."""
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    daemon = lab.birdd(host, CONF.replace("protocol kernel {", "protocol kernel { persist;"))
    lab.wait(lambda: routed(host), 10, "the route")
    host.run("birdc", "down")
    daemon.process.wait(10)
    assert routed(host)
    found = [row for row in host.check("--interval", "0")["findings"] if row["rule"] == "fib-route-stale-daemon-gone"]
    assert [row["severity"] for row in found] == ["info"]
    assert "stopped in order" in found[0]["message"]
