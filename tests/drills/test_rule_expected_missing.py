"""A policy rule of the intent that somebody flushed, and one that was here when the baseline was taken."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import leaves_by
from tests.lab import Host, Lab

INTENT = '[[rule]]\npriority = 100\nfwmark = "0x1"\ntable = 100\n'
RULE = "rule add priority 100 fwmark 0x1 table 100"


def plain(lab: Lab) -> Host:
    """Two ways out; marked packets take the second."""
    host, first, second = lab.host("edge1"), lab.host("one"), lab.host("two")
    lab.link(host, "eth0", first, "eth0", a_addresses="192.0.2.2/30", b_addresses="192.0.2.1/30")
    lab.link(host, "eth1", second, "eth0", a_addresses="198.51.100.2/30", b_addresses="198.51.100.1/30")
    host.ip(f"route add default via 192.0.2.1\nroute add default via 198.51.100.1 table 100\n{RULE}")
    return host


def intended(lab: Lab) -> Host:
    """Without the rule marked packets have no way out at all."""
    host = plain(lab)
    host.ip("route del default via 192.0.2.1")
    host.run("mkdir", "-p", "/etc/netdiag")
    host.write("/etc/netdiag/intent.toml", INTENT)
    return host


def compared(lab: Lab) -> Host:
    host = plain(lab)
    assert host.netdiag("collect", "--interval", "0", "-o", "/run/before.netdiag")[0] == 0
    return host


def moved(lab: Lab) -> Host:
    """Another priority since the baseline."""
    host = compared(lab)
    host.ip(f"rule del priority 100\n{RULE.replace('100', '99', 1)}")
    return host


EXPECT = {"kind": "rule", "priority": 100, "family": "inet"}
BY_INTENT = Drill(
    rule="rule-expected-missing",
    name="intent",
    build=intended,
    break_=lambda lab, host: host.ip("rule del priority 100"),
    repair=None,
    severity="critical",
    expect=EXPECT,
    carries=leaves_by("eth1", "203.0.113.9", mark=1),
)
BY_BASELINE = Drill(
    rule="rule-expected-missing",
    name="baseline",
    build=compared,
    break_=lambda lab, host: host.ip("rule del priority 100"),
    repair=None,
    expect=EXPECT,
    check_args=("--interval", "0", "--baseline", "/run/before.netdiag"),
    carries=leaves_by("eth1", "203.0.113.9", mark=1),
    twin=moved,
)
test_drill = drill_test(BY_INTENT, BY_BASELINE)
