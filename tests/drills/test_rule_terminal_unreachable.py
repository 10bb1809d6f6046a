"""A policy rule that refuses marked packets in front of the lookup for them; and kill switches where they belong."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import connects
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """A table of its own for marked packets of both families."""
    host, peer = lab.host("edge1"), lab.host("edge2")
    near, far = ["192.0.2.1/24", "2001:db8::1/64"], ["192.0.2.2/24", "2001:db8::2/64"]
    lab.link(host, "eth0", peer, "eth0", a_addresses=near, b_addresses=far)
    host.ip("route add default via 192.0.2.2 table 100\nrule add pref 200 fwmark 1 lookup 100")
    host.sh("ip -6 route add default via 2001:db8::2 table 100; ip -6 rule add pref 200 fwmark 1 lookup 100")
    return host


def kill_switches(lab: Lab) -> Host:
    """Behind the lookup, for what is not the VPN's, and in front of main."""
    host = build(lab)
    host.ip("rule add pref 201 fwmark 1 unreachable\nrule add pref 300 not fwmark 51820 to 10.0.0.0/8 prohibit")
    host.ip("rule add pref 310 from 10.8.0.0/16 blackhole")
    return host


def by_name(lab: Lab) -> Host:
    """Marked packets take the main table, whatever the other rules say."""
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    host.ip("route add default via 192.0.2.2\nrule add pref 200 fwmark 1 lookup main")
    return host


RULE = "rule-terminal-unreachable"
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=build,
        break_=lambda lab, host: host.ip("rule add pref 100 fwmark 1 unreachable"),
        carries=connects("198.51.100.9", mark=1),
        repair=None,
        severity="critical",
        expect={"kind": "rule", "priority": 100, "family": "inet"},
    ),
    Drill(
        rule=RULE,
        name="IPv6",
        build=build,
        break_=lambda lab, host: host.sh("ip -6 rule add pref 100 fwmark 1 prohibit"),
        repair=lambda lab, host: host.sh("ip -6 rule del pref 100"),
        expect={"kind": "rule", "priority": 100, "family": "inet6"},
    ),
    Drill(
        rule=RULE,
        name="in front of a rule for main",
        build=by_name,
        break_=lambda lab, host: host.ip("rule add pref 100 fwmark 1 unreachable"),
        carries=connects("198.51.100.9", mark=1),
        repair=None,
        severity="critical",
        expect={"kind": "rule", "priority": 100, "family": "inet"},
    ),
)


def test_kill_switches_are_no_alarm(lab: Lab) -> None:
    report = kill_switches(lab).report("--interval", "0")
    assert report["verdict"] == "ok", report["findings"]
    assert all(finding["severity"] == "info" for finding in report["findings"])
