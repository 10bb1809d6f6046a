"""One address on two interfaces of one host."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

RULE = "addr-duplicate-same-host"


def two_networks(lab: Lab) -> Host:
    """pc eth0 ---- lan [router] dmz ---- eth0 web"""
    host = lab.host("router", sysctls={"net.ipv4.ip_forward": "1"})
    lab.link(
        host, "lan", lab.host("pc"), "eth0", a_addresses=["192.0.2.1/24", "2001:db8::1/64"], b_addresses="192.0.2.9/24"
    )
    lab.link(host, "dmz", lab.host("web"), "eth0", a_addresses="198.51.100.1/24", b_addresses="198.51.100.9/24")
    return host


def taps(lab: Lab) -> Host:
    """Virtual machines that share one gateway address, with a route each."""
    host = two_networks(lab)
    for number in range(3):
        host.ip(
            f"tuntap add dev tap{number} mode tap\nlink set dev tap{number} up\n"
            f"address add 169.254.0.1/32 dev tap{number}\naddress add 172.16.0.1/31 dev tap{number}\n"
            f"route add 10.9.0.{number}/32 dev tap{number}"
        )
    return host


def service_address(lab: Lab) -> Host:
    """The LAN's address lies on lo as well, and an unnumbered tunnel borrows it."""
    host = two_networks(lab)
    host.ip(
        "address add 192.0.2.1/32 dev lo\n"
        "tuntap add dev tun0 mode tun\nlink set dev tun0 up\naddress add 192.0.2.1 peer 10.8.0.2 dev tun0"
    )
    return host


def failover_pair(lab: Lab) -> Host:
    """The second interface has the same address and is down until it is needed."""
    host = two_networks(lab)
    host.ip("link add name idle type veth peer name idle1\naddress add 192.0.2.1/24 dev idle")
    return host


def without_route(lab: Lab) -> Host:
    host = two_networks(lab)
    host.ip("address add 192.0.2.1/24 dev dmz noprefixroute")
    return host


def bridged(lab: Lab) -> Host:
    """A bridge over the LAN's interface, with the address on the bridge."""
    host = lab.host("edge")
    lab.link(host, "eth0", lab.host("pc"), "eth0", b_addresses="192.0.2.9/24")
    host.ip(
        "link add name br0 type bridge\nlink set dev br0 up\nlink set dev eth0 master br0\n"
        "address add 192.0.2.1/24 dev br0"
    )
    return host


test_drill = drill_test(
    Drill(
        name="added to a second network",
        rule=RULE,
        build=two_networks,
        break_=lambda lab, host: host.ip("address add 192.0.2.1/24 dev dmz"),
        repair=None,
        severity="warning",
        expect={"kind": "address", "address": "192.0.2.1", "ifname": "dmz"},
        twin=taps,
        tolerate=("tap-no-owner-fd",),  # the lab's taps have no VMM
    ),
    Drill(
        name="IPv6",
        rule=RULE,
        build=two_networks,
        break_=lambda lab, host: host.ip("address add 2001:db8::1/64 dev dmz"),
        repair=None,
        expect={"kind": "address", "address": "2001:db8::1", "ifname": "dmz"},
        twin=service_address,
    ),
    Drill(
        name="another length",
        rule=RULE,
        build=two_networks,
        break_=lambda lab, host: host.ip("address add 192.0.2.1/28 dev dmz"),
        repair=lambda lab, host: host.ip("address del 192.0.2.1/28 dev dmz"),
        expect={"kind": "address", "address": "192.0.2.1"},
        twin=failover_pair,
    ),
    Drill(
        name="left on the port of a bridge",
        rule=RULE,
        build=bridged,
        break_=lambda lab, host: host.ip("address add 192.0.2.1/24 dev eth0"),
        repair=None,
        expect={"kind": "address", "address": "192.0.2.1", "ifname": "eth0"},
        twin=without_route,
    ),
)


def test_hosts_behind_the_second_interface_get_no_answer(lab: Lab) -> None:
    """As the message says: the reply leaves by the interface whose route wins."""
    host, other = lab.host("edge"), lab.host("other")
    lab.link(host, "eth0", lab.host("pc"), "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.9/24")
    lab.link(host, "eth1", other, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.8/24")
    for asker, answered in ((lab.hosts["pc"], True), (other, False)):
        ran = asker.run("ping", "-c1", "-W0.5", "192.0.2.1", check=False)
        assert (ran.returncode == 0) is answered
    (finding,) = host.report("--rule", RULE)["findings"]
    assert "192.0.2.0/24 leaves by eth0" in finding["message"]
