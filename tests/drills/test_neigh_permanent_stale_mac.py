"""A permanent neighbour whose machine was replaced, on a cable and on a tap."""

from tests.drills.harness import Drill, drill_test
from tests.drills.tapworld import ask, worker
from tests.lab import Host, Lab

RIGHT, WRONG = "02:00:00:00:00:01", "02:00:00:00:00:99"


def build(lab: Lab) -> Host:
    """Two hosts on a cable; the address of the one is written down at the other."""
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    peer.ip(f"link set dev eth0 address {RIGHT}")
    host.ip(f"neigh replace 192.0.2.2 lladdr {RIGHT} dev eth0 nud permanent")
    return host


def bridged(lab: Lab) -> Host:
    """The far end is a port of a switch; behind it is whoever was written down."""
    host, other, switch = lab.host("a"), lab.host("b"), lab.switch()
    lab.plug(host, "eth0", switch, "192.0.2.1/24")
    lab.plug(other, "eth0", switch, "192.0.2.2/24")
    other.ip(f"link set dev eth0 address {RIGHT}")
    host.ip(f"neigh replace 192.0.2.2 lladdr {RIGHT} dev eth0 nud permanent")
    return host


def guest(lab: Lab) -> Host:
    host = worker(lab)
    ask(lab, host, "10.1.0.6", "tap1")
    return host


RULE = "neigh-permanent-stale-mac"
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=build,
        break_=lambda lab, host: lab.hosts["edge2"].ip(f"link set dev eth0 address {WRONG}"),
        repair=None,
        severity="critical",
        expect={"kind": "neighbour", "dst": "192.0.2.2", "ifname": "eth0"},
        twin=bridged,
    ),
    Drill(
        rule=RULE,
        name="a guest, IPv6",
        build=guest,
        break_=lambda lab, host: host.ip(
            f"route add 2001:db8:1::6/128 dev tap1\nneigh add 2001:db8:1::6 lladdr {WRONG} dev tap1 nud permanent"
        ),
        repair=None,
        expect={"dst": "2001:db8:1::6", "ifname": "tap1"},
    ),
)
