"""Near misses of the domain links-mtu-offload."""

from netdiag.model.ethtool import EthtoolDevice
from netdiag.model.snapshot import Tables
from tests.zoo.near import ByTest, Line, Near, Shown, link, links, routes, some, sysctl


def card(tables: Tables, ifname: str) -> EthtoolDevice:
    """What ethtool says of an interface."""
    return next(row for row in tables.ethtool.devices if row.ifname == ifname)


def counted(tables: Tables, ifname: str, name: str) -> tuple[int, int]:
    """A counter of an interface at both looks."""
    looks = (tables.counters.first, tables.counters.second)
    first, second = (next(row for row in look.links if row.ifname == ifname) for look in looks if look is not None)
    if name.startswith("carrier"):
        return getattr(first, name), getattr(second, name)
    return getattr(first.stats, name), getattr(second.stats, name)


LINES: tuple[Line, ...] = (
    Near(
        "bridge-own-mac-flap",
        "a bridge with an address that was set",
        "bonded_storage",
        lambda t: link(t, "br0").address not in {row.address for row in links(t, master=link(t, "br0").ifindex)},
    ),
    Near(
        "carrier-flap",
        "a bounce while the machine boots",
        "just_booted",
        lambda t: counted(t, "eth0", "carrier_down_count") == (0, 1),
    ),
    Near(
        "carrier-flap",
        "a cable of a container made anew has a new number",
        "veth_made_anew",
        lambda t: {row.ifindex for row in t.counters.first.links} != {row.ifindex for row in t.counters.second.links},
    ),
    Near(
        "link-mtu-peer-mismatch",
        "ports of a router on different segments",
        "two_segments",
        lambda t: {1500, 9000} <= {row.mtu for row in links(t, kind=None)},
    ),
    Near(
        "link-mtu-peer-mismatch",
        "a bridge's cable whose far end is in another segment's size, and both ends alike",
        "policed_by_bpf",
        lambda t: [row.peer.mtu for row in t.peer_links] == [1500, 1500, 9000] and link(t, "v2").mtu == 9000,
    ),
    Near(
        "link-mtu-peer-mismatch",
        "an end that takes more than the other sends",
        "two_segments",
        lambda t: some(t.peer_links, peer=lambda far: far.mtu == 9000 and not far.up),
    ),
    Near(
        "mac-duplicate-on-segment",
        "a bond, its legs and its VLAN share an address",
        "bonded_storage",
        lambda t: len(links(t, address=link(t, "bond0").address)) >= 4,
    ),
    Near(
        "mac-duplicate-on-segment",
        "the gateway has a virtual router's address",
        "bonded_storage",
        lambda t: some(t.neighbours.rows(), lladdr="00:00:5e:00:01:01"),
    ),
    Near(
        "tunnel-mtu-headroom-missing",
        "a vxlan of 8950 over a jumbo network",
        "tunnels_in_line",
        lambda t: link(t, "vx0").mtu == 8950 and link(t, "eth1").mtu == 9000,
    ),
    Near(
        "tunnel-mtu-headroom-missing",
        "eBPF puts packets into others, and clamps",
        "policed_by_bpf",
        lambda t: some(t.bpf.programs, name="balancer") and link(t, "wg0").mtu == 1420,
    ),
    Near(
        "wg-mtu-exceeds-underlay",
        "1420 over 1500",
        "tunnels_in_line",
        lambda t: link(t, "wg5").mtu == 1420 and link(t, "eth0").mtu == 1500,
    ),
    Near(
        "wg-mtu-exceeds-underlay",
        "1440 over 1500 where every endpoint has IPv4",
        "tunnels_in_line",
        lambda t: (
            link(t, "wg4").mtu == 1440
            and all("." in peer.endpoint for peer in some(t.wireguard.devices, ifname="wg4")[0].peers)
        ),
    ),
    Near(
        "wg-mtu-exceeds-underlay",
        "a large device over a jumbo network",
        "tunnels_in_line",
        lambda t: link(t, "wg8").mtu == 8900 and link(t, "eth1").mtu == 9000,
    ),
    Near(
        "bond-lacp-agg-split",
        "two aggregators on purpose",
        "bonded_storage",
        lambda t: (
            links(t, kind="bond", info=lambda i: i.get("ad_select") == "bandwidth")
            and {row.slave_info.get("ad_aggregator_id") for row in t.links} >= {1, 2}
        ),
    ),
    Near(
        "bond-lacp-no-partner",
        "active-backup has no partner",
        "bonded_storage",
        lambda t: links(t, kind="bond", info=lambda i: i["mode"] == "active-backup" and "ad_info" not in i),
    ),
    Near(
        "bond-lacp-no-partner",
        "the legs came up a moment ago",
        "just_booted",
        lambda t: links(t, slave_kind="bond", slave_info=lambda i: i["ad_actor_oper_port_state"] == 0xC5),
    ),
    Near(
        "bond-miimon-zero",
        "watched by ARP",
        "bonded_storage",
        lambda t: links(t, kind="bond", info=lambda i: i["miimon"] == 0 and i["arp_interval"]),
    ),
    Near(
        "bond-single-leg",
        "a bond that has one leg",
        "bonded_storage",
        lambda t: len(links(t, master=link(t, "bond2").ifindex)) == 1,
    ),
    Near(
        "bridge-mtu-auto-shrunk",
        "a bridge that was set below its ports",
        "bonded_storage",
        lambda t: link(t, "br0").mtu < min(row.mtu for row in links(t, master=link(t, "br0").ifindex)),
    ),
    Near(
        "bridge-stp-blocking",
        "a redundant cable",
        "bonded_storage",
        lambda t: links(t, master=link(t, "br0").ifindex, slave_info=lambda i: i["state"] == "blocking"),
    ),
    Near(
        "lro-on-forwarding-host",
        "the kernel switched it off where it forwards",
        "card_of_a_router",
        lambda t: not t.ethtool.has(card(t, "eth0").features, "rx-lro") and link(t, "eth0").inet_conf["forwarding"],
    ),
    Near(
        "lro-on-forwarding-host",
        "an end host's LRO",
        "bonded_storage",
        lambda t: t.ethtool.has(card(t, "eno1").features, "rx-lro") and sysctl(t, "net.ipv4.ip_forward") == "0",
    ),
    Near(
        "mss-clamp-missing",
        "a proxy that ends TCP itself",
        "busy_proxy",
        lambda t: sysctl(t, "net.ipv4.ip_forward") == "0",
    ),
    Near(
        "mss-clamp-missing",
        "a route into the tunnel with an advmss",
        "card_of_a_router",
        lambda t: routes(t, dev="wg0", extra=lambda e: e and "advmss" in e.metrics),
    ),
    Near(
        "mss-clamp-missing",
        "a program on the tunnel that may clamp",
        "policed_by_bpf",
        lambda t: some(t.bpf.attachments, ifindex=link(t, "wg0").ifindex),
    ),
    Near(
        "pmtu-exception-stale-low",
        "a way that is narrow indeed",
        "small_cloud_machine",
        lambda t: some(t.path_mtus, mtu=1400),
    ),
    Near(
        "qdisc-drops",
        "shaping makes packets wait",
        "card_of_a_router",
        lambda t: some(t.qdiscs.qdiscs, kind="htb") and some(t.qdiscs.second, kind="htb")[0].stats.overlimits > 0,
    ),
    Near(
        "qdisc-drops",
        "fq_codel tells a sender to slow down",
        "card_of_a_router",
        lambda t: (
            some(t.qdiscs.second, kind="fq_codel")[0].stats.drops
            > some(t.qdiscs.qdiscs, kind="fq_codel")[0].stats.drops
        ),
    ),
    Near(
        "txqueuelen-zero-or-noqueue-nic",
        "no queue on a veth",
        "small_cloud_machine",
        lambda t: links(t, kind="veth", qdisc="noqueue") and links(t, kind="tun", qdisc="noqueue"),
    ),
    Near(
        "vlan-parent-down",
        "put aside together with its card",
        "bonded_storage",
        lambda t: not link(t, "eno7").up and not link(t, "eno7.5").up,
    ),
    Near(
        "vlan-parent-mtu-small",
        "a VLAN in a VLAN",
        "bonded_storage",
        lambda t: link(t, "bond1.9.4").mtu == link(t, "bond1.9").mtu - 4,
    ),
    Near(
        "xdp-blocked-by-lro",
        "LRO on a card that nobody wants XDP on",
        "bonded_storage",
        lambda t: t.ethtool.has(card(t, "ens1").features, "rx-lro") and not t.bpf.attachments,
    ),
    Near(
        "bond-hash-layer2-polarised",
        "a bond that hashes ports too",
        "bonded_storage",
        lambda t: links(t, kind="bond", info=lambda i: i.get("xmit_hash_policy") == "layer3+4"),
    ),
    Near(
        "bond-hash-layer2-polarised",
        "active-backup hashes nothing",
        "bonded_storage",
        lambda t: links(t, kind="bond", info=lambda i: i["mode"] == "active-backup"),
    ),
    Near(
        "crc-errors", "errors of the past", "bonded_storage", lambda t: counted(t, "eno1", "rx_crc_errors") == (77, 77)
    ),
    Near(
        "gro-udp-fwd-off",
        "a host that forwards nothing",
        "full_tunnel",
        lambda t: sysctl(t, "net.ipv4.ip_forward") == "0" and links(t, ifname="wg0"),
    ),
    Near(
        "gro-udp-fwd-off",
        "left off beside a vxlan",
        "card_of_a_router",
        lambda t: links(t, kind="vxlan") and not t.ethtool.has(card(t, "eth0").features, "rx-udp-gro-forwarding"),
    ),
    Near(
        "gso-max-too-large-tap",
        "a tool's tap without the header",
        "microvm_worker",
        lambda t: links(t, ifname="vpn0", info=lambda i: not i["vnet_hdr"]) and some(t.ethtool.devices, driver="tun"),
    ),
    Near(
        "nic-ring-drops",
        "rx_dropped counts unknown protocols as well",
        "bonded_storage",
        lambda t: counted(t, "eno1", "rx_dropped") == (0, 40) and counted(t, "eno1", "rx_missed_errors") == (0, 0),
    ),
    Near(
        "offload-features-drift",
        "another driver, with defaults of its own",
        "after_the_night",
        lambda t: (
            card(t, "eth0").driver == "ice" and not t.ethtool.has(card(t, "eth0").features, "tx-tcp-segmentation")
        ),
    ),
    Near(
        "promisc-left-on",
        "ports of a bridge are promiscuous",
        "microvm_worker",
        lambda t: links(t, ifname="tapb0", promiscuity=1),
    ),
    Near(
        "promisc-left-on",
        "a capture runs",
        "card_of_a_router",
        lambda t: links(t, ifname="eth0", flags=lambda f: f & 0x100) and sockets_of_packets(t),
    ),
    Near(
        "rx-dropped-unknown-proto",
        "rx_dropped alone is no alarm",
        "bonded_storage",
        lambda t: counted(t, "eno1", "rx_dropped") == (0, 40),
    ),
    Near(
        "rx-dropped-unknown-proto",
        "without missed frames or overruns",
        "bonded_storage",
        lambda t: counted(t, "eno1", "rx_over_errors") == (0, 0),
    ),
    Near(
        "speed-duplex-mismatch",
        "virtual cards invent their speed",
        "small_cloud_machine",
        lambda t: some(t.ethtool.devices, driver="virtio_net", duplex="half"),
    ),
    Near(
        "veth-leg-orphan-peer-gone",
        "a container that is being started",
        "small_cloud_machine",
        lambda t: len(links(t, kind="veth")) == 2 and link(t, "veth2").link == link(t, "veth1").ifindex,
    ),
    ByTest(
        "pmtud-blackhole-icmp-filtered",
        "errors that are rate-limited: the probe asks again",
        "tests/probes/test_pure.py::test_every_mtu_is_found_whatever_routers_say",
    ),
    Shown("pmtud-blackhole-icmp-filtered", "loss that has nothing to do with size", "two in a row"),
    Shown("wg-mtu-asymmetric-peers", "an edge with a smaller underlay", "idle"),
)


def sockets_of_packets(tables: Tables) -> bool:
    """Somebody captures."""
    return bool(some(tables.sockets.rows(), netid="packet"))
