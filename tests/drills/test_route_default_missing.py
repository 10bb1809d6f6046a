"""Default routes that go: by hand, with a nexthop object, under a router and its guests; and hosts that need none."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

BEYOND, BEYOND6 = "203.0.113.9", "2001:db8:ffff::9"


def attempt(host: Host, address: str = BEYOND) -> None:
    """Somebody on the host wants to go there; the answer does not matter."""
    host.run("ping", "-c", "1", "-W", "0.1", address, check=False)


def uplink(lab: Lab) -> Host:
    """A host on a network with a router, and no default route yet."""
    host, gateway = lab.host("edge1"), lab.host("gw", sysctls={"net.ipv4.ip_forward": "1"})
    gateway.sysctl({"net.ipv6.conf.all.forwarding": 1})
    ours, theirs = ["192.0.2.2/24", "2001:db8::2/64"], ["192.0.2.1/24", "2001:db8::1/64"]
    lab.link(host, "eth0", gateway, "eth0", a_addresses=ours, b_addresses=theirs)
    gateway.ip(f"address add {BEYOND}/32 dev lo\naddress add {BEYOND6}/128 dev lo")
    return host


def build(lab: Lab) -> Host:
    host = uplink(lab)
    host.ip("route add default via 192.0.2.1\nroute add default via 2001:db8::1")
    attempt(host)
    attempt(host, BEYOND6)
    return host


def build4(lab: Lab) -> Host:
    host = uplink(lab)
    host.ip("route add default via 192.0.2.1")
    attempt(host)
    return host


def build_object(lab: Lab) -> Host:
    """The default route by a nexthop object, which the kernel deletes with the carrier."""
    host = uplink(lab)
    host.ip("nexthop add id 1 via 192.0.2.1 dev eth0\nroute add default nhid 1")
    return host


def build_router(lab: Lab) -> Host:
    """A router with a guest network."""
    router, guest = build4(lab), lab.host("guest")
    router.sysctl({"net.ipv4.ip_forward": 1})
    lab.link(router, "eth1", guest, "eth0", a_addresses="198.51.100.1/24", b_addresses="198.51.100.2/24")
    guest.ip("route add default via 198.51.100.1")
    return router


def build_tunnel(lab: Lab) -> Host:
    """A tunnel whose far end lies beyond the uplink; nobody sends anything."""
    host = build4(lab)
    host.ip(f"link add vx0 type vxlan id 7 dstport 4789 local 192.0.2.2 remote {BEYOND}\nlink set vx0 up mtu 1450")
    return host


def lose(lab: Lab, host: Host) -> None:
    host.ip("route del default")
    attempt(host)


def lose6(lab: Lab, host: Host) -> None:
    host.run("ip", "-6", "route", "del", "default")
    attempt(host, BEYOND6)


def lose_both(lab: Lab, host: Host) -> None:
    lose(lab, host)
    lose6(lab, host)


def lose_carrier(lab: Lab, host: Host) -> None:
    lab.hosts["gw"].ip("link set dev eth0 down")
    lab.wait(lambda: not host.run("ip", "nexthop").stdout, what="the nexthop object is gone")
    lab.hosts["gw"].ip("link set dev eth0 up")
    lab.wait(lambda: host.running("eth0"))
    attempt(host)


def find_object(lab: Lab, host: Host) -> None:
    host.ip("nexthop add id 1 via 192.0.2.1 dev eth0\nroute add default nhid 1")


def connected_only(lab: Lab) -> Host:
    """A host that knows its neighbours and was never meant to go further; it has tried nothing else."""
    host = uplink(lab)
    host.run("ping", "-c", "1", "-W", "1", "192.0.2.1")
    host.run("ping", "-c", "1", "-W", "1", "2001:db8::1")
    return host


def full_table(lab: Lab) -> Host:
    """A router with many routes and no default route, which is asked for what it has not."""
    host = uplink(lab)
    host.ip("\n".join(f"route add 10.{number}.0.0/16 via 192.0.2.1" for number in range(200)))
    attempt(host)
    return host


def routed_by_daemon(lab: Lab) -> Host:
    host = uplink(lab)
    host.ip("route add 10.0.0.0/8 via 192.0.2.1 proto babel")
    attempt(host)
    return host


def only_loopback(lab: Lab) -> Host:
    """An isolated namespace in which a program tries to reach the world."""
    host = lab.host("box")
    attempt(host)
    attempt(host, BEYOND6)
    return host


def own_table(lab: Lab) -> Host:
    """Only packets with the right source have a way out."""
    host = uplink(lab)
    host.ip("rule add from 192.0.2.2 table 100\nroute add default via 192.0.2.1 table 100")
    attempt(host)
    return host


def tunnel_first(lab: Lab) -> Host:
    """A tunnel's daemon that sent before the network was there; the host needs no way beyond its subnet."""
    host, peer = lab.host("edge1"), lab.host("edge2")
    host.ip("tuntap add wg0 mode tun\nlink set wg0 up\naddress add 10.0.0.1/24 dev wg0")
    attempt(host, "192.0.2.2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    attempt(host, "192.0.2.2")
    return host


RULE = "route-default-missing"
ABOUT = {"kind": "route", "dst": "0.0.0.0/0", "table": 254}
test_drill = drill_test(
    Drill(rule=RULE, name="IPv4", build=build4, break_=lose, repair=None, expect=ABOUT, twin=connected_only),
    Drill(rule=RULE, name="IPv4 of both", build=build, break_=lose, repair=None, expect=ABOUT, twin=only_loopback),
    Drill(
        rule=RULE,
        name="both",
        build=build,
        break_=lose_both,
        repair=lambda lab, host: host.ip("route add default via 192.0.2.1\nroute add default via 2001:db8::1"),
        twin=full_table,
    ),
    Drill(
        rule=RULE,
        name="IPv6 of both",
        build=build,
        break_=lose6,
        repair=None,
        expect=ABOUT | {"dst": "::/0"},
        twin=own_table,
    ),
    Drill(
        rule=RULE,
        name="nexthop object",
        build=build_object,
        break_=lose_carrier,
        repair=find_object,
        expect=ABOUT,
        twin=routed_by_daemon,
    ),
    Drill(
        rule=RULE,
        name="while programs try",
        build=build4,
        break_=lambda lab, host: host.ip("route del default"),
        during=lambda lab, host: attempt(host),
        repair=None,
        severity="critical",
        expect=ABOUT,
    ),
    Drill(
        rule=RULE,
        name="while guests try",
        build=build_router,
        break_=lambda lab, host: host.ip("route del default"),
        during=lambda lab, host: attempt(lab.hosts["guest"]),
        repair=None,
        severity="critical",
        expect=ABOUT,
    ),
    Drill(
        rule=RULE,
        name="tunnel",
        build=build_tunnel,
        break_=lambda lab, host: host.ip("route del default"),
        repair=None,
        severity="critical",
        expect=ABOUT,
        twin=tunnel_first,
    ),
)
