"""What is worth knowing about a link and never an alarm: each is named where it is, and only there."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable
from struct import pack

from tests.drills.harness import confirm
from tests.lab import Host, Lab
from tests.lab.daemons import Peer, key_pair


def pair(lab: Lab) -> tuple[Host, Host]:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    return host, peer


def named(host: Host, rule: str, *args: str) -> list[str]:
    """Interfaces that the rule names, after its confirm commands were run; the rule was evaluated."""
    report = host.report("--interval", "0", *args)
    assert rule not in [gap["rule"] for gap in report["not_evaluated"]]
    found = [row for row in report["findings"] if row["rule"] == rule]
    for row in found:
        for command in row["confirm"]:
            confirm(host, command)
    return [row["subject"]["ifname"] for row in found]


def test_promisc_left_on(lab: Lab) -> None:
    host, _ = pair(lab)
    assert named(host, "promisc-left-on") == []
    host.ip("link set dev eth0 promisc on")
    assert named(host, "promisc-left-on") == ["eth0"]
    capture = host.spawn("tcpdump", "-n", "-i", "eth0", "-w", "/dev/null")
    lab.wait(lambda: "0003" in host.run("cat", "/proc/net/packet").stdout, 5, "tcpdump listens")
    assert named(host, "promisc-left-on") == []
    capture.kill()


def test_veth_leg_orphan(lab: Lab) -> None:
    host, peer = pair(lab)
    assert named(host, "veth-leg-orphan-peer-gone") == []
    peer.ip("link set dev eth0 down")
    lab.wait(lambda: named(host, "veth-leg-orphan-peer-gone") == ["eth0"], 5, "the end is named")


def test_gro_udp_forwarding(lab: Lab) -> None:
    host, _ = pair(lab)
    host.ip("route add default via 192.0.2.2")
    private, _ = key_pair(host)
    lab.wireguard(host, "wg0", private, 51820, [Peer(public_key=key_pair(host)[1], allowed_ips=["10.0.0.2/32"])])
    host.ip("link set dev wg0 up")
    host.sysctl({"net.ipv4.ip_forward": 1})
    assert named(host, "gro-udp-fwd-off") == ["eth0"]
    host.run("ethtool", "-K", "eth0", "rx-udp-gro-forwarding", "on")
    assert named(host, "gro-udp-fwd-off") == []


def tap(host: Host, flags: int) -> Callable[[], None]:
    """Open tap0 as a virtual machine monitor that asks for TSO; the function ends it."""
    ready, told = os.pipe()

    def hold() -> None:
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(descriptor, 0x400454CA, pack("=16sH22x", b"tap0", 0x1002 | flags))  # TUNSETIFF, TAP and NO_PI
        fcntl.ioctl(descriptor, 0x400454D0, 0x01 | 0x02)  # TUNSETOFFLOAD: CSUM, TSO4
        os.write(told, b"+")
        signal.pause()

    pid = host.fork(hold)
    assert os.read(ready, 1) == b"+"
    return lambda: os.kill(pid, signal.SIGKILL)


def test_gso_without_the_header(lab: Lab) -> None:
    host, _ = pair(lab)
    for flags, expected in ((0x4000, []), (0, ["tap0"])):  # IFF_VNET_HDR
        end = tap(host, flags)
        host.ip("link set dev tap0 up")
        assert named(host, "gso-max-too-large-tap") == expected
        end()
        lab.wait(lambda: "tap0" not in host.run("ip", "-br", "link").stdout, 5, "the tap is gone")


def test_macvlan_beside_its_parent(lab: Lab) -> None:
    host, _ = pair(lab)
    host.ip("link add link eth0 name mv0 type macvlan mode bridge\nlink set dev mv0 up")
    assert named(host, "macvlan-host-isolation") == []
    host.ip("address add 198.51.100.1/24 dev mv0")
    assert named(host, "macvlan-host-isolation") == ["mv0"]


def test_multipath(lab: Lab) -> None:
    host, peer = pair(lab)
    lab.link(host, "eth1", peer, "eth1", a_addresses="192.0.2.5/30", b_addresses="192.0.2.6/30")
    host.ip("route add default nexthop via 192.0.2.2 weight 1 nexthop via 192.0.2.6 weight 100")
    report = host.report("--interval", "0")
    found = {row["rule"]: row for row in report["findings"]}
    assert set(found) == {"ecmp-nexthop-asym-weights"}
    assert found["ecmp-nexthop-asym-weights"]["severity"] == "info"
    host.ip("route replace default nexthop via 192.0.2.2 nexthop via 192.0.2.6")
    host.ip("link add vx0 type vxlan id 5 dstport 4789 remote 198.51.100.9 local 192.0.2.1\nlink set dev vx0 up")
    report = host.report("--interval", "0", "--rule", "ecmp-hash-policy-l3")
    assert [row["subject"]["name"] for row in report["findings"]] == ["net.ipv4.fib_multipath_hash_policy"]
    host.sysctl({"net.ipv4.fib_multipath_hash_policy": 1})
    assert host.report("--interval", "0", "--rule", "ecmp-hash-policy-l3")["findings"] == []
