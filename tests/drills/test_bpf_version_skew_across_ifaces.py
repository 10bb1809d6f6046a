"""One of two interfaces was forgotten when the program was renewed."""

from tests.drills.bpfworld import program, tc, two_cables
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make


def healthy(lab: Lab) -> Host:
    """One build on both, loaded once for each, as tc does it."""
    host = two_cables(lab)
    for number in range(2):
        program(host, f"p{number}", b"policy", verdict=-1)
        tc(host, f"eth{number}", f"p{number}", 1)
    return host


def renew_one(lab: Lab, host: Host) -> None:
    program(host, "new", b"policy")
    host.sh("tc filter replace dev eth1 ingress pref 1 handle 1 bpf da object-pinned /sys/fs/bpf/new")


def renew_other(lab: Lab, host: Host) -> None:
    host.sh("tc filter replace dev eth0 ingress pref 1 handle 1 bpf da object-pinned /sys/fs/bpf/new")


def different(lab: Lab) -> Host:
    """Two programs of different names, and one name on the two sides."""
    host = two_cables(lab)
    program(host, "a", b"uplink", verdict=-1)
    program(host, "b", b"policy", verdict=-1)
    program(host, "c", b"policy")
    tc(host, "eth0", "a", 1)
    tc(host, "eth1", "b", 1)
    tc(host, "eth0", "c", 1, "egress")
    return host


def by_xdp(lab: Lab) -> Host:
    host = two_cables(lab)
    for number in range(2):
        program(host, f"x{number}", b"guard", make.XDP, 2)
        host.run("ip", "link", "set", f"eth{number}", "xdp", "pinned", f"/sys/fs/bpf/x{number}")
    return host


def renew_one_xdp(lab: Lab, host: Host) -> None:
    """The new build passes everything too (one that only drops is a fault of its own), and mentions a map."""

    def work() -> None:
        seen = make.map_(make.LRU_HASH, b"seen")
        make.pin(make.program(make.XDP, b"guard", verdict=2, maps=[seen]), "new")

    host.call(work)
    host.run("ip", "-force", "link", "set", "eth1", "xdp", "pinned", "/sys/fs/bpf/new")


TC = Drill(
    rule="bpf-version-skew-across-ifaces",
    name="tc",
    build=healthy,
    break_=renew_one,
    repair=renew_other,
    severity="warning",
    expect={"kind": "bpf-program", "name": "policy", "ifname": "eth0"},
    twin=different,
)
XDP = Drill(
    rule="bpf-version-skew-across-ifaces",
    name="XDP",
    build=by_xdp,
    break_=renew_one_xdp,
    repair=lambda lab, host: host.run("ip", "-force", "link", "set", "eth0", "xdp", "pinned", "/sys/fs/bpf/new"),
    severity="warning",
    expect={"kind": "bpf-program", "name": "guard", "ifname": "eth0"},
)
test_drill = drill_test(TC, XDP)
