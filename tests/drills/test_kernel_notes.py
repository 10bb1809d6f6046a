"""What the kernel counts or would do, and what is not a loss yet: each is worth knowing, none is an alarm."""

import ipaddress
import socket
import struct

from tests.drills.harness import Drill, confirmed, drill_test
from tests.drills.socketworld import pair
from tests.lab import Host, Lab

FLOOD = {"on": False}
ETH_IP, ETH_HEADER, IP_HEADER = 0x0800, struct.Struct("!6s6sH"), struct.Struct("!BBHHHBBH4s4s")


def looped(lab: Lab) -> Host:
    """A cable of a host to itself, and only one of its ends with an address: nothing is amiss."""
    host = lab.host("edge1")
    lab.link(host, "v0", host, "v1", a_addresses="192.0.2.1/24")
    return host


def router(lab: Lab) -> Host:
    """server forwards between its client, whose default gateway it is, and 198.51.100.1."""
    host = pair(lab)
    far = lab.host("far")
    lab.link(host, "eth1", far, "eth0", a_addresses="198.51.100.2/24", b_addresses="198.51.100.1/24")
    host.sysctl({"net.ipv4.ip_forward": "1"})
    lab.hosts["client"].ip("route add default via 192.0.2.1")
    return host


def short_lived(lab: Lab, host: Host) -> None:
    """Forty packets that end here for want of a TTL; one as long as nothing is broken."""

    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            for _ in range(40 if FLOOD["on"] else 1):
                sender.sendto(b"?", ("198.51.100.1", 33434))

    lab.hosts["client"].call(work)


def martian(dst_mac: bytes, src: str, dst: str) -> bytes:
    """An empty UDP datagram in a frame."""
    udp = struct.pack("!HHHH", 9, 9, 8, 0)
    ends = ipaddress.IPv4Address(src).packed, ipaddress.IPv4Address(dst).packed
    words = IP_HEADER.pack(0x45, 0, 28, 1, 0, 64, socket.IPPROTO_UDP, 0, *ends)
    total = sum(struct.unpack("!10H", words))
    total = (total & 0xFFFF) + (total >> 16)
    words = words[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + words[12:]
    return ETH_HEADER.pack(dst_mac, b"\2\0\0\0\0\1", ETH_IP) + words + udp


def spoofed(lab: Lab, host: Host) -> None:
    """Sixty packets of 127.0.0.1 from the cable."""
    mac = bytes.fromhex(host.read("/sys/class/net/eth0/address").strip().replace(":", ""))

    def work() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("eth0", ETH_IP))
            for _ in range(60):
                sender.send(martian(mac, "127.0.0.1", "192.0.2.1"))

    lab.hosts["client"].call(work)


test_drill = drill_test(
    Drill(
        name="a cable of a host to itself",
        rule="accept-local-missing",
        build=looped,
        break_=lambda lab, host: host.ip("address add 192.0.2.2/24 dev v1"),
        repair=lambda lab, host: host.ip("address del 192.0.2.2/24 dev v1"),
        severity="info",
        expect={"kind": "link", "ifname": "v0"},
    ),
    Drill(
        name="a router that believes redirects",
        rule="accept-redirects-on",
        build=router,
        break_=lambda lab, host: host.sysctl({"net.ipv4.conf.all.accept_redirects": "1"}),
        repair=None,
        severity="info",
        expect={"kind": "sysctl", "name": "net.ipv4.conf.all.accept_redirects"},
        twin=pair,
    ),
    Drill(
        name="forty packets without TTL",
        rule="icmp-ratelimit-masks",
        build=router,
        break_=lambda lab, host: FLOOD.update(on=True),
        repair=lambda lab, host: FLOOD.update(on=False),
        during=short_lived,
        severity="info",
        expect={"kind": "host"},
    ),
    Drill(
        name="sixty from loopback",
        rule="log-martians-flood",
        build=router,
        break_=lambda lab, host: host.sysctl({"net.ipv4.conf.all.log_martians": "1"}),
        repair=None,
        during=spoofed,
        shows=False,  # the file counts in hexadecimal
        severity="info",
        expect={"kind": "sysctl"},
    ),
)


def test_a_dead_leg_that_still_gets_flows(lab: Lab) -> None:
    """The dead next hop is the alarm; that the kernel goes on using it is told beside it."""
    host, legs = lab.host("edge1"), [lab.host(f"leg{number}") for number in (1, 2)]
    for number, leg in enumerate(legs, 1):
        lab.link(
            host, f"eth{number}", leg, "eth0", a_addresses=f"10.0.{number}.2/24", b_addresses=f"10.0.{number}.1/24"
        )
    host.ip("route add 203.0.113.0/24 nexthop via 10.0.1.1 dev eth1 nexthop via 10.0.2.1 dev eth2")
    rule = "neigh-app-solicit-zero-dead-nexthop"

    def look() -> list[dict[str, object]]:
        return host.report("--interval", "0")["findings"]

    lab.send_udp(host, "10.0.1.1", 9)
    lab.send_udp(host, "10.0.2.1", 9)
    assert not [row for row in look() if row["rule"] == rule or row["severity"] != "info"]
    legs[1].ip("address del 10.0.2.1/24 dev eth0")
    host.ip("neigh flush dev eth2")
    lab.send_udp(host, "10.0.2.1", 9)
    lab.wait(lambda: "FAILED" in host.run("ip", "neigh", "show", "to", "10.0.2.1").stdout, 8, "it is given up")
    found = look()
    (about,) = [row for row in found if row["rule"] == rule]
    assert about["severity"] == "info"
    assert found[0]["rule"] != rule, found
    assert {row["severity"] for row in found if not row["explained_by"]} <= {found[0]["severity"], "info"}
    confirmed(host, about, shows=True)
    host.run("bash", "-ec", str(about["fix"]))
    assert rule not in [row["rule"] for row in look()]
