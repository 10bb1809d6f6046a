"""A tunnel for everything by a mark, and a reverse path filter of nftables that does not know the mark."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab.daemons import Peer, key_pair

FIB = (
    "table inet fw {{ chain pre {{ type filter hook prerouting priority -150\n fib saddr . {} oif missing drop\n}}\n}}"
)


def build(lab: Lab) -> Host:
    host, up = lab.host("client"), lab.host("up")
    lab.link(host, "eth0", up, "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    host.ip("route add default via 192.0.2.1")
    up.ip("address add 198.51.100.7/32 dev lo")
    private, own = key_pair(host)
    far, public = key_pair(up)
    peer = Peer(public_key=public, allowed_ips=["0.0.0.0/0"], endpoint="198.51.100.7:51820")
    lab.wireguard(host, "wg0", private, 51820, [peer])
    lab.wireguard(up, "wg0", far, 51820, [Peer(public_key=own, allowed_ips=["10.9.0.2/32"])])
    host.ip("address add 10.9.0.2/24 dev wg0\nlink set dev wg0 up")
    up.ip("address add 10.9.0.1/24 dev wg0\nlink set dev wg0 up")
    host.run("wg", "set", "wg0", "fwmark", "51820")
    host.ip(
        "route add default dev wg0 table 51820\nrule add not fwmark 51820 table 51820 priority 32765\n"
        "rule add table main suppress_prefixlength 0 priority 32764"
    )
    host.sysctl({"net.ipv4.conf.all.src_valid_mark": 1})
    return host


def twin(lab: Lab) -> Host:
    host = build(lab)
    lab.nft(host, FIB.format("mark . iif"))
    return host


DRILL = Drill(
    rule="nf-rpfilter-nft-fib",
    build=build,
    break_=lambda lab, host: lab.nft(host, FIB.format("iif")),
    repair=None,
    severity="critical",
    expect={"kind": "nft-chain", "table": "fw", "chain": "pre"},
    twin=twin,
)
test_drill = drill_test(DRILL)
