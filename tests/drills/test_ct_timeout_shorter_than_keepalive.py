"""A gateway that forgets connections after a minute."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

NAT = """
table ip nat { chain post { type nat hook postrouting priority srcnat
  oifname "eth0" masquerade
 }
}
"""
NAME = "net.netfilter.nf_conntrack_tcp_timeout_established"


def build(lab: Lab) -> Host:
    host = lab.host("gateway")
    host.sysctl({"net.ipv4.ip_forward": 1})
    lab.nft(host, NAT)
    return host


DRILL = Drill(
    rule="ct-timeout-shorter-than-keepalive",
    build=build,
    break_=lambda lab, host: host.sysctl({NAME: 60}),
    repair=None,
    severity="warning",
    expect={"kind": "sysctl", "name": NAME},
)
test_drill = drill_test(DRILL)
