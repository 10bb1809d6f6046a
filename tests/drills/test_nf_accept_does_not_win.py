"""A table of one's own opens a port that the firewall's table keeps closed, at input and for IPv6 at forward."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

FIREWALL = """
table inet firewall {
 chain input { type filter hook input priority 0; policy drop
  ct state established,related accept
  iifname lo accept
  icmp type echo-request accept
  meta l4proto ipv6-icmp accept
  tcp dport 22 accept
 }
 chain forward { type filter hook forward priority 0; policy drop
  ct state established,related accept
 }
}
"""
OWN = (
    "table inet own { chain input { type filter hook input priority -10\n tcp dport { 8080, 8443 } counter accept\n}\n}"
)
OWN6 = (
    "table ip6 own { chain forwarded { type filter hook forward priority 10\n"
    ' iifname "eth0" ip6 daddr 2001:db8:1::/64 tcp dport 443 accept\n}\n}'
)
TWIN = """
table inet own {
 chain input { type filter hook input priority -10
  tcp dport 22 meta mark set 0x1 accept
  ip saddr 192.0.2.99 accept
 }
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
    lab.nft(host, FIREWALL)
    return host


def twin(lab: Lab) -> Host:
    host = build(lab)
    lab.nft(host, TWIN)
    return host


def drop_own(lab: Lab, host: Host) -> None:
    host.sh("nft delete table ip6 own 2>/dev/null || nft delete table inet own")


DRILLS = (
    Drill(
        rule="nf-accept-does-not-win",
        name="input",
        build=build,
        break_=lambda lab, host: lab.nft(host, OWN),
        repair=lambda lab, host: host.sh("nft insert rule inet firewall input tcp dport { 8080, 8443 } accept"),
        expect={"kind": "nft-chain", "family": "inet", "table": "own", "chain": "input"},
        twin=twin,
    ),
    Drill(
        rule="nf-accept-does-not-win",
        name="forward IPv6",
        build=build,
        break_=lambda lab, host: lab.nft(host, OWN6),
        repair=drop_own,
        expect={"kind": "nft-chain", "family": "ip6", "table": "own", "chain": "forwarded"},
    ),
)
test_drill = drill_test(*DRILLS)
