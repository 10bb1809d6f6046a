"""A bridge that may learn three addresses, and four neighbours that speak."""

import socket
from struct import pack

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

IFLA_IFNAME, IFLA_LINKINFO, KIND, DATA, FDB_MAX_LEARNED = 3, 18, 1, 2, 49


def nla(kind: int, payload: bytes) -> bytes:
    return pack("=HH", len(payload) + 4, kind) + payload + bytes(-len(payload) % 4)


def limit(host: Host, most: int) -> None:
    """ip link set dev br0 type bridge fdb_max_learned N, which iproute2 of this Debian cannot say."""

    def send() -> None:
        body = pack("=BxHiII", 0, 0, socket.if_nametoindex("br0"), 0, 0)
        data = nla(DATA, nla(FDB_MAX_LEARNED, pack("=I", most)))
        body += nla(IFLA_LINKINFO, nla(KIND, b"bridge\0") + data)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as talk:
            talk.send(pack("=IHHII", 16 + len(body), 16, 0x5, 1, 0) + body)
            answer = talk.recv(4096)
            assert answer[16:20] == bytes(4), answer

    host.call(send)


def build(lab: Lab) -> Host:
    host = lab.switch("worker")
    lab.plug(lab.host("web"), "eth0", host, "10.0.0.1/24")
    limit(host, 3)
    return host


def speak(lab: Lab, host: Host) -> None:
    """Frames from four addresses."""

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as talk:
            talk.bind(("eth0", 0))
            for last in range(1, 5):
                talk.send(b"\xff" * 6 + bytes([2, 0, 0, 0, 9, last]) + b"\x08\x06" + bytes(46))

    lab.hosts["web"].call(send)


DRILL = Drill(
    rule="fdb-table-full",
    build=build,
    break_=speak,
    repair=lambda lab, host: limit(host, 0),
    severity="warning",
    expect={"kind": "link", "ifname": "br0"},
)
test_drill = drill_test(DRILL)
