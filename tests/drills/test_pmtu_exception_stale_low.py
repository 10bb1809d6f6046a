"""A router that says "fragmentation needed, mtu 600" to one packet of this host."""

import socket
import struct

from tests.drills.harness import Drill, drill_test
from tests.drills.socketworld import pair, started
from tests.lab import Host, Lab


def checksum(octets: bytes) -> int:
    """Of an ICMP message (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def claim(lab: Lab, host: Host) -> None:
    """ICMP type 3 code 4 from the neighbour about a datagram of this host to 198.51.100.7."""
    ends = map(socket.inet_aton, ("192.0.2.1", "198.51.100.7"))
    inner = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1500, 1, 0x4000, 64, 17, 0, *ends)
    inner += struct.pack("!HHHH", 5555, 7777, 1480, 0)

    def work() -> None:
        body = struct.pack("!BBHHH", 3, 4, 0, 0, 600) + inner
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sender:
            sender.sendto(body, ("192.0.2.1", 0))

    lab.hosts["client"].call(work)


def world(lab: Lab) -> Host:
    """A host with a default route, and a program that talks to the far address."""
    host = pair(lab)
    host.ip("route add default via 192.0.2.2")
    lab.hosts["client"].ip("address add 198.51.100.7/32 dev lo")

    def talk() -> socket.socket:
        talker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        talker.bind(("192.0.2.1", 5555))
        talker.connect(("198.51.100.7", 7777))
        return talker

    started(host, "talker", talk)
    return host


def narrow(lab: Lab) -> Host:
    """A route with a small MTU of its own, which was not learnt."""
    host = world(lab)
    host.ip("route add 198.51.100.8 via 192.0.2.2 mtu lock 700")
    return host


test_drill = drill_test(
    Drill(
        rule="pmtu-exception-stale-low",
        build=world,
        break_=claim,
        repair=None,
        severity="warning",
        expect={"kind": "prefix", "prefix": "198.51.100.7"},
        twin=narrow,
    )
)
