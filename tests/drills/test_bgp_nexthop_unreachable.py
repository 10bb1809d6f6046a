"""A recursive next hop that loses its route: of a static route, of one that is announced, and of iBGP's routes."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import connects
from tests.lab import Host, Lab

HEAD = """router id {0}; protocol device {{}} protocol direct {{ ipv4; }}
protocol kernel {{ learn; scan time 1; ipv4 {{ export all; }}; }}
"""
SESSION = (
    "protocol bgp {name} {{ local {0} as 65000; neighbor {1} as 65000; connect delay time 1; connect retry time 1;"
    " ipv4 {{ import all; export {export}; }}; }}\n"
)
STATIC = "protocol static s1 { ipv4; route 10.50.4.0/24 recursive 10.99.99.99; route 10.50.5.0/24 unreachable; }\n"
OWN_TABLE = """ipv4 table t7; protocol direct d7 { ipv4 { table t7; }; }
protocol kernel k7 { learn; scan time 1; kernel table 7; ipv4 { table t7; export where source = RTS_STATIC; }; }
protocol static s7 { ipv4 { table t7; }; route 10.50.4.0/24 recursive 10.99.99.99; }
"""
INNER = """protocol static s2 { ipv4; route 10.60.0.0/24 blackhole;
  route 10.61.0.0/24 blackhole { bgp_community.add((65535, 666)); }; }
"""
OUTER = "filter { if net ~ [10.60.0.0/15+] then { bgp_next_hop = 10.99.99.99; accept; } reject; }"


def world(lab: Lab, mine: str, theirs: str = "") -> Host:
    """edge1 with a kernel route to 10.99.99.0/24, and edge2 behind it."""
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    host.ip("route add 10.99.99.0/24 via 192.0.2.2")
    if theirs:
        lab.birdd(peer, HEAD.format("192.0.2.2") + theirs)
    lab.birdd(host, HEAD.format("192.0.2.1") + mine)
    return host


def static(lab: Lab) -> Host:
    host = world(lab, STATIC)
    return ready(lab, host, "10.50.4.0/24 via")


def announced(lab: Lab) -> Host:
    one = SESSION.format("192.0.2.1", "192.0.2.2", name="up1", export="where source = RTS_STATIC")
    other = SESSION.format("192.0.2.2", "192.0.2.1", name="down1", export="none")
    host = world(lab, STATIC + one, other)
    lab.wait(lambda: "Established" in host.run("birdc", "show protocols").stdout, 15, "the session")
    return ready(lab, host, "10.50.4.0/24 via")


def in_a_table(lab: Lab) -> Host:
    """What BIRD says about such a route is not bound to the main table."""
    host = world(lab, OWN_TABLE)
    host.ip("rule add table 7 priority 100\nroute add 10.99.99.0/24 via 192.0.2.2 table 7")
    lab.wait(lambda: "10.50.4.0/24 via" in host.run("ip", "route", "show", "table", "7").stdout, 15, "table 7")
    return host


def lose_there(lab: Lab, host: Host) -> None:
    host.ip("route del 10.99.99.0/24 via 192.0.2.2 table 7\nroute del 10.99.99.0/24 via 192.0.2.2")
    told = ("ip", "route", "show", "table", "7")
    lab.wait(lambda: "unreachable" in host.run(*told).stdout, 10, "it is unresolved")


def give_back_there(lab: Lab, host: Host) -> None:
    host.ip("route add 10.99.99.0/24 via 192.0.2.2 table 7")


def learnt(lab: Lab) -> Host:
    one = SESSION.format("192.0.2.1", "192.0.2.2", name="up1", export="none")
    other = SESSION.format("192.0.2.2", "192.0.2.1", name="down1", export=OUTER)
    return ready(lab, world(lab, one, INNER + other), "10.60.0.0/24 via")


def ready(lab: Lab, host: Host, text: str) -> Host:
    lab.wait(lambda: text in host.run("ip", "route").stdout, 15, text)
    return host


def lose(lab: Lab, host: Host) -> None:
    host.ip("route del 10.99.99.0/24 via 192.0.2.2")
    lab.wait(lambda: "unreachable" in host.run("ip", "route").stdout.replace("10.50.5.0", ""), 10, "it is unresolved")


def give_back(lab: Lab, host: Host) -> None:
    host.ip("route add 10.99.99.0/24 via 192.0.2.2")


AGGREGATE = """protocol static agg { ipv4; route 10.0.0.0/8 blackhole; }
protocol bgp out1 { local 198.51.100.1 as 65000; neighbor 198.51.100.2 as 65009; connect delay time 1;
  connect retry time 1; ipv4 { import none; export where source = RTS_BGP; }; }
"""
OUTSIDE = """protocol bgp in1 { local 198.51.100.2 as 65009; neighbor 198.51.100.1 as 65000; connect delay time 1;
  connect retry time 1; ipv4 { import all; export none; }; }
"""


def under_an_aggregate(lab: Lab) -> Host:
    """edge1 passes on to edge3 what edge2 brought, and has an aggregate that covers the next hop as well."""
    one = SESSION.format("192.0.2.1", "192.0.2.2", name="up1", export="none")
    other = SESSION.format("192.0.2.2", "192.0.2.1", name="down1", export=OUTER)
    host, out = world(lab, one + AGGREGATE, INNER + other), lab.host("edge3")
    lab.link(host, "eth1", out, "eth0", a_addresses="198.51.100.1/30", b_addresses="198.51.100.2/30")
    lab.birdd(out, HEAD.format("198.51.100.2") + OUTSIDE)
    lab.wait(lambda: "10.60.0.0/24" in out.run("ip", "route").stdout, 20, "edge3 has learnt it")
    return ready(lab, host, "10.60.0.0/24 via")


def swallow(lab: Lab, host: Host) -> None:
    host.ip("route del 10.99.99.0/24 via 192.0.2.2")
    lab.wait(lambda: "blackhole 10.60.0.0/24" in host.run("ip", "route").stdout, 10, "the aggregate takes it")


test_drill = drill_test(
    Drill(
        rule="route-unreachable-proto-bird",
        carries=connects("10.50.4.9"),
        build=static,
        break_=lose,
        repair=give_back,
        severity="critical",
        expect={"kind": "route", "dst": "10.50.4.0/24", "table": 254},
    ),
    Drill(
        rule="route-unreachable-proto-bird",
        name="in-a-table",
        carries=connects("10.50.4.9"),
        build=in_a_table,
        break_=lose_there,
        repair=give_back_there,
        severity="critical",
        expect={"kind": "route", "dst": "10.50.4.0/24", "table": 7},
        explains=("bgp-nexthop-unreachable",),
    ),
    Drill(
        rule="bgp-exports-unreachable-route",
        carries=connects("10.50.4.9"),
        build=announced,
        break_=lose,
        repair=give_back,
        severity="critical",
        expect={"kind": "bgp-session", "name": "up1"},
        explains=("route-unreachable-proto-bird",),
    ),
    Drill(
        rule="bgp-nexthop-unreachable",
        carries=connects("10.60.0.9"),
        build=learnt,
        break_=lose,
        repair=give_back,
        severity="critical",
        expect={"kind": "bgp-session", "name": "up1", "next_hop": "10.99.99.99"},
        explains=("route-unreachable-proto-bird",),
    ),
    Drill(
        rule="bgp-exports-unreachable-route",
        name="swallowed",
        carries=connects("10.60.0.9"),
        build=under_an_aggregate,
        break_=swallow,
        repair=give_back,
        severity="warning",
        expect={"kind": "bgp-session", "name": "out1", "origin": "up1"},
    ),
)
