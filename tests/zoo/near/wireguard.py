"""Near misses of the domain wireguard."""

from typing import Any

from netdiag.model.snapshot import Tables
from tests.zoo.near import ByTest, Line, Near, Shown, chains, link, links, routes, rules, some


def peers(tables: Tables, ifname: str, **want: Any) -> list[Any]:
    """Peers of a device."""
    return some((peer for row in tables.wireguard.devices if row.ifname == ifname for peer in row.peers), **want)


LINES: tuple[Line, ...] = (
    Near(
        "wg-allowedips-duplicate-moved",
        "a peer that was made ahead, without a prefix",
        "mesh_hub",
        lambda t: peers(t, "wg0", allowed_ips=(), endpoint=None),
    ),
    Near(
        "wg-allowedips-without-route",
        "everything is allowed, a little is routed",
        "customer_gateway",
        lambda t: peers(t, "wg2", allowed_ips=("::/0", "0.0.0.0/0")) and routes(t, dev="wg2", dst="10.67.9.0/24"),
    ),
    Near(
        "wg-conntrack-stale-snat",
        "the source that the rule gives now",
        "customer_gateway",
        lambda t: some(t.conntrack.rows(), reply_dst="203.0.113.41", orig_dport=51820, snat=True),
    ),
    Near(
        "wg-desired-vs-kernel-drift",
        "peers come when they call: the intent names none",
        "customer_gateway",
        lambda t: some(t.intent.wireguard, ifname="wg0", peer=None) and len(peers(t, "wg0")) == 1200,
    ),
    Near(
        "wg-desired-vs-kernel-drift",
        "a peer that nothing points to was taken away",
        "after_the_night",
        lambda t: len(peers(t, "wg0")) == 1 and not routes(t, dst="10.64.0.8/32"),
    ),
    Shown("wg-desired-vs-kernel-drift", "a host that drains", "labelled drained"),
    Shown("wg-desired-vs-kernel-drift", "nothing fresh to compare with", "no section"),
    Near(
        "wg-endpoint-unroutable",
        "it roamed and is not used",
        "mesh_hub",
        lambda t: peers(t, "wg0", endpoint="fd00:77::9", persistent_keepalive=0),
    ),
    Near(
        "wg-endpoint-via-own-tunnel",
        "the mark leads its own packets past the tunnel",
        "full_tunnel",
        lambda t: t.wireguard.devices[0].fwmark == 51820 and routes(t, dst="0.0.0.0/0", dev="wg0", table=51820),
    ),
    Near(
        "wg-endpoint-via-own-tunnel",
        "a tunnel in a tunnel",
        "customer_gateway",
        lambda t: peers(t, "wg1", endpoint="10.65.1.1") and routes(t, dst="10.65.0.0/16", dev="wg0"),
    ),
    Near(
        "wg-fwmark-rule-missing",
        "a mark for the firewall alone",
        "mesh_hub",
        lambda t: (
            t.wireguard.devices[0].fwmark == 0x20
            and rules(t, name="meta", key="mark")
            and not some(t.rules, fwmark=0x20)
        ),
    ),
    Near(
        "wg-handshake-stale",
        "no traffic and no keepalive: most of a mesh",
        "mesh_hub",
        lambda t: peers(
            t, "wg0", persistent_keepalive=0, latest_handshake=lambda at: at and t.wireguard.at - at > 80_000
        ),
    ),
    Near(
        "wg-handshake-stale",
        "nothing was sent to it between the looks",
        "mesh_hub",
        lambda t: some(t.wireguard.second, tx_bytes=0),
    ),
    Near(
        "wg-handshake-stale",
        "a handshake from before this boot, by a clock that was set since",
        "clock_set_since",
        lambda t: peers(t, "wg0", latest_handshake=lambda at: at and t.wireguard.at - at > 10_000),
    ),
    Near(
        "wg-iface-down",
        "a drained host: its standby has the prefixes",
        "tunnels_in_line",
        lambda t: not link(t, "wg6").up and peers(t, "wg5", allowed_ips=("10.65.0.2/32",)),
    ),
    Near(
        "wg-listen-port-firewalled",
        "a set opens the port",
        "mesh_hub",
        lambda t: chains(t, hook="input", policy="drop") and rules(t, name="lookup", set="ports"),
    ),
    Near(
        "wg-route-without-allowedips",
        "an aggregate over single peers",
        "mesh_hub",
        lambda t: routes(t, dst="10.64.0.0/16", dev="wg0") and peers(t, "wg0", allowed_ips=("10.64.1.2/32",)),
    ),
    Near(
        "wg-allowedips-overlap-shadow",
        "a hub's network with single addresses beside it",
        "mesh_hub",
        lambda t: peers(t, "wg0", allowed_ips=("10.64.0.0/24",)) and peers(t, "wg0", allowed_ips=("10.64.0.3/32",)),
    ),
    Near(
        "wg-keepalive-missing-behind-nat",
        "public addresses need none",
        "public_mesh_member",
        lambda t: peers(t, "wg0", persistent_keepalive=0) and some(t.addresses, local="8.8.4.4"),
    ),
    Near(
        "wg-masquerade-inside-tunnel",
        "a gateway hides its customers in the tunnel on purpose",
        "customer_gateway",
        lambda t: rules(t, name="masq") and links(t, ifname="wg1"),
    ),
    Near(
        "wg-multi-iface-port-conflict",
        "the same port in another namespace",
        "tunnels_in_line",
        lambda t: len(some(t.wireguard.devices, listen_port=51820)) == 2 and some(t.wireguard.devices, ifindex=None),
    ),
    Near(
        "wg-never-handshaked",
        "it waits for the other side: no endpoint, or nothing sent",
        "mesh_hub",
        lambda t: (
            peers(t, "wg0", latest_handshake=None, endpoint=None)
            and peers(t, "wg0", latest_handshake=None, endpoint="198.51.100.6", tx_bytes=0)
        ),
    ),
    Near(
        "wg-no-endpoint-tx",
        "responders that are idle",
        "just_in_time_gateway",
        lambda t: len(peers(t, "wg0", endpoint=None, tx_bytes=0)) > 50,
    ),
    Near(
        "wg-peer-count-bloat",
        "large by design: a third of them is alive",
        "customer_gateway",
        lambda t: len(peers(t, "wg0")) == 1200 and len(peers(t, "wg0", latest_handshake=lambda at: at)) == 400,
    ),
    Shown("wg-netlink-hang", "a hundred thousand peers take their time", "answered"),
    Near(
        "wg-userspace-fallback",
        "a daemon's WireGuard on purpose",
        "full_tunnel",
        lambda t: some(t.wireguard.devices, userspace=True),
    ),
    Shown("wg-allowedips-miss-peer-address", "addresses that are for another purpose", "a second address"),
    Shown("wg-allowedips-miss-peer-address", "a renumbering that is over", "allowed by a wider prefix"),
    Shown("wg-allowedips-miss-peer-address", "it never shook hands", "never shook hands"),
    Shown("wg-clock-backwards-reject", "ahead", "ahead"),
    Shown("wg-key-mismatch", "a rotation under way", "rotation under way"),
    Shown("wg-listen-port-mismatch", "a port that was forwarded", "behind a translation"),
    Shown("wg-listen-port-mismatch", "learned by roaming", "fresh handshake"),
    Shown("wg-mesh-duplicate-ip", "active and standby, two meshes of one plan", "two meshes of one plan"),
    Shown("wg-peer-missing-reciprocal", "spokes that know their hub alone", "nobody calls"),
    ByTest(
        "wg-peer-missing-reciprocal",
        "hosts that drain",
        "tests/fleet/test_world.py::test_draining_provisioning_and_a_roll_out_wake_nobody",
    ),
    Shown("wg-peer-missing-reciprocal", "a gateway that makes peers when they call", "a moment ago"),
    Shown("wg-oneway-data", "one-way traffic whose keepalives come back", "honest one-way traffic"),
    Shown("wg-rx-allowedips-reject", "a guest that spoofs now and then", "one less"),
)
