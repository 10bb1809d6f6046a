"""Rules that lead to an emptied table; and empty tables that nobody misses."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """Two uplinks, the second with a table and a mark of its own."""
    host, gateway = lab.host("edge1"), lab.host("gw")
    for number in (0, 1):
        near, far = ([f"10.{number}.0.{last}/24", f"2001:db8:{number}::{last}/64"] for last in (1, 2))
        lab.link(host, f"eth{number}", gateway, f"eth{number}", a_addresses=near, b_addresses=far)
    host.ip("route add default via 10.0.0.2\nroute add default via 2001:db8:0::2")
    host.ip("route add default via 10.1.0.2 table 101\nrule add fwmark 1 lookup 101")
    return host


def placeholders(lab: Lab) -> Host:
    """A kill switch, a standby table, strongSwan's pair, a VPN's rule whose device is gone, a source that is elsewhere,
    and IPv6 rules where there is no IPv6."""
    host = build(lab)
    host.ip("rule add pref 300 fwmark 7 lookup 700\nrule add pref 301 fwmark 7 unreachable")
    host.ip("rule add pref 310 fwmark 1 lookup 710\nrule add pref 311 fwmark 1 lookup 101")
    host.sh("ip rule add pref 220 lookup 220; ip -6 rule add pref 220 lookup 220")
    host.ip("rule add pref 320 iif tun0 lookup 720\nrule add pref 330 from 198.51.100.7 lookup 730")
    host.ip("rule add pref 340 lookup 740 suppress_prefixlength 0")
    return host


def without_ipv6(lab: Lab) -> Host:
    host, gateway = lab.host("edge1"), lab.host("gw")
    lab.link(host, "eth0", gateway, "eth0", a_addresses="10.0.0.1/24", b_addresses="10.0.0.2/24")
    host.ip("route add default via 10.0.0.2\nroute add default via 10.0.0.2 table 101")
    host.sh("ip rule add fwmark 1 lookup 101; ip -6 rule add fwmark 1 lookup 101")
    return host


def bounce(lab: Lab, host: Host) -> None:
    """Down and up again: the addresses are kept, the routes of the table are not."""
    host.ip("link set dev eth1 down\nlink set dev eth1 up")


RULE = "rule-references-empty-table"
test_drill = drill_test(
    Drill(
        rule=RULE,
        name="uplink bounced",
        build=build,
        break_=bounce,
        repair=lambda lab, host: host.ip("route add default via 10.1.0.2 table 101"),
        severity="warning",
        expect={"kind": "rule", "priority": 32765, "family": "inet"},
        twin=placeholders,
    ),
    Drill(
        rule=RULE,
        name="rule without a table",
        build=build,
        break_=lambda lab, host: host.ip("rule add lookup 777"),
        repair=None,
        expect={"priority": 32764, "family": "inet"},
        twin=without_ipv6,
    ),
    Drill(
        rule=RULE,
        name="IPv6",
        build=build,
        break_=lambda lab, host: host.sh("ip -6 rule add pref 500 fwmark 1 lookup 101"),
        repair=None,
        expect={"priority": 500, "family": "inet6"},
    ),
)
