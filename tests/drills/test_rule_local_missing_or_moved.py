"""The rule for table local deleted, or moved behind main, and moved as Cilium does it; the table's routes deleted."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    near, far = ["192.0.2.1/24", "2001:db8::1/64"], ["192.0.2.2/24", "2001:db8::2/64"]
    lab.link(host, "eth0", peer, "eth0", a_addresses=near, b_addresses=far)
    return host


def moved(lab: Lab) -> Host:
    host = build(lab)
    host.sh("ip rule add pref 100 lookup local; ip rule del pref 0")
    host.sh("ip -6 rule add pref 100 lookup local; ip -6 rule del pref 0")
    host.sh("ip rule add pref 9 fwmark 0x200/0xf00 lookup 2004; ip route add local default dev lo table 2004")
    return host


RULE = "rule-local-missing-or-moved"
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=build,
        break_=lambda lab, host: host.ip("rule del pref 0"),
        repair=None,
        severity="critical",
        expect={"kind": "rule", "priority": 0, "family": "inet"},
        twin=moved,
    ),
    Drill(
        rule=RULE,
        name="IPv6 behind main",
        build=build,
        break_=lambda lab, host: host.sh("ip -6 rule del pref 0; ip -6 rule add pref 32770 lookup local"),
        repair=None,
        expect={"priority": 0, "family": "inet6"},
    ),
    Drill(
        rule=RULE,
        name="routes of table local",
        build=build,
        break_=lambda lab, host: host.ip("route flush table local dev eth0"),
        repair=None,
        severity="critical",
        expect={"kind": "route", "dst": "192.0.2.1/32", "table": 255},
    ),
)
