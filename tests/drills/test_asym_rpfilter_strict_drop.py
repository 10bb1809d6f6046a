"""A strict reverse path filter in the way of answers; and strict hosts whose ways are symmetric."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import arrives
from tests.lab import Host, Lab

STRICT = {"net.ipv4.conf.all.rp_filter": 1}


def build(lab: Lab) -> Host:
    """Two uplinks to one router with an address of its own beyond them; both filters strict, the ways symmetric."""
    host, router = lab.host("edge1"), lab.host("router")
    for number in (0, 1):
        lab.link(
            host,
            f"eth{number}",
            router,
            f"eth{number}",
            a_addresses=f"10.{number}.0.1/24",
            b_addresses=f"10.{number}.0.2/24",
        )
    router.ip("address add 203.0.113.9/32 dev lo")
    host.ip("route add default via 10.0.0.2\nroute add default via 10.1.0.2 table 101")
    host.ip("rule add pref 100 from 10.1.0.1 lookup 101")
    host.sysctl(STRICT)
    # The ARP request of a packet that the filter refuses is refused too: both sides know each other already.
    router.ip("neighbour replace 10.1.0.1 lladdr " + _mac(host, "eth1") + " dev eth1")
    return host


def _mac(host: Host, ifname: str) -> str:
    return host.read(f"/sys/class/net/{ifname}/address").strip()


def talk(lab: Lab, host: Host) -> None:
    """The router talks to the second uplink's address."""
    router = lab.hosts["router"]
    lab.send_udp(router, "10.1.0.1", 9, count=5, src="203.0.113.9")


def plain(lab: Lab) -> Host:
    """The second link without any route of its own: only the counter can tell."""
    host = build(lab)
    host.ip("rule del pref 100\nroute del default table 101")
    host.ip("route add 203.0.113.9 via 10.1.0.2")
    return host


def loose(lab: Lab) -> Host:
    """all=2 makes an interface's own 1 loose."""
    host = build(lab)
    host.sysctl({"net.ipv4.conf.all.rp_filter": 2, "net.ipv4.conf.eth1.rp_filter": 1})
    host.ip("rule del pref 100\nrule add pref 100 fwmark 1 lookup 101")
    return host


def ecmp(lab: Lab) -> Host:
    """Both uplinks in one route, and a standby metric beside it."""
    host = build(lab)
    host.ip("rule del pref 100\nroute del default table 101\nroute del default")
    host.ip("route add default nexthop via 10.0.0.2 nexthop via 10.1.0.2\nroute add default via 10.1.0.2 metric 100")
    return host


RULE = "asym-rpfilter-strict-drop"
EXPECT = {"kind": "link", "ifname": "eth1"}
test_drill = drill_test(
    Drill(
        rule=RULE,
        name="marked instead of by source",
        build=build,
        break_=lambda lab, host: host.ip("rule del pref 100\nrule add pref 100 fwmark 1 lookup 101"),
        repair=None,
        severity="warning",
        expect=EXPECT,
        twin=loose,
    ),
    Drill(
        rule="table-without-rule",  # the cause; the drops stand under it
        explains=(RULE,),
        name="rule lost, traffic dropped",
        build=build,
        during=talk,
        break_=lambda lab, host: host.ip("rule del pref 100"),
        repair=lambda lab, host: host.ip("rule add pref 100 from 10.1.0.1 lookup 101"),
        severity="critical",
        carries=arrives("router", "10.1.0.1", src="203.0.113.9"),
        twin=ecmp,
    ),
    Drill(
        rule=RULE,
        name="told by the counter alone",
        build=plain,
        during=talk,
        break_=lambda lab, host: host.ip("route del 203.0.113.9 via 10.1.0.2"),
        repair=None,
        severity="warning",
        expect=EXPECT,
    ),
)
