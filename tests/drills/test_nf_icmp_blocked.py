"""A stateful filter that was written for IPv4 and loses neighbour discovery; and ICMP errors dropped for guests."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

FILTER = """
table inet filter {
 chain input { type filter hook input priority 0; policy drop
  ct state established,related accept
  iifname lo accept
  tcp dport 22 accept
  icmp type echo-request accept
  meta l4proto ipv6-icmp accept comment "nd"
 }
 chain forward { type filter hook forward priority 0; }
}
"""
FORGET = (
    "h=$(nft -a list chain inet filter input | sed -n 's/.*comment \"nd\" # handle //p');"
    " nft delete rule inet filter input handle $h"
)


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
    host.sysctl({"net.ipv4.ip_forward": 1})
    return host


DRILLS = (
    Drill(
        rule="nf-icmp-blocked",
        name="neighbour discovery",
        build=build,
        break_=lambda lab, host: host.sh(FORGET),
        repair=None,
        severity="critical",
        expect={"kind": "nft-chain", "table": "filter", "chain": "input"},
    ),
    Drill(
        rule="nf-icmp-blocked",
        name="fragmentation needed",
        build=build,
        break_=lambda lab, host: host.sh("nft add rule inet filter forward icmp type destination-unreachable drop"),
        repair=lambda lab, host: host.sh("nft flush chain inet filter forward"),
        expect={"kind": "nft-chain", "table": "filter", "chain": "forward"},
    ),
)
test_drill = drill_test(*DRILLS)
