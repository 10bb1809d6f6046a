"""Forwarding is turned on under a host that lives by router advertisements; and routers that need none."""

from __future__ import annotations

import socket
import struct

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import connects
from tests.lab import Host, Lab

PREFIX = "2001:db8:5::"


def advertise(router: Host, lifetime: int = 1800) -> None:
    """One router advertisement on eth0 to all nodes (RFC 4861 section 4.2), with a prefix for SLAAC."""
    prefix = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 86400, 14400, 0, socket.inet_pton(socket.AF_INET6, PREFIX))
    message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime, 0, 0) + prefix

    def send() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            raw.sendto(message, ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))

    router.call(send)


def has_default(host: Host) -> bool:
    return "default via fe80::" in host.run("ip", "-6", "route").stdout


def listen(lab: Lab, host: Host) -> None:
    """The router advertises itself, and the host takes it as its default route."""
    advertise(lab.hosts["gw"])
    lab.wait(lambda: has_default(host), what="the advertised default route")


def cable(lab: Lab, addresses: str | tuple[str, ...] = ()) -> Host:
    host, router = lab.host("node"), lab.host("gw")
    router.sysctl({"net.ipv6.conf.all.forwarding": 1})
    lab.link(host, "eth0", router, "eth0", a_addresses=addresses)
    lab.wait(lambda: "fe80" in router.run("ip", "-6", "address", "show", "dev", "eth0", "-tentative").stdout)
    return host


def build(lab: Lab) -> Host:
    host = cable(lab)
    listen(lab, host)
    return host


def build_told(lab: Lab) -> Host:
    """A router that takes advertisements in spite of forwarding, because somebody said so."""
    host = cable(lab)
    host.sysctl({"net.ipv6.conf.all.forwarding": 1, "net.ipv6.conf.eth0.accept_ra": 2})
    listen(lab, host)
    return host


def build_static(lab: Lab) -> Host:
    """A static address, and only the default route comes from the router."""
    host = cable(lab, "2001:db8:5::2/64")
    host.sysctl({"net.ipv6.conf.eth0.autoconf": 0})
    listen(lab, host)
    return host


def forward(lab: Lab, host: Host) -> None:
    """What Docker and others do."""
    host.sysctl({"net.ipv6.conf.all.forwarding": 1})


def heed(lab: Lab, host: Host) -> None:
    """The finding's fix, and the advertisement that makes it work."""
    host.sysctl({"net.ipv6.conf.eth0.accept_ra": 2})
    listen(lab, host)


def daemon_learns(lab: Lab) -> Host:
    """systemd-networkd and NetworkManager: the kernel ignores advertisements, a daemon writes what they say."""
    host = cable(lab)
    host.sysctl({"net.ipv6.conf.all.forwarding": 1, "net.ipv6.conf.eth0.accept_ra": 0})
    host.sh("ip -6 route add default via fe80::1 dev eth0 proto ra metric 100 expires 1800")
    host.sh(f"ip address add {PREFIX}7/64 dev eth0 valid_lft 3600 preferred_lft 1800")
    return host


def static_router(lab: Lab) -> Host:
    """Forwarding, accept_ra as the kernel has it, static addresses, and a neighbour that is a router too."""
    host = cable(lab, "2001:db8:5::2/64")
    host.sysctl({"net.ipv6.conf.all.forwarding": 1})
    lab.hosts["gw"].ip("address add 2001:db8:5::1/64 dev eth0")
    host.run("ping", "-c", "1", "-W", "1", "2001:db8:5::1")
    return host


RULE = "accept-ra-with-forwarding"
ABOUT = {"kind": "link", "ifname": "eth0"}
test_drill = drill_test(
    Drill(
        rule=RULE,
        name="forwarding on",
        build=build,
        break_=forward,
        repair=heed,
        carries=connects("2001:db8:9::1", count=0),
        severity="critical",
        expect=ABOUT,
        twin=daemon_learns,
    ),
    Drill(
        rule=RULE,
        name="accept_ra reset",
        build=build_told,
        break_=lambda lab, host: host.sysctl({"net.ipv6.conf.eth0.accept_ra": 1}),
        repair=None,
        severity="warning",
        expect=ABOUT,
        twin=static_router,
    ),
    Drill(
        rule=RULE,
        name="static address",
        build=build_static,
        break_=lambda lab, host: (forward(lab, host), advertise(lab.hosts["gw"])),
        repair=heed,
        severity="warning",
        expect=ABOUT,
    ),
)
