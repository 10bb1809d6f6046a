"""A ruleset that grew: copies of one rule, a full meter, and a translation to 127.0.0.1 that the kernel refuses."""

import socket

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

RULES = """
table inet guard {
 set seen { type ipv4_addr; flags dynamic; size 4; }
 chain in { type filter hook input priority 0; policy accept;
  ip daddr 192.0.2.1 udp dport 7777 add @seen { ip saddr }
 }
 chain count {
  tcp dport 22 counter
 }
}
table ip nat {
 chain pre { type nat hook prerouting priority -100;
  tcp dport 8080 dnat to 192.0.2.1:80
 }
}
"""


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses=["192.0.2.2/24"])
    for last in range(3, 8):
        peer.ip(f"address add 192.0.2.{last}/24 dev eth0")
    lab.nft(host, RULES)
    lab.listen_tcp(host, "192.0.2.1", 80)
    return host


def copies(lab: Lab, host: Host) -> None:
    host.run("nft", "-f", "-", text="add rule inet guard count tcp dport 22 counter\n" * 11)


def callers(lab: Lab, host: Host) -> None:
    """Five senders, and the set holds four."""

    def call() -> None:
        for last in range(2, 7):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((f"192.0.2.{last}", 0))
                sender.sendto(b"?", ("192.0.2.1", 7777))

    lab.hosts["edge2"].call(call)


def offered(lab: Lab) -> Host:
    """A service on 127.0.0.1 that is offered to others."""
    host = build(lab)
    host.sh("nft flush chain ip nat pre; nft add rule ip nat pre tcp dport 8080 dnat to 127.0.0.1:80")
    host.sysctl({"net.ipv4.conf.eth0.route_localnet": 1})
    lab.listen_tcp(host, "127.0.0.1", 80)
    return host


def served(lab: Lab, host: Host) -> bool:
    knock = "exec 3<>/dev/tcp/192.0.2.1/8080"
    return lab.hosts["edge2"].run("timeout", "0.5", "bash", "-c", knock, check=False).returncode == 0


test_drill = drill_test(
    Drill(
        rule="nf-duplicate-rules",
        build=build,
        break_=copies,
        repair=lambda lab, host: host.sh("nft flush chain inet guard count"),
        severity="warning",
        expect={"kind": "nft-chain", "table": "guard", "chain": "count"},
    ),
    Drill(
        rule="nf-set-flowlog-limit",
        build=build,
        break_=callers,
        repair=None,
        severity="warning",
        expect={"kind": "nft-chain", "table": "guard", "set": "seen"},
    ),
    Drill(
        rule="route-localnet-missing",
        build=offered,
        break_=lambda lab, host: host.sysctl({"net.ipv4.conf.eth0.route_localnet": 0}),
        repair=None,
        carries=served,
        severity="critical",
        expect={"kind": "nft-chain", "table": "nat", "chain": "pre"},
    ),
)
