"""One guest of the uplink's own /64 is left out of the proxy entries."""

from tests.drills.harness import Drill, drill_test
from tests.drills.tapworld import boot
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """Two guests of the uplink's prefix, each with its route and its entry."""
    host, gateway = lab.host("edge1", sysctls={"net.ipv6.conf.all.forwarding": "1"}), lab.host("gw")
    lab.link(host, "eth0", gateway, "eth0", a_addresses="2001:db8::2/64", b_addresses="2001:db8::1/64")
    host.ip("route add default via 2001:db8::1")
    host.sysctl({"net/ipv6/conf/eth0/proxy_ndp": 1})
    for number, ifname in ((5, "tap0"), (6, "tap1")):
        host.ip(f"tuntap add dev {ifname} mode tap vnet_hdr\nlink set {ifname} up")
        host.ip(f"route add 2001:db8::{number}/128 dev {ifname}\nneigh add proxy 2001:db8::{number} dev eth0")
        boot(host, ifname)
    return host


def asked_for(lab: Lab, host: Host) -> bool:
    """The gateway asks who has the second guest's address, and is answered."""
    gateway = lab.hosts["gw"]
    gateway.sh("ip neigh flush to 2001:db8::6 dev eth0; ping -c1 -W0.3 2001:db8::6", check=False)
    return "lladdr" in gateway.run("ip", "neigh", "show", "to", "2001:db8::6", "dev", "eth0", check=False).stdout


def routed(lab: Lab) -> Host:
    """A block that is routed to the host, beside the guests that are answered for."""
    host = build(lab)
    host.ip("route add 2001:db8:1::7/128 dev tap1")
    return host


test_drill = drill_test(
    Drill(
        rule="proxy-ndp-missing",
        build=build,
        break_=lambda lab, host: host.ip("neigh del proxy 2001:db8::6 dev eth0"),
        repair=None,
        severity="critical",
        expect={"kind": "neighbour", "dst": "2001:db8::6", "ifname": "eth0"},
        carries=asked_for,
        twin=routed,
    )
)
