"""A router with a tunnel, whose filter drops the ICMP errors that it sends itself."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab.daemons import Peer, key_pair

QUIET = "table inet fw { chain out { type filter hook output priority 0; }\n}"


def build(lab: Lab) -> Host:
    host, up, client = lab.host("router"), lab.host("up"), lab.host("client")
    lab.link(host, "eth0", up, "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    lab.link(host, "lan0", client, "eth0", a_addresses="10.1.0.1/24", b_addresses="10.1.0.2/24")
    host.sysctl({"net.ipv4.ip_forward": 1})
    private, _ = key_pair(host)
    _, public = key_pair(up)
    peer = Peer(public_key=public, allowed_ips=["10.9.0.0/16"], endpoint="192.0.2.1:51820")
    lab.wireguard(host, "wg0", private, 51820, [peer])
    host.ip("address add 10.9.0.1/16 dev wg0\nlink set dev wg0 mtu 1420 up")
    lab.nft(host, QUIET)
    return host


DRILL = Drill(
    rule="mss-clamp-missing",
    build=build,
    break_=lambda lab, host: host.sh("nft add rule inet fw out icmp type destination-unreachable drop"),
    repair=None,
    expect={"kind": "link", "ifname": "wg0"},
    tolerate=("nf-icmp-blocked",),  # the clamp mends TCP; the errors are dropped as before
)
test_drill = drill_test(DRILL)
