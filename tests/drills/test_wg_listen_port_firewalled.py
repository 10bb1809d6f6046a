"""A server of WireGuard whose peer can only begin by itself, behind a filter that closes the port."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab.daemons import Peer, key_pair

OPEN = """
table inet filter {
 set open { type inet_service; elements = { 53, 51820 }; }
 chain input { type filter hook input priority 0; policy drop
  ct state established,related accept
  iifname lo accept
  meta l4proto { icmp, ipv6-icmp } accept
  udp dport @open accept
 }
}
"""
CLOSED = "nft delete element inet filter open '{ 51820 }'"


def build(lab: Lab) -> Host:
    host, other = lab.host("server"), lab.host("client")
    lab.link(host, "eth0", other, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    private, _ = key_pair(host)
    _, public = key_pair(other)
    lab.wireguard(host, "wg0", private, 51820, [Peer(public_key=public, allowed_ips=["10.9.0.2/32"])])
    host.ip("address add 10.9.0.1/24 dev wg0\nlink set dev wg0 up")
    lab.nft(host, OPEN)
    return host


def let_in(lab: Lab, host: Host) -> bool:
    """What the client sends to the port is taken by a socket (UdpInDatagrams)."""

    def taken() -> int:
        return int(host.run("nstat", "-asz", "UdpInDatagrams").stdout.split()[-2])

    before = taken()
    lab.send_udp(lab.hosts["client"], "192.0.2.1", 51820, count=5)
    try:
        lab.wait(lambda: taken() >= before + 5, 0.3)
    except TimeoutError:
        return False
    return True


DRILL = Drill(
    rule="wg-listen-port-firewalled",
    build=build,
    break_=lambda lab, host: host.sh(CLOSED),
    repair=None,
    severity="critical",
    expect={"kind": "wireguard-interface", "ifname": "wg0"},
    carries=let_in,
)
test_drill = drill_test(DRILL)
