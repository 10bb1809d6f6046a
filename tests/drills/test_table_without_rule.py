"""Source routing whose rules somebody flushed, of both families and of one."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """Two uplinks; what has the second one's address leaves by it."""
    host, gateway = lab.host("edge1"), lab.host("gw")
    for number in (0, 1):
        near, far = ([f"10.{number}.0.{last}/24", f"2001:db8:{number}::{last}/64"] for last in (1, 2))
        lab.link(host, f"eth{number}", gateway, f"eth{number}", a_addresses=near, b_addresses=far)
    host.ip("route add default via 10.0.0.2\nroute add default via 10.1.0.2 table 100")
    host.ip("route add default via 2001:db8:1::2 table 100\nrule add pref 100 from 10.1.0.1 lookup 100")
    host.sh("ip -6 rule add pref 100 from 2001:db8:1::1 lookup 100")
    return host


RULE = "table-without-rule"
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=build,
        break_=lambda lab, host: host.ip("rule del pref 100"),
        repair=None,
        expect={"kind": "route", "dst": "0.0.0.0/0", "table": 100},
    ),
    Drill(
        rule=RULE,
        name="IPv6 only",
        build=build,
        break_=lambda lab, host: host.sh("ip -6 rule del pref 100"),
        repair=None,
        expect={"dst": "::/0", "table": 100},
    ),
)
