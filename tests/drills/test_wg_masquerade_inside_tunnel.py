"""A site's network behind a WireGuard gateway, and a masquerade rule that says neither where to nor by what."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab.daemons import Peer, key_pair

SCOPED = """
table ip nat {
 chain post { type nat hook postrouting priority srcnat
  oifname "eth0" masquerade
 }
}
"""


def build(lab: Lab) -> Host:
    host, up, office = lab.host("site"), lab.host("up"), lab.host("office")
    switch = lab.switch()
    lab.link(host, "eth0", up, "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    lab.plug(office, "eth0", switch, "192.168.7.2/24")
    lab.plug(host, "eth1", switch, "192.168.7.1/24")
    host.sysctl({"net.ipv4.ip_forward": 1})
    host.ip("route add default via 192.0.2.1")
    private, _ = key_pair(host)
    _, public = key_pair(up)
    peer = Peer(public_key=public, allowed_ips=["10.9.0.0/24"], endpoint="192.0.2.1:51820")
    lab.wireguard(host, "wg0", private, 51820, [peer])
    host.ip("address add 10.9.0.1/24 dev wg0\nlink set dev wg0 up")
    lab.nft(host, SCOPED)
    return host


test_drill = drill_test(
    Drill(
        rule="wg-masquerade-inside-tunnel",
        build=build,
        break_=lambda lab, host: host.sh("nft add rule ip nat post masquerade"),
        repair=None,
        severity="warning",
        expect={"kind": "nft-chain", "table": "nat", "chain": "post"},
    )
)
