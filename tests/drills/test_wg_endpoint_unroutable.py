"""A blackhole over the endpoint; and a peer without an endpoint, which calls when it wants."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import connects
from tests.drills.wireguardworld import mesh
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    return mesh(lab)[0]


def build6(lab: Lab) -> Host:
    """A far peer of IPv6, by a default route."""
    host = build(lab)
    peer = host.run("wg", "show", "wg0", "peers").stdout.strip()
    host.run("wg", "set", "wg0", "peer", peer, "endpoint", "[2001:db8:9::9]:51820")
    host.sh("ip -6 route add default via 2001:db8::2 dev eth0")
    return host


test_drill = drill_test(
    Drill(
        rule="wg-endpoint-unroutable",
        name="blackhole",
        build=build,
        break_=lambda lab, host: host.ip("route add blackhole 192.0.2.2/32"),
        repair=None,
        severity="critical",
        expect={"kind": "wireguard-peer", "ifname": "wg0"},
        carries=connects("192.0.2.2", 51820, count=0),
        pings=False,  # a blackhole over a neighbour that is known is route-blackhole-unexpected
    ),
    Drill(
        rule="wg-endpoint-unroutable",
        name="IPv6, unreachable in a table of its own",
        build=build6,
        break_=lambda lab, host: host.sh(
            "ip -6 route add unreachable 2001:db8:9::/48 table 9; ip -6 rule add to 2001:db8:9::/48 table 9"
        ),
        repair=lambda lab, host: host.sh("ip -6 rule del table 9; ip -6 route flush table 9"),
        severity="critical",
        expect={"kind": "wireguard-peer", "ifname": "wg0"},
        pings=False,  # the endpoint follows the peer, once it speaks
    ),
)
