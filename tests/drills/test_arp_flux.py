"""Two cards of one host on one switch, in different subnets: each answers ARP for the other's address."""

import itertools
import socket
import struct
from typing import Any

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

ARP = 0x0806


def build(lab: Lab) -> Host:
    """Two cables into one switch; a neighbour that has an address of both subnets on one card."""
    host, other = lab.host("edge1"), lab.host("edge2")
    switch = lab.switch()
    lab.plug(host, "eth0", switch, "10.1.0.1/24")
    lab.plug(host, "eth1", switch, "10.2.0.1/24")
    lab.plug(other, "eth0", switch, "10.1.0.2/24")
    other.ip("address add 10.2.0.2/24 dev eth0")
    host.sysctl({"net.ipv4.conf.all.arp_ignore": 1, "net.ipv4.conf.all.arp_announce": 2})
    return host


def answers(address: str, wanted: int) -> int:
    """How many cards answer one ARP question of ours; waits for so many at most."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ARP)) as asker:
        asker.bind(("eth0", ARP))
        asker.settimeout(3)
        mine, nobody = asker.getsockname()[4], bytes(6)
        question = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mine + socket.inet_aton("10.2.0.2")
        asker.sendto(question + nobody + socket.inet_aton(address), ("eth0", ARP, 0, 0, b"\xff" * 6))
        cards: set[bytes] = set()
        while len(cards) < wanted:
            said = asker.recv(64)
            if said[6:8] == b"\0\2" and said[14:18] == socket.inet_aton(address):
                cards.add(said[8:14])
        return len(cards)


def break_(lab: Lab, host: Host) -> None:
    """The setting is lost, and the wrong card is really learnt."""
    host.sysctl({"net.ipv4.conf.all.arp_ignore": 0})
    assert lab.hosts["edge2"].call(lambda: answers("10.2.0.1", 2)) == 2


def apart(lab: Lab) -> Host:
    """Two cards on two segments, with the kernel's defaults."""
    host, other = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", other, "eth0", a_addresses="10.1.0.1/24", b_addresses="10.1.0.2/24")
    lab.link(host, "eth1", other, "eth1", a_addresses="10.2.0.1/24", b_addresses="10.2.0.2/24")
    lab.send_udp(host, "10.1.0.2", 9)
    lab.send_udp(host, "10.2.0.2", 9)
    return host


test_drill = drill_test(
    Drill(rule="arp-flux", build=build, break_=break_, repair=None, expect={"kind": "link"}, twin=apart)
)


def scan(host: Host, first: int, count: int) -> None:
    """Packets to so many addresses of a /16 in which nobody else is."""

    def send() -> None:
        for number in range(first, first + count):  # what waits for an answer fills a socket's buffer: one for each
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"?", (f"10.9.{number // 250}.{number % 250 + 2}", 9))

    host.call(send)


def test_a_scan_of_an_empty_subnet(lab: Lab) -> None:
    """Addresses that nobody has, and more of them while netdiag looks. The table is the whole machine's: fewer entries
    than its limits. Three seconds after it was made an entry waits no longer: on a busy machine it is asked anew."""
    host = apart(lab)
    host.ip("address add 10.9.0.1/16 dev eth0")
    asked = ("--interval", "1", "--rule", "neigh-incomplete-storm")
    assert not host.report(*asked)["findings"]
    tries = itertools.count()

    def look() -> list[Any]:
        scan(host, 0, 300)
        fresh = 300 + 20 * next(tries)
        findings: list[Any] = host.report(*asked, during=lambda: scan(host, fresh, 20))["findings"]
        return findings

    (found,) = lab.wait(look, 15)
    assert (found["severity"], found["subject"]["ifname"]) == ("warning", "eth0")
