"""A stranger on the link advertises itself as gateway to a host whose gateway is configured."""

import socket
import struct

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

ALL_NODES = "ff02::1"


def build(lab: Lab) -> Host:
    """A host with a configured gateway, and somebody else on its segment."""
    switch = lab.switch()
    host, gateway, stranger = lab.host("edge1"), lab.host("gw"), lab.host("stranger")
    for number, one in enumerate((host, gateway, stranger), 1):
        lab.plug(one, "eth0", switch, f"2001:db8::{number}/64")
    host.ip("route add default via 2001:db8::2")
    host.run("ping", "-c1", "-W2", "2001:db8::2")
    return host


def advertise(lab: Lab, host: Host) -> None:
    """RFC 4861 section 4.2: hop limit 255, router lifetime 1800 seconds, no options."""
    stranger = lab.hosts["stranger"]

    def send() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            raw.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0), (ALL_NODES, 0, 0, index))

    def index_of() -> int:
        return socket.if_nametoindex("eth0")

    index = stranger.call(index_of)
    stranger.call(send)
    lab.wait(lambda: "proto ra" in host.run("ip", "-6", "route").stdout, 5, "the advertised route")


test_drill = drill_test(
    Drill(
        rule="ra-rogue",
        build=build,
        break_=advertise,
        repair=None,
        severity="warning",
        expect={"kind": "route", "dst": "::/0", "ifname": "eth0"},
    ),
)
