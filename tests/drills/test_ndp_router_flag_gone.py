"""A router that withdraws itself by an advertisement of lifetime 0: the addresses stay, the way out goes."""

import socket
import struct

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

PREFIX = socket.inet_pton(socket.AF_INET6, "2001:db8:1::")


def advertise(router: Host, lifetime: int) -> None:
    """RFC 4861 section 4.2, with the prefix 2001:db8:1::/64 for addresses (section 4.6.2)."""

    def send() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            head = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime, 0, 0)
            option = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 1800, 0) + PREFIX
            raw.sendto(head + option, ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))

    router.call(send)


def built(lab: Lab, lifetime: int) -> Host:
    host, router = lab.host("edge1"), lab.host("gw")
    lab.link(host, "eth0", router, "eth0", b_addresses="2001:db8:1::1/64")
    advertise(router, lifetime)
    lab.wait(lambda: "2001:db8:1:" in host.run("ip", "-6", "address", "show", "dev", "eth0").stdout, 5, "an address")
    return host


def by_hand(lab: Lab) -> Host:
    """A prefix without a router, and a default route that somebody made."""
    host = built(lab, 0)
    host.ip("route add default via 2001:db8:1::1")
    return host


test_drill = drill_test(
    Drill(
        rule="ndp-router-flag-gone",
        build=lambda lab: built(lab, 1800),
        break_=lambda lab, host: advertise(lab.hosts["gw"], 0),
        repair=lambda lab, host: advertise(lab.hosts["gw"], 1800),
        severity="warning",
        expect={"kind": "link", "ifname": "eth0"},
        twin=by_hand,
    )
)
