"""Connected subnets that take hosts away from each other."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

RULE = "overlap-subnet-two-ifaces"


def lan(lab: Lab) -> Host:
    """pc eth0 10.0.0.9 ---- 10.0.0.1 eth0 [worker]"""
    host = lab.host("worker")
    lab.link(
        host, "eth0", lab.host("pc"), "eth0",
        a_addresses=["10.0.0.1/24", "2001:db8::1/48"], b_addresses=["10.0.0.9/24", "2001:db8:0:7::9/48"],
    )  # fmt: skip
    return host


def bridge(host: Host, *addresses: str) -> None:
    """A container network, still without containers."""
    host.ip("link add name br0 type bridge\nlink set dev br0 up")
    for address in addresses:
        host.ip(f"address add {address} dev br0")


def no_bridge(lab: Lab, host: Host) -> None:
    host.ip("link del dev br0")


def second_card(lab: Lab, host: Host) -> None:
    """A second cable to a host of the same subnet."""
    lab.link(host, "eth1", lab.host("nas"), "eth0", a_addresses="10.0.0.2/24", b_addresses="10.0.0.8/24")


def proxied_hosts(lab: Lab) -> Host:
    """Guests with addresses of the LAN, one route each, and a range that is proxied on purpose."""
    host = lan(lab)
    host.sysctl({"net.ipv4.conf.eth0.proxy_arp": 1})
    for number in range(3):
        host.ip(f"tuntap add dev tap{number} mode tap\nlink set dev tap{number} up")
        host.ip(f"address add 10.0.0.1/32 dev tap{number}\nroute add 10.0.0.{20 + number}/32 dev tap{number}")
    bridge(host, "10.0.0.129/26")
    return host


def mesh(lab: Lab) -> Host:
    """An overlay of a /8 on a tunnel, this host's slice of it on a bridge."""
    host = lan(lab)
    host.ip("tuntap add dev mesh0 mode tun\nlink set dev mesh0 up\naddress add 172.16.0.1/12 dev mesh0")
    bridge(host, "172.16.5.1/24")
    return host


def two_cards_by_source(lab: Lab) -> Host:
    """Multihomed: each address has a table of its own."""
    host = lan(lab)
    second_card(lab, host)
    for table, (ifname, address) in {101: ("eth0", "10.0.0.1"), 102: ("eth1", "10.0.0.2")}.items():
        host.ip(
            f"rule add from {address} lookup {table}\nroute add 10.0.0.0/24 dev {ifname} src {address} table {table}"
        )
    host.sysctl({"net.ipv4.conf.all.arp_filter": 1})
    return host


def two_cards_by_metric(lab: Lab) -> Host:
    """Cable and radio in one subnet: the cable is preferred."""
    host = lan(lab)
    second_card(lab, host)
    host.ip("address del 10.0.0.2/24 dev eth1\naddress add 10.0.0.2/24 dev eth1 metric 600")
    return host


def macvlan(lab: Lab) -> Host:
    """The host's own foot in a macvlan network, on the very cable that it hangs on."""
    host = lan(lab)
    host.ip(
        "link add link eth0 name shim type macvlan mode bridge\nlink set dev shim up\naddress add 10.0.0.3/24 dev shim"
    )
    return host


test_drill = drill_test(
    Drill(
        name="half of the LAN on a bridge",
        rule=RULE,
        build=lan,
        break_=lambda lab, host: bridge(host, "10.0.0.126/25"),
        repair=None,
        severity="warning",
        expect={"kind": "route", "dst": "10.0.0.0/25", "ifname": "br0"},
        twin=proxied_hosts,
        tolerate=("tap-no-owner-fd",),  # the lab's taps have no VMM
    ),
    Drill(
        name="IPv6",
        rule=RULE,
        build=lan,
        break_=lambda lab, host: bridge(host, "2001:db8:0:7::1/64"),
        repair=no_bridge,
        expect={"kind": "route", "dst": "2001:db8:0:7::/64", "ifname": "br0"},
        twin=two_cards_by_metric,
    ),
    Drill(
        name="a pool around the LAN",
        rule=RULE,
        build=lan,
        break_=lambda lab, host: bridge(host, "10.0.255.1/16"),
        repair=no_bridge,
        expect={"kind": "route", "dst": "10.0.0.0/24", "ifname": "eth0"},
        twin=macvlan,
    ),
    Drill(
        name="two cards in one subnet",
        rule=RULE,
        build=lan,
        break_=second_card,
        repair=None,
        expect={"kind": "route", "dst": "10.0.0.0/24", "ifname": "eth1"},
        twin=two_cards_by_source,
    ),
)


def test_hosts_of_the_narrow_range_are_lost(lab: Lab) -> None:
    """pc is in the range that the bridge took: it answered before."""
    host = lan(lab)
    assert host.run("ping", "-c1", "-W1", "10.0.0.9", check=False).returncode == 0
    bridge(host, "10.0.0.126/25")
    assert host.run("ping", "-c1", "-W0.5", "10.0.0.9", check=False).returncode != 0


def test_a_slice_of_an_overlay_is_only_mentioned(lab: Lab) -> None:
    report = mesh(lab).report()
    assert [(row["rule"], row["severity"]) for row in report["findings"]] == [(RULE, "info")]
    assert report["verdict"] == "ok"
