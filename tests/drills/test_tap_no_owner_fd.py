"""Taps that are routed and held by nobody; a warm pool beside them is healthy."""

from tests.drills.harness import Drill, drill_test
from tests.drills.tapworld import boot, worker
from tests.lab import Host, Lab


def pool(lab: Lab) -> Host:
    """Taps made ahead, up, and persistent taps of stopped machines to which nothing refers."""
    host = worker(lab)
    host.ip("tuntap add dev pool0 mode tap\nlink set dev pool0 up\ntuntap add dev pool1 mode tap multi_queue")
    return host


def forgotten(lab: Lab, host: Host) -> None:
    host.ip("tuntap add dev tap7 mode tap\nlink set dev tap7 up\nroute add 10.1.0.9/32 dev tap7")


def forgotten6(lab: Lab, host: Host) -> None:
    host.ip("tuntap add dev tap7 mode tap\nlink set dev tap7 up\nroute add 2001:db8:1::9/128 dev tap7")


def missed(lab: Lab, host: Host) -> bool:
    """Somebody sends to the guest, and its address is asked for in vain."""
    lab.send_udp(host, "10.9.0.2", 9)
    return "FAILED" in host.run("ip", "neigh", "show", "dev", "tap7").stdout


RULE = "tap-no-owner-fd"
test_drill = drill_test(
    Drill(rule=RULE, build=worker, break_=forgotten, repair=None, expect={"kind": "tap", "ifname": "tap7"}, twin=pool),
    Drill(
        rule=RULE,
        name="IPv6",
        build=pool,
        break_=forgotten6,
        repair=lambda lab, host: host.ip("link del tap7"),
        expect={"kind": "tap", "ifname": "tap7"},
    ),
    Drill(
        rule=RULE,
        name="asked for in vain",
        build=pool,
        break_=lambda lab, host: host.ip(
            "tuntap add dev tap7 mode tap\nlink set dev tap7 up\naddress add 10.9.0.1/30 dev tap7"
        ),
        settle=missed,
        repair=lambda lab, host: host.ip("link del tap7"),
        severity="warning",
        expect={"kind": "tap", "ifname": "tap7"},
    ),
    Drill(
        rule=RULE,
        name="the machine starts",
        build=worker,
        break_=lambda lab, host: (host.ip("link del tap1"), _again(host)),
        repair=lambda lab, host: boot(host, "tap1"),
        expect={"kind": "tap", "ifname": "tap1"},
    ),
)


def _again(host: Host) -> None:
    """The tap is made anew under a machine that holds the old one."""
    host.ip("tuntap add dev tap1 mode tap vnet_hdr\nlink set dev tap1 up\nroute add 10.1.0.6/32 dev tap1")
