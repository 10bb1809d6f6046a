"""Questions to a name server leave untracked, and the stateful filter drops the answers."""

import socket

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

FILTER = """
table inet filter {
 chain input { type filter hook input priority 0; policy drop
  ct state established,related accept
  iifname lo accept
  meta l4proto { icmp, ipv6-icmp } accept
 }
}
table inet raw {
 chain out { type filter hook output priority raw; }
 chain pre { type filter hook prerouting priority raw; }
}
"""


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge"), lab.host("peer")
    lab.link(
        host,
        "eth0",
        peer,
        "eth0",
        a_addresses=["192.0.2.1/24", "2001:db8::1/64"],
        b_addresses=["192.0.2.2/24", "2001:db8::2/64"],
    )
    lab.nft(host, FILTER)
    lab.listen_udp(peer, "192.0.2.2", 53, echo=True)
    return host


def answered(lab: Lab, host: Host) -> bool:
    """A question to the name server is answered."""

    def ask() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.3)
            client.connect(("192.0.2.2", 53))
            client.send(b"?")
            try:
                return client.recv(9) == b"?"
            except TimeoutError:
                return False

    return host.call(ask)


def twin(lab: Lab) -> Host:
    host = build(lab)
    host.sh("nft add rule inet raw out udp dport 53 notrack; nft add rule inet raw pre udp sport 53 notrack")
    host.sh("nft insert rule inet filter input ct state untracked accept")
    return host


DRILL = Drill(
    rule="nf-notrack-with-stateful",
    build=build,
    break_=lambda lab, host: host.sh("nft add rule inet raw out udp dport 53 notrack"),
    repair=None,
    severity="critical",
    expect={"kind": "nft-chain", "table": "raw", "chain": "out"},
    carries=answered,
    twin=twin,
)
test_drill = drill_test(DRILL)
