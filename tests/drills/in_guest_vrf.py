"""VRFs, and two WireGuard interfaces of one port: kinds of interface that the test machine's kernel has not.

Run by test_vrf.py beside it, in the guest. Not collected by itself.

    10.0.0.2 customer1 --- eth1 red  \\
                                      provider eth0 --- 192.0.2.1 gateway
    10.0.0.2 customer2 --- eth2 blue /
"""

from __future__ import annotations

from tests.drills.harness import Drill, run_in_turn
from tests.lab import Host, Lab
from tests.lab.daemons import key_pair

REFUSED = "default metric 4278198272"
VRFS = {"red": ("eth1", 10), "blue": ("eth2", 20)}


def provider(lab: Lab) -> Host:
    """Two VRFs with the same prefixes and addresses, of which red knows one prefix of blue's and the uplink's subnet;
    set up as Documentation/networking/vrf.rst says."""
    host, gateway = lab.host("provider"), lab.host("gateway")
    ours, theirs = ["192.0.2.10/24", "2001:db8::10/64"], ["192.0.2.1/24", "2001:db8::1/64"]
    lab.link(host, "eth0", gateway, "eth0", a_addresses=ours, b_addresses=theirs)
    forwarding = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}
    host.sysctl(forwarding | {"net.ipv4.tcp_l3mdev_accept": 1, "net.ipv4.udp_l3mdev_accept": 1})
    host.ip("route add default via 192.0.2.1\nroute add default via 2001:db8::1")
    for name, (ifname, table) in VRFS.items():
        customer = lab.host(f"customer{table // 10}")
        lab.link(host, ifname, customer, "eth0", b_addresses=["10.0.0.2/24", "2001:db8:a::2/64"], up=False)
        customer.ip("link set dev eth0 up\nroute add default via 10.0.0.1\nroute add default via 2001:db8:a::1")
        host.ip(
            f"""link add {name} type vrf table {table}
            link set dev {name} up
            link set dev {ifname} master {name}
            link set dev {ifname} up
            address add 10.0.0.1/24 dev {ifname}
            address add 2001:db8:a::1/64 dev {ifname}
            route add unreachable {REFUSED} table {table}
            route add 10.{table}.0.0/16 via 10.0.0.2 dev {ifname} table {table}"""
        )
        host.sh(f"ip -6 route add unreachable {REFUSED} table {table}")
    host.ip("route add 10.20.0.0/16 dev blue table 10\nroute add 192.0.2.0/24 dev eth0 table 10")
    for family in ("-4", "-6"):
        host.sh(f"ip {family} rule add pref 32765 lookup local; ip {family} rule del pref 0")
    tunnels(host)
    lab.wait(lambda: reaches(host, "red") and reaches(host, "blue"), 20, "both customers answer")
    return host


def reaches(host: Host, vrf: str) -> bool:
    return not host.run("ping", "-I", vrf, "-c", "1", "-W", "1", "10.0.0.2", check=False).returncode


def tunnels(host: Host) -> None:
    """wg0 and wg1, each with a peer and a port of its own."""
    for number in (0, 1):
        name, peer = f"wg{number}", key_pair(host)[1]
        host.write("/run/key", key_pair(host)[0])
        host.ip(f"link add {name} type wireguard")
        peers = f"peer {peer} allowed-ips 10.{number + 1}.0.2/32"
        host.run(*f"wg set {name} private-key /run/key listen-port {51820 + number} {peers}".split())
        host.ip(f"address add 10.{number + 1}.0.1/24 dev {name}\nlink set dev {name} up")


def restarted(lab: Lab, host: Host) -> None:
    """wg1 comes up again with the other one's port, or would."""
    host.sh("ip link set dev wg1 down; wg set wg1 listen-port 51820; ! ip link set dev wg1 up 2> /dev/null")


DRILLS = (
    Drill(
        name="no l3mdev rule",
        rule="table-without-rule",
        build=provider,
        break_=lambda lab, host: host.sh("ip -4 rule del pref 1000"),
        repair=None,
        carries=lambda lab, host: reaches(host, "red"),
        severity="critical",
        expect={"kind": "route"},
    ),
    Drill(
        name="a VRF without its prefix",
        rule="route-onlink-missing-gateway",
        build=provider,
        break_=lambda lab, host: host.ip("route del 10.0.0.0/24 dev eth1 table 10"),
        repair=None,
        expect={"kind": "route", "table": 10},
    ),
    Drill(
        name="one port for two",
        rule="wg-multi-iface-port-conflict",
        build=provider,
        break_=restarted,
        repair=None,
        carries=lambda lab, host: " dev wg1 " in host.run("ip", "route", "get", "10.2.0.2").stdout,
        severity="critical",
        expect={"kind": "wireguard-interface", "ifname": "wg1"},
    ),
)


def test_a_healthy_host_and_a_lost_rule(lab: Lab) -> None:
    run_in_turn(DRILLS[:1], lab)


def test_a_lost_prefix_and_a_port_that_is_taken(lab: Lab) -> None:
    run_in_turn(DRILLS[1:], lab)
