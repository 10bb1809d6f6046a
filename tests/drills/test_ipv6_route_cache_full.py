"""Whether this kernel heeds the limit on IPv6 routing entries, and that netdiag says the same.

An entry is made for each destination whose path is smaller than the link (RFC 8201).

edge1 --- mtu 1500 --- router --- mtu 1280 --- 2001:db8:1::/64
"""

import contextlib
import socket

from tests.lab import Host, Lab

NAME, ENTRIES = "net.ipv6.route.max_size", 5


def entries(host: Host) -> int:
    return int(host.read("/proc/net/rt6_stats").split()[ENTRIES], 16)


def send(host: Host, first: int, count: int) -> None:
    """A long datagram to so many destinations."""

    def work() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            for last in range(first, first + count):
                with contextlib.suppress(OSError):
                    sender.sendto(bytes(1400), (f"2001:db8:1::{last:x}", 9))

    host.call(work)


def test_the_limit_counts_where_the_kernel_heeds_it(lab: Lab) -> None:
    """Linux 6.3 and later do not, and there a small one is harmless."""
    host, router, far = lab.host("edge1"), lab.host("router"), lab.host("far")
    lab.link(host, "eth0", router, "eth0", a_addresses="2001:db8::1/64", b_addresses="2001:db8::2/64")
    lab.link(router, "eth1", far, "eth0", a_addresses="2001:db8:2::1/64", b_addresses="2001:db8:2::2/64", mtu=1280)
    router.sysctl({"net.ipv6.conf.all.forwarding": 1})
    router.ip("route add 2001:db8:1::/64 via 2001:db8:2::2")
    host.ip("route add default via 2001:db8::2")

    def grown(least: int) -> bool:
        send(host, 16, least)
        return entries(host) >= least

    lab.wait(lambda: grown(20), 6, "twenty entries")
    before = entries(host)
    host.sysctl({NAME: before, "net.ipv6.route.gc_thresh": before})
    heeds = False
    try:
        lab.wait(lambda: grown(before + 1), 2)
    except TimeoutError:
        heeds = True
    report = host.report("--interval", "0", "--rule", "ipv6-route-cache-full")
    assert not report["not_evaluated"]
    assert bool(report["findings"]) is heeds, (report, heeds, before, entries(host))
