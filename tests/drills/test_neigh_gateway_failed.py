"""Gateways that do not answer: of default routes, a policy table, one leg of two; and failures that are none."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def ask(host: Host, *addresses: str) -> None:
    """Send something that way; nobody need answer."""
    for address in addresses:
        host.run("ping", "-c", "1", "-W", "0.1", address, check=False)


def meet(lab: Lab, host: Host, address: str) -> None:
    """Ask until there is an answer: one that came before the address did is not repeated by the kernel."""
    ping = ("ping", "-c", "1", "-W", "0.5", address)
    lab.wait(lambda: host.run(*ping, check=False).returncode == 0, what=f"{address} answers")


def build(lab: Lab) -> Host:
    host, gateway = lab.host("edge1"), lab.host("gw")
    lab.link(
        host,
        "eth0",
        gateway,
        "eth0",
        a_addresses=["192.0.2.2/24", "2001:db8::2/64"],
        b_addresses=["192.0.2.1/24", "2001:db8::1/64"],
    )
    host.ip("route add default via 192.0.2.1\nroute add default via 2001:db8::1")
    return host


def lose(lab: Lab, host: Host) -> None:
    """The gateway's address goes; the host has to ask again."""
    lab.hosts["gw"].ip("address del 192.0.2.1/24 dev eth0")
    host.ip("neigh flush dev eth0")
    ask(host, "203.0.113.1")


def find(lab: Lab, host: Host) -> None:
    lab.hosts["gw"].ip("address add 192.0.2.1/24 dev eth0")
    meet(lab, host, "192.0.2.1")


def build_two_ways(lab: Lab) -> Host:
    """Two uplinks, and one multipath route over both."""
    host, one, two = lab.host("edge1"), lab.host("gw"), lab.host("gw2")
    lab.link(host, "eth0", one, "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    lab.link(host, "eth1", two, "eth0", a_addresses="198.51.100.2/24", b_addresses="198.51.100.1/24")
    host.ip("route add default nexthop via 192.0.2.1 nexthop via 198.51.100.1")
    return host


def lose_one_way(lab: Lab, host: Host) -> None:
    lab.hosts["gw"].ip("address del 192.0.2.1/24 dev eth0")
    ask(host, "192.0.2.1")


def build_policy(lab: Lab) -> Host:
    """A source address with a routing table and a gateway of its own."""
    host = build(lab)
    lab.hosts["gw"].ip("address add 192.0.2.9/24 dev eth0")
    host.ip("address add 192.0.2.3/24 dev eth0\nroute add default via 192.0.2.9 table 100")
    host.ip("rule add from 192.0.2.3 table 100")
    return host


def lose_policy(lab: Lab, host: Host) -> None:
    lab.hosts["gw"].ip("address del 192.0.2.9/24 dev eth0")
    host.run("ping", "-c", "1", "-W", "0.1", "-I", "192.0.2.3", "203.0.113.1", check=False)


def find_policy(lab: Lab, host: Host) -> None:
    lab.hosts["gw"].ip("address add 192.0.2.9/24 dev eth0")
    meet(lab, host, "192.0.2.9")


def lose6(lab: Lab, host: Host) -> None:
    lab.hosts["gw"].ip("address del 2001:db8::1/64 dev eth0")
    host.ip("neigh flush dev eth0")
    ask(host, "2001:db8:ffff::1")


def find6(lab: Lab, host: Host) -> None:
    lab.hosts["gw"].ip("address add 2001:db8::1/64 dev eth0 nodad")
    meet(lab, host, "2001:db8::1")


def failed_but_no_gateway(lab: Lab) -> Host:
    """Somebody asked for addresses that are not there, in both families."""
    host = build(lab)
    ask(host, "192.0.2.77", "2001:db8::77")
    lab.wait(lambda: host.run("ip", "neigh", "show", "nud", "failed").stdout.count("FAILED") == 2)
    return host


def failed_stand_by(lab: Lab) -> Host:
    """The gateway of a worse metric is dead, and that of a table without a rule."""
    host = build(lab)
    host.ip("route add default via 192.0.2.66 metric 50\nroute add default via 192.0.2.67 table 200")
    ask(host, "192.0.2.66", "192.0.2.67")
    lab.wait(lambda: host.run("ip", "neigh", "show", "nud", "failed").stdout.count("FAILED") == 2)
    return host


RULE = "neigh-gateway-failed"
ABOUT = {"kind": "neighbour", "dst": "192.0.2.1", "ifname": "eth0"}
test_drill = drill_test(
    Drill(
        rule=RULE,
        name="default route",
        build=build,
        break_=lose,
        repair=find,
        severity="critical",
        expect=ABOUT,
        twin=failed_but_no_gateway,
    ),
    Drill(
        rule=RULE,
        name="IPv6",
        build=build,
        break_=lose6,
        repair=find6,
        severity="critical",
        expect={"dst": "2001:db8::1"},
        twin=failed_stand_by,
        tolerate=("table-without-rule",),  # the twin has such a table, which nobody asks
    ),
    Drill(
        rule=RULE,
        name="policy table",
        build=build_policy,
        break_=lose_policy,
        repair=find_policy,
        severity="critical",
        expect={"dst": "192.0.2.9"},
    ),
    Drill(
        rule=RULE,
        name="one leg of two",
        build=build_two_ways,
        break_=lose_one_way,
        repair=find,
        severity="critical",
        expect=ABOUT,
    ),
    Drill(
        rule=RULE,
        name="one leg of two, left out",
        build=lambda lab: (host := build_two_ways(lab), host.sysctl({"net.ipv4.fib_multipath_use_neigh": 1}))[0],
        break_=lose_one_way,
        repair=find,
        severity="warning",
        expect=ABOUT,
    ),
)
