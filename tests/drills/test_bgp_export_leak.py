"""A prefix list that was emptied, so that inner prefixes go to a neighbour with a public AS."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import goes
from tests.lab import Host, Lab

CONF = """
router id {me};
protocol device {{}}
protocol kernel {{ ipv4 {{ export all; }}; }}
protocol static {{ ipv4; {routes} }}
protocol bgp {name} {{ local as {mine}; neighbor {peer} as {theirs}; connect delay time 1; connect retry time 1;
  ipv4 {{ import all; export {export}; }}; }}
"""
OWN = "where net ~ [198.51.100.0/24]"
ROUTES = "route 198.51.100.0/24 blackhole; route 10.1.0.0/16 blackhole;"


def edge(export: str) -> str:
    return CONF.format(
        me="192.0.2.1", peer="192.0.2.2", name="up1", mine=65001, theirs=3320, routes=ROUTES, export=export
    )


def build(lab: Lab) -> Host:
    """edge2, of another AS, has its own way to 10.1.0.1: by its default route."""
    host, peer, far = lab.host("edge1"), lab.host("edge2"), lab.host("far")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    lab.link(peer, "eth1", far, "eth0", a_addresses="198.18.0.1/30", b_addresses="198.18.0.2/30")
    peer.ip("route add default via 198.18.0.2")
    far.ip("address add 10.1.0.1/32 dev lo")
    names = {"me": "192.0.2.2", "peer": "192.0.2.1", "name": "down1", "mine": 3320, "theirs": 65001}
    lab.birdd(peer, CONF.format(**names, routes="route 203.0.113.0/24 blackhole;", export="all"))
    lab.birdd(host, edge(OWN))
    lab.wait(lambda: "Established" in host.run("birdc", "show protocols").stdout, 15, "the session")
    return host


def configured(lab: Lab, host: Host, export: str) -> None:
    host.write("/etc/bird/bird.conf", edge(export))
    host.run("birdc", "configure")


test_drill = drill_test(
    Drill(
        rule="bgp-export-leak",
        build=build,
        break_=lambda lab, host: configured(lab, host, "all"),
        repair=lambda lab, host: configured(lab, host, OWN),
        carries=lambda lab, host: goes(lab.hosts["edge2"], "10.1.0.1"),
        severity="critical",
        expect={"kind": "bgp-session", "name": "up1"},
    ),
)
