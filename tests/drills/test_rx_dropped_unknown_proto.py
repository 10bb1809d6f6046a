"""LLDP on a port that nobody listens to: an info, and never an alarm."""

import socket

from tests.lab import Host, Lab


def lldp(peer: Host) -> None:
    """Ten frames of ethertype 0x88cc."""

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as talk:
            talk.bind(("eth0", 0))
            for _ in range(10):
                talk.send(bytes.fromhex("0180c200000e 020000000001 88cc") + bytes(46))

    peer.call(send)


def test_drill(lab: Lab) -> None:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    report = host.report("--interval", "0.3", during=lambda: lldp(peer))
    found = [row for row in report["findings"] if row["rule"] == "rx-dropped-unknown-proto"]
    assert [(row["severity"], row["subject"]["ifname"]) for row in found] == [("info", "eth0")]
    assert report["verdict"] == "ok"
    quiet = host.report("--interval", "0.3")
    assert not [row for row in quiet["findings"] if row["rule"] == "rx-dropped-unknown-proto"]
