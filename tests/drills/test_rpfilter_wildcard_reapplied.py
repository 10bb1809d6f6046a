"""A wildcard of sysctl.d that hit one interface of many again."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab, strict: int = 0) -> Host:
    """Three customers, none filtered, or all."""
    host = lab.host("edge1")
    for number in range(3):
        peer = lab.host(f"cust{number}")
        lab.link(
            host, f"cust{number}", peer, "eth0", a_addresses=f"10.0.{number}.1/24", b_addresses=f"10.0.{number}.2/24"
        )
        host.sysctl({f"net.ipv4.conf.cust{number}.rp_filter": strict})
    host.sysctl({"net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.default.rp_filter": 0})
    return host


test_drill = drill_test(
    Drill(
        rule="rpfilter-wildcard-reapplied",
        build=build,
        break_=lambda lab, host: host.sysctl({"net.ipv4.conf.cust1.rp_filter": 1}),
        repair=None,
        severity="warning",
        expect={"kind": "link", "ifname": "cust1"},
        twin=lambda lab: build(lab, 1),
    ),
)
