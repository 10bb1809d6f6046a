"""The endpoint's packets led into the tunnel, of IPv4 and IPv6; and wg-quick's rules, which keep them out of it."""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import full_tunnel, mesh
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    return mesh(lab)[0]


def build6(lab: Lab) -> Host:
    """The peer by its IPv6 address."""
    host = build(lab)
    peer = host.run("wg", "show", "wg0", "peers").stdout.strip()
    host.run("wg", "set", "wg0", "peer", peer, "endpoint", "[2001:db8::2]:51820")
    return host


test_drill = drill_test(
    Drill(
        rule="wg-endpoint-via-own-tunnel",
        name="host route",
        build=build,
        break_=lambda lab, host: host.ip("route add 192.0.2.2/32 dev wg0"),
        repair=lambda lab, host: host.ip("route del 192.0.2.2/32 dev wg0"),
        severity="critical",
        expect={"kind": "wireguard-peer", "ifname": "wg0"},
        explains=("wg-route-without-allowedips",),
        twin=full_tunnel,
    ),
    Drill(
        rule="wg-endpoint-via-own-tunnel",
        name="IPv6, by a rule and a table",
        build=build6,
        break_=lambda lab, host: host.sh(
            "ip -6 route add default dev wg0 table 7; ip -6 rule add to 2001:db8::/64 table 7"
        ),
        repair=lambda lab, host: host.sh("ip -6 rule del table 7; ip -6 route del default table 7"),
        severity="critical",
        expect={"kind": "wireguard-peer", "ifname": "wg0"},
    ),
)
