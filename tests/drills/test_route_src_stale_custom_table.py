"""An address is deleted, and the kernel leaves the routes that name it in every table but main."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import connects
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """Traffic to one prefix has a table and a source of its own."""
    host, gateway = lab.host("edge1"), lab.host("gw")
    lab.link(host, "eth0", gateway, "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    host.ip("route add default via 192.0.2.1\naddress add 198.51.100.7/32 dev lo")
    host.ip("route add 203.0.113.0/24 via 192.0.2.1 src 198.51.100.7 table 99")
    host.ip("route add 203.0.114.0/24 via 192.0.2.1 src 198.51.100.7")  # main: the kernel deletes it with the address
    return host


def build_used(lab: Lab) -> Host:
    host = build(lab)
    host.ip("rule add to 203.0.113.0/24 lookup 99")
    return host


def standby(lab: Lab) -> Host:
    """A standby of a pair keeps its routes for an address that the other one has."""
    host = build_used(lab)
    host.sysctl({"net.ipv4.ip_nonlocal_bind": 1})
    host.ip("address del 198.51.100.7/32 dev lo")
    return host


def give_up(lab: Lab, host: Host) -> None:
    host.ip("address del 198.51.100.7/32 dev lo")


RULE = "route-src-stale-custom-table"
EXPECT = {"kind": "route", "dst": "203.0.113.0/24", "table": 99, "ifname": "eth0"}
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=build_used,
        break_=give_up,
        repair=None,
        severity="critical",
        carries=connects("203.0.113.9"),
        expect=EXPECT,
        twin=standby,
    ),
    Drill(
        rule=RULE,
        name="no rule leads there",
        build=build,
        tolerate=("table-without-rule",),  # that is what this drill is about
        break_=give_up,
        repair=lambda lab, host: host.ip("address add 198.51.100.7/32 dev lo"),
        severity="warning",
        expect=EXPECT,
    ),
)
