"""A queue without room."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    return host


def shaped(lab: Lab) -> Host:
    """No queue of its own at all, and txqueuelen 0: right for veth."""
    host = build(lab)
    host.ip("link set dev eth0 txqueuelen 0")
    return host


def drill(name: str, script: str) -> Drill:
    return Drill(
        name=name,
        rule="txqueuelen-zero-or-noqueue-nic",
        build=build,
        break_=lambda lab, host: host.sh(script),
        repair=None,
        expect={"kind": "link", "ifname": "eth0"},
        twin=shaped,
    )


test_drill = drill_test(
    drill("pfifo_fast", "tc qdisc add dev eth0 root pfifo_fast; ip link set dev eth0 txqueuelen 0"),
    drill("pfifo", "tc qdisc add dev eth0 root pfifo limit 0"),
)
