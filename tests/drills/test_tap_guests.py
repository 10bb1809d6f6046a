"""Guests of a worker that are slow, restored, or opened without the virtio header; and cables of dead containers."""

import os

from tests.drills.harness import Drill, drill_test
from tests.drills.tapworld import GUESTS, ask, stop, worker
from tests.lab import Host, Lab
from tests.lab.taps import hold, name_process


def bare(lab: Lab, host: Host) -> None:
    """The second machine starts anew without the header."""
    stop(host)
    hold(host, "tap0")
    hold(host, "tap1", vnet_hdr=False)


def again(lab: Lab, host: Host) -> None:
    stop(host)
    hold(host, "tap0")
    hold(host, "tap1")


def standing_still(lab: Lab, host: Host) -> None:
    """The machine of tap1 reads nothing any more."""
    stop(host)
    hold(host, "tap0", guests=dict([GUESTS["tap0"]]))
    hold(host, "tap1", reads=False)
    host.ip("link set dev tap1 txqueuelen 10")
    host.ip("neigh replace 10.1.0.6 lladdr 06:00:00:00:00:06 dev tap1 nud permanent")


def flood(lab: Lab, host: Host) -> None:
    lab.send_udp(host, "10.1.0.6", 9, count=60)


def built(lab: Lab) -> Host:
    host = worker(lab)
    host.ip("neigh replace 10.1.0.6 lladdr 06:00:00:00:00:06 dev tap1 nud permanent")
    return host


def talking(lab: Lab) -> Host:
    host = worker(lab, v6=True)
    ask(lab, host, "10.1.0.6", "tap1")
    return host


def restored(lab: Lab, host: Host) -> None:
    """It came back with another hardware address and has spoken over IPv6 since."""
    host.ip("neigh replace 10.1.0.6 lladdr 06:00:00:00:00:06 dev tap1 nud stale")
    host.ip("neigh replace 2001:db8:1::6 lladdr 06:00:00:00:00:77 dev tap1 nud reachable")


def cabled(lab: Lab) -> Host:
    """A container behind a routed cable, and a named pool whose cables wait."""
    host = lab.host("node1")
    host.sh("ip netns add c1; ip link add v1 type veth peer name eth0 netns c1; ip link set v1 up")
    host.sh("ip route add 10.1.0.5/32 dev v1; ip netns add pool1; ip link add p1 type veth peer name eth0 netns pool1")
    return host


def died(lab: Lab, host: Host) -> None:
    """The engine deleted the namespace's name while something holds it open, and forgot the cable."""

    def keep() -> None:
        name_process("leftover")
        os.read(os.pipe()[0], os.open("/run/netns/c1", os.O_RDONLY))

    host.fork(keep)
    lab.wait(lambda: "netns/c1" in host.sh("ls -l /proc/[0-9]*/fd 2>/dev/null").stdout, 5, "it is held")
    host.sh("ip netns del c1; ip route del 10.1.0.5/32 dev v1")


test_drill = drill_test(
    Drill(
        rule="tap-vnet-hdr-mismatch",
        name="tap-vnet-hdr-mismatch",
        build=worker,
        break_=bare,
        repair=again,
        severity="warning",
        expect={"ifname": "tap1"},
    ),
    Drill(
        rule="tap-tx-drops-guest-slow",
        name="tap-tx-drops-guest-slow",
        build=built,
        break_=standing_still,
        repair=lambda lab, host: (again(lab, host), host.ip("link set dev tap1 txqueuelen 1000")),
        during=flood,
        expect={"ifname": "tap1"},
    ),
    Drill(
        rule="vm-stale-neigh-after-restore",
        name="vm-stale-neigh-after-restore",
        build=talking,
        break_=restored,
        repair=None,
        expect={"dst": "10.1.0.6", "ifname": "tap1"},
    ),
    Drill(
        rule="netns-held-by-fd",
        name="veth-orphan under it",
        build=cabled,
        break_=died,
        repair=lambda lab, host: (host.run("pkill", "-x", "leftover"), host.sh("ip link del v1 || true")),
        explains=("veth-orphan",),
    ),
)
