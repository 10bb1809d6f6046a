"""A veth cable whose two ends disagree about the MTU."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    return host


DRILL = Drill(
    rule="link-mtu-peer-mismatch",
    build=build,
    break_=lambda lab, host: lab.hosts["edge2"].ip("link set dev eth0 mtu 9000"),
    repair=lambda lab, host: lab.hosts["edge2"].ip("link set dev eth0 mtu 1500"),
    expect={"kind": "link", "ifname": "eth0"},
)
test_drill = drill_test(DRILL)
