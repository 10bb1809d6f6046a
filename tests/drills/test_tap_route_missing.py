"""The route to a running guest is gone, of either family."""

from tests.drills.bpfworld import program, tc
from tests.drills.harness import Drill, drill_test
from tests.drills.losses import leaves_by
from tests.drills.tapworld import ask, worker
from tests.lab import Host, Lab
from tests.lab.taps import hold


def other_ways(lab: Lab) -> Host:
    """A guest on a bridge, one whose frames tc takes to a container's veth, and a warm pool."""
    host, container = worker(lab), lab.host("container")
    host.ip("link add br0 type bridge\nlink set br0 up\naddress add 10.2.0.1/24 dev br0")
    host.ip("tuntap add dev tap2 mode tap\nlink set tap2 master br0\nlink set tap2 up")
    hold(host, "tap2")
    lab.link(host, "veth3", container, "eth0")
    host.ip("tuntap add dev tap3 mode tap\nlink set tap3 up\ntuntap add dev pool0 mode tap\nlink set pool0 up")
    hold(host, "tap3")
    for one, other in (("tap3", "veth3"), ("veth3", "tap3")):
        host.run("tc", "qdisc", "add", "dev", one, "ingress")
        match = f"tc filter add dev {one} parent ffff: protocol all u32 match u32 0 0"
        host.run(*match.split(), *f"action mirred egress redirect dev {other}".split())
    return host


def talking(lab: Lab) -> Host:
    """The guest answers; there is no sibling and no proxy_arp to tell that guests are routed."""
    host = worker(lab)
    ask(lab, host, "10.1.0.6", "tap1")
    return host


def policed(lab: Lab) -> Host:
    """Each tap has a policy of eBPF at its ingress."""
    host = worker(lab)
    program(host, "policy", b"policy")
    for ifname in ("tap0", "tap1"):
        tc(host, ifname, "policy", 1)
    return host


def bounced(lab: Lab, host: Host) -> None:
    host.ip("link set dev tap1 down\nlink set dev tap1 up")


RULE = "tap-route-missing"
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=worker,
        break_=lambda lab, host: host.ip("route del 10.1.0.6/32 dev tap1"),
        repair=lambda lab, host: host.ip("route add 10.1.0.6/32 dev tap1"),
        severity="critical",
        expect={"kind": "tap", "ifname": "tap1"},
        twin=other_ways,
    ),
    Drill(
        rule=RULE,
        name="it answers, its IPv6 route is there",
        build=lambda lab: _both(lab),
        break_=lambda lab, host: host.ip("route del 10.1.0.6/32 dev tap1"),
        repair=None,
        severity="critical",
        expect={"kind": "tap", "ifname": "tap1"},
        carries=leaves_by("tap1", "10.1.0.6"),
    ),
    Drill(
        rule=RULE,
        name="a tap with a policy was set down and up",
        build=policed,
        break_=bounced,
        repair=lambda lab, host: host.ip("route add 10.1.0.6/32 dev tap1"),
        severity="critical",
        expect={"kind": "tap", "ifname": "tap1"},
    ),
)


def _both(lab: Lab) -> Host:
    host = worker(lab, v6=True)
    ask(lab, host, "10.1.0.6", "tap1")
    return host
