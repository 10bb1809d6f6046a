"""A bridge loses its uplink; an idle bridge beside it never had one."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """upstream eth0 ---- eth0 [br0 on the host], and docker0 with nobody on it"""
    host, upstream = lab.host("edge1"), lab.host("upstream")
    lab.link(host, "eth0", upstream, "eth0", b_addresses=["192.0.2.2/24", "2001:db8::2/64"])
    host.ip(
        "link add br0 type bridge\nlink set dev eth0 master br0\nlink set dev br0 up\n"
        "address add 192.0.2.1/24 dev br0\n"
        "address add 2001:db8::1/64 dev br0\nlink add docker0 type bridge\naddress add 172.17.0.1/16 dev docker0\n"
        "link set dev docker0 up"
    )
    lab.wait(lambda: host.running("br0"), 5, "the bridge has a carrier")
    return host


def drill(name: str, route: str) -> Drill:
    def with_route(lab: Lab) -> Host:
        host = build(lab)
        host.ip(route)
        return host

    return Drill(
        name=name,
        rule="bridge-empty-linkdown",
        build=with_route,
        break_=lambda lab, host: host.ip("link set dev eth0 nomaster"),
        repair=lambda lab, host: host.ip("link set dev eth0 master br0"),
        settle=lambda lab, host: not host.running("br0"),
        severity="critical",
        expect={"kind": "link", "ifname": "br0"},
        twin=build,
    )


test_drill = drill_test(
    drill("IPv4", "route add default via 192.0.2.2"), drill("IPv6", "route add default via 2001:db8::2")
)
