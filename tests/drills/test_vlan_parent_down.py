"""A macvlan that stays up over an interface that is down; VLANs are drilled in the guest (in_guest_bonds.py)."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", b_addresses="192.0.2.2/24")
    host.ip(
        "link add link eth0 name mv0 type macvlan mode bridge\naddress add 192.0.2.1/24 dev mv0\nlink set dev mv0 up"
    )
    return host


DRILL = Drill(
    rule="vlan-parent-down",
    build=build,
    break_=lambda lab, host: host.ip("link set dev eth0 down"),
    repair=None,
    severity="critical",
    expect={"kind": "link", "ifname": "mv0"},
    carries=lambda lab, host: host.run("ping", "-c1", "-W0.3", "192.0.2.2", check=False).returncode == 0,
)
test_drill = drill_test(DRILL)
