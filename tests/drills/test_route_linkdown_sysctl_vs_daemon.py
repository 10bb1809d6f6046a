"""A customer's cable is pulled, the kernel ignores the route, BIRD goes on announcing the prefix."""

from tests.drills.bgp import conf, session, world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

DIRECT = 'protocol direct { ipv4; interface "cust0"; }'


def build(lab: Lab) -> Host:
    host = world(lab)
    customer = lab.host("customer")
    lab.link(host, "cust0", customer, "eth0", a_addresses="198.51.100.1/24", b_addresses="198.51.100.2/24")
    host.sysctl({"net.ipv4.conf.all.ignore_routes_with_linkdown": 1})
    host.write("/etc/bird/bird.conf", conf("edge1", session("up1", "edge2"), DIRECT))
    host.run("birdc", "configure")
    lab.wait(lambda: "198.51.100.0/24" in host.run("birdc", "show route export up1").stdout, 10, "it is announced")
    return host


test_drill = drill_test(
    Drill(
        rule="route-linkdown-sysctl-vs-daemon",
        build=build,
        break_=lambda lab, host: lab.hosts["customer"].ip("link set dev eth0 down"),
        repair=lambda lab, host: lab.hosts["customer"].ip("link set dev eth0 up"),
        severity="warning",
        expect={"kind": "prefix", "prefix": "198.51.100.0/24"},
        settle=lambda lab, host: not host.running("cust0"),
    ),
)
