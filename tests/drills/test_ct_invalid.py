"""Packets that tracking calls invalid: passed on untranslated, and dropped where only one direction is seen.

client 10.0.0.2 --- c0 router eth0 --- 192.0.2.1 server (and the way back does not lead over the router)
"""

import socket
import struct

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

RULES = """
table ip nat {
 chain post { type nat hook postrouting priority srcnat
  oifname "eth0" masquerade
 }
}
table inet fw {
 chain forward { type filter hook forward priority 0; policy accept
  ct state invalid drop
 }
}
"""
PLAIN = """
table inet fw {
 chain forward { type filter hook forward priority 0; policy accept
  ct state new,established,related accept
 }
}
"""
ESTABLISHED = (
    "conntrack -I -p tcp -s 10.0.0.2 -d 192.0.2.1 --sport 4000 --dport 80 --state ESTABLISHED --timeout 4000"
    " --src-nat 192.0.2.2 --status SEEN_REPLY,ASSURED"
)
SYN, ACK = 0x02, 0x10


def tcp(source: str, target: str, flags: int, sport: int) -> bytes:
    """One TCP packet with its IP header, without data."""
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!HHIIBBHHH", sport, 80, 1000, 1, 5 << 4, flags, 1024, 0, 0)
    pseudo = ends + struct.pack("!BBH", 0, 6, len(head)) + head
    words = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    check = ~((words & 0xFFFF) + (words >> 16)) & 0xFFFF
    head = head[:16] + struct.pack("!H", check) + head[18:]
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, ends[:4], ends[4:]) + head


def send(host: Host, packets: list[bytes], target: str) -> None:
    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for packet in packets:
                raw.sendto(packet, (target, 0))

    host.call(work)


def strays(lab: Lab, host: Host) -> None:
    """Handshakes' second halves that nobody asked for."""
    send(
        lab.hosts["client"], [tcp("10.0.0.2", "192.0.2.1", SYN | ACK, port) for port in range(5000, 5006)], "192.0.2.1"
    )


def one_way(lab: Lab, host: Host) -> None:
    """First packets, and then what follows an answer that came by another way."""
    firsts = [tcp("10.0.0.2", "198.51.100.9", SYN, port) for port in range(6000, 6003)]
    then = [tcp("10.0.0.2", "198.51.100.9", ACK, port) for port in range(6000, 6003)] * 2
    send(lab.hosts["client"], firsts + then, "198.51.100.9")


def base(lab: Lab, rules: str) -> Host:
    host, up, client = lab.host("router"), lab.host("up"), lab.host("client")
    lab.link(host, "eth0", up, "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    lab.link(host, "c0", client, "eth0", a_addresses="10.0.0.1/24", b_addresses="10.0.0.2/24")
    host.sysctl({"net.ipv4.ip_forward": 1})
    client.ip("route add default via 10.0.0.1")
    host.ip("route add default via 192.0.2.1")
    lab.nft(host, rules)
    return host


def translated(lab: Lab) -> Host:
    host = base(lab, RULES)
    host.sh(ESTABLISHED)
    return host


DRILLS = (
    Drill(
        rule="ct-invalid-rst",
        build=translated,
        break_=lambda lab, host: host.sh("nft flush chain inet fw forward"),
        repair=None,
        during=strays,
        expect={"kind": "conntrack"},
    ),
    Drill(
        rule="ct-asym-half-seen",
        build=lambda lab: base(lab, PLAIN),
        break_=lambda lab, host: host.sh("nft add rule inet fw forward ct state invalid drop"),
        repair=lambda lab, host: host.sh("nft flush chain inet fw forward"),
        during=one_way,
        severity="warning",
    ),
)
test_drill = drill_test(*DRILLS)
