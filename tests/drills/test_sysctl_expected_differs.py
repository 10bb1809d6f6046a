"""Forwarding that something switched off behind the intent's back, and since a baseline."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def plain(lab: Lab) -> Host:
    """A router between two cables."""
    host = lab.host("edge1", sysctls={"net.ipv4.ip_forward": "1"})
    for number in range(2):
        far = lab.host(f"far{number}")
        addresses = f"192.0.2.{4 * number + 1}/30", f"192.0.2.{4 * number + 2}/30"
        lab.link(host, f"eth{number}", far, "eth0", a_addresses=addresses[0], b_addresses=addresses[1])
    return host


def intended(lab: Lab) -> Host:
    host = plain(lab)
    host.run("mkdir", "-p", "/etc/netdiag")
    host.write("/etc/netdiag/intent.toml", '[sysctl]\n"net.ipv4.ip_forward" = 1\n"net.ipv4.tcp_syn_retries" = 6\n')
    return host


def compared(lab: Lab) -> Host:
    host = plain(lab)
    assert host.netdiag("collect", "--interval", "0", "-o", "/run/before.netdiag")[0] == 0
    return host


EXPECT = {"kind": "sysctl", "name": "net.ipv4.ip_forward"}
BY_INTENT = Drill(
    rule="sysctl-expected-differs",
    name="intent",
    build=intended,
    break_=lambda lab, host: host.sysctl({"net.ipv4.ip_forward": 0}),
    repair=None,
    expect=EXPECT,
)
OTHER = Drill(
    rule="sysctl-expected-differs",
    name="a setting that only the intent knows",
    build=intended,
    break_=lambda lab, host: host.sysctl({"net.ipv4.tcp_syn_retries": 2}),
    repair=None,
    severity="warning",
    expect={"kind": "sysctl", "name": "net.ipv4.tcp_syn_retries"},
)
BY_BASELINE = Drill(
    rule="sysctl-expected-differs",
    name="baseline",
    build=compared,
    break_=lambda lab, host: host.sysctl({"net.ipv4.ip_forward": 0}),
    repair=None,
    expect=EXPECT,
    check_args=("--interval", "0", "--baseline", "/run/before.netdiag"),
)
test_drill = drill_test(BY_INTENT, OTHER, BY_BASELINE)
