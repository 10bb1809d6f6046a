"""What vanished since a baseline: tc programs, nexthop objects, BIRD's routes, secondary addresses; and what came."""

from collections.abc import Callable

from tests.drills.bgp import conf, session, world
from tests.drills.bpfworld import program, tc, two_cables
from tests.drills.harness import Drill, drill_test
from tests.drills.losses import connects, goes, lost
from tests.lab import Host, Lab

ARGS = ("--interval", "0", "--baseline", "/run/before.netdiag")


def kept(build: Callable[[Lab], Host]) -> Callable[[Lab], Host]:
    """The same world with a baseline taken of it."""

    def made(lab: Lab) -> Host:
        host = build(lab)
        assert host.netdiag("collect", "--interval", "0", "-o", "/run/before.netdiag")[0] == 0
        return host

    return made


def filtered(lab: Lab) -> Host:
    host = two_cables(lab)
    program(host, "p", b"policy", verdict=-1)
    program(host, "s", b"spy", verdict=-1)
    for ifname in ("eth0", "eth1"):
        tc(host, ifname, "p", 1)
    host.sh("tc filter add dev eth0 egress pref 1 bpf da object-pinned /sys/fs/bpf/p; rm /sys/fs/bpf/s")
    return host


def over_nexthops(lab: Lab) -> Host:
    host, far = lab.host("edge1"), lab.host("far")
    lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.2/29", b_addresses="192.0.2.1/29")
    host.ip("nexthop add id 7 via 192.0.2.1 dev eth0\nroute add 10.0.0.0/8 nhid 7\nroute add 10.9.0.0/16 nhid 7")
    return host


def secondaries(lab: Lab) -> Host:
    host = over_nexthops(lab)
    host.sysctl({"net.ipv4.conf.all.promote_secondaries": 0, "net.ipv4.conf.eth0.promote_secondaries": 0})
    host.ip("address add 198.51.100.2/24 dev eth0\naddress add 198.51.100.3/24 dev eth0")
    lab.hosts["far"].ip("route add 198.51.100.0/24 dev eth0")
    return host


def routed(lab: Lab) -> Host:
    """edge2 announces three prefixes, which BIRD puts into edge1's table main."""
    host = world(lab)
    more = "".join(f"route 10.{n}.0.0/16 blackhole; " for n in range(3))
    reconfigure = conf("edge2", session("down1", "edge1"), f"protocol static many {{ ipv4; {more} }}")
    lab.hosts["edge2"].write("/etc/bird/bird.conf", reconfigure)
    lab.hosts["edge2"].run("birdc", "configure")
    lab.wait(lambda: host.run("ip", "route", "show", "proto", "bird").stdout.count("10.") >= 3, 20, "they are there")
    return host


def spied(lab: Lab, host: Host) -> None:
    program(host, "s", b"spy", verdict=-1)
    for ifname in ("eth0", "eth1"):
        tc(host, ifname, "s", 9)


def unspied(lab: Lab, host: Host) -> None:
    host.sh("tc filter del dev eth0 ingress pref 9; tc filter del dev eth1 ingress pref 9; rm /sys/fs/bpf/s")


def attached(lab: Lab, host: Host) -> None:
    tc(host, "eth0", "p", 1)
    tc(host, "eth0", "p", 1, "egress")


def clobbered(lab: Lab, host: Host) -> None:
    """Another tool takes handle 1 of priority 1 for its own."""
    program(host, "m", b"meter", verdict=-1)
    host.sh("tc filter replace dev eth1 ingress pref 1 handle 1 bpf da object-pinned /sys/fs/bpf/m")


DRILLS = [
    Drill(
        rule="offload-features-drift",
        build=kept(over_nexthops),
        break_=lambda lab, host: host.run("ethtool", "-K", "eth0", "tso", "off"),
        repair=None,
        severity="warning",
        expect={"kind": "link", "ifname": "eth0"},
        check_args=ARGS,
    ),
    Drill(
        rule="bpf-tc-same-handle-clobber",
        build=kept(filtered),
        break_=clobbered,
        repair=lambda lab, host: host.sh(
            "tc filter replace dev eth1 ingress pref 1 handle 1 bpf da object-pinned /sys/fs/bpf/p; rm /sys/fs/bpf/m"
        ),
        severity="warning",
        expect={"kind": "bpf-attachment", "ifname": "eth1", "name": "policy"},
        check_args=ARGS,
    ),
    Drill(
        rule="bpf-tc-clsact-removed",
        build=kept(filtered),
        break_=lambda lab, host: host.sh("tc qdisc del dev eth0 clsact"),
        repair=attached,
        severity="warning",
        expect={"kind": "link", "ifname": "eth0"},
        check_args=ARGS,
    ),
    Drill(
        rule="bpf-unexpected-program",
        build=kept(filtered),
        break_=spied,
        repair=unspied,
        severity="warning",
        expect={"kind": "bpf-program", "name": "spy"},
        check_args=ARGS,
    ),
    Drill(
        rule="nexthop-object-delete-removed-routes",
        carries=connects("10.1.1.1"),
        build=kept(over_nexthops),
        break_=lambda lab, host: host.ip("nexthop del id 7"),
        repair=lambda lab, host: host.ip(
            "nexthop add id 7 via 192.0.2.1 dev eth0\nroute add 10.0.0.0/8 nhid 7\nroute add 10.9.0.0/16 nhid 7"
        ),
        severity="critical",
        expect={"kind": "nexthop", "id": 7},
        check_args=ARGS,
    ),
    Drill(
        rule="route-foreign-routes-removed",
        build=kept(routed),
        break_=lambda lab, host: host.ip("route flush proto bird"),
        repair=None,
        severity="critical",
        expect={"kind": "route", "table": 254, "protocol": "bird"},
        check_args=ARGS,
    ),
]
test_drill = drill_test(*DRILLS)


def test_secondary_addresses_go_with_the_first(lab: Lab) -> None:
    host = kept(secondaries)(lab)
    far = lab.hosts["far"]
    assert goes(far, "198.51.100.3")
    host.ip("address del 198.51.100.2/24 dev eth0")
    report = host.report(*ARGS)
    first = report["findings"][0]
    assert (first["rule"], first["severity"]) == ("addr-orphaned-primary-delete-flushes-secondary", "critical")
    assert [f for f in report["findings"] if f["severity"] != "info" and not f["explained_by"]] == [first]
    assert not goes(far, "198.51.100.3")
    lost(first)
    host.run("bash", "-ec", first["fix"])
    assert not [f for f in host.report(*ARGS)["findings"] if f["severity"] != "info"]
