"""A program of the intent that is taken off its interface; clsact and tcx meet it alike; XDP gone since a baseline."""

import socket

from tests.drills.bpfworld import program, tc, two_cables
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make

INTENT = '[[bpf]]\nhook = "tc-ingress"\nifname = "eth*"\nname = "policy"\n'


def intended(lab: Lab) -> Host:
    host = two_cables(lab)
    program(host, "p", b"policy", verdict=-1)
    for ifname in ("eth0", "eth1"):
        tc(host, ifname, "p", 1)
    host.run("mkdir", "-p", "/etc/netdiag")
    host.write("/etc/netdiag/intent.toml", INTENT)
    return host


def by_tcx(lab: Lab) -> Host:
    """One interface by clsact, one by tcx."""
    host = intended(lab)
    host.sh("tc qdisc del dev eth1 clsact")
    host.call(lambda: make.pin(make.link(make.pinned("/sys/fs/bpf/p"), socket.if_nametoindex("eth1"), 46), "l"))
    return host


def compared(lab: Lab) -> Host:
    host = two_cables(lab)
    program(host, "x", b"policy", make.XDP, 2)
    host.run("ip", "link", "set", "eth0", "xdp", "pinned", "/sys/fs/bpf/x")
    assert host.netdiag("collect", "--interval", "0", "-o", "/run/before.netdiag")[0] == 0
    return host


RULE = "bpf-expected-missing-on-iface"
BY_INTENT = Drill(
    rule=RULE,
    name="intent",
    build=intended,
    break_=lambda lab, host: host.sh("tc filter del dev eth1 ingress"),
    repair=lambda lab, host: tc(host, "eth1", "p", 1),
    severity="warning",
    expect={"kind": "bpf-attachment", "ifname": "eth1", "name": "policy"},
    twin=by_tcx,
)
BY_BASELINE = Drill(
    rule=RULE,
    name="baseline",
    build=compared,
    break_=lambda lab, host: host.run("ip", "link", "set", "eth0", "xdp", "off"),
    repair=lambda lab, host: host.run("ip", "link", "set", "eth0", "xdp", "pinned", "/sys/fs/bpf/x"),
    severity="warning",
    expect={"kind": "bpf-attachment", "ifname": "eth0", "hook": "xdp"},
    check_args=("--interval", "0", "--baseline", "/run/before.netdiag"),
)
test_drill = drill_test(BY_INTENT, BY_BASELINE)
