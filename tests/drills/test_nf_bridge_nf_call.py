"""Two machines on a bridge without an address, and a FORWARD policy that was meant for routed packets."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

POLICY = "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }\n}"
TWIN = """
table ip filter {
 chain FORWARD { type filter hook forward priority 0; policy drop
  iifname "br0" oifname "br0" accept
 }
}
"""


def build(lab: Lab) -> Host:
    host = lab.host("worker")
    host.ip("link add br0 type bridge\nlink set dev br0 up")
    for number in (1, 2):
        guest = lab.host(f"guest{number}")
        lab.link(host, f"p{number}", guest, "eth0", b_addresses=f"10.0.0.{number}/24")
        host.ip(f"link set dev p{number} master br0")
    host.sysctl({"net.bridge.bridge-nf-call-iptables": 0, "net.bridge.bridge-nf-call-ip6tables": 0})
    lab.nft(host, POLICY)
    return host


def twin(lab: Lab) -> Host:
    host = build(lab)
    host.sh("nft flush ruleset")
    lab.nft(host, TWIN)
    host.sysctl({"net.bridge.bridge-nf-call-iptables": 1})
    return host


DRILL = Drill(
    rule="nf-bridge-nf-call",
    build=build,
    break_=lambda lab, host: host.sysctl({"net.bridge.bridge-nf-call-iptables": 1}),
    repair=None,
    severity="critical",
    expect={"kind": "link", "ifname": "br0"},
    twin=twin,
)
test_drill = drill_test(DRILL)
