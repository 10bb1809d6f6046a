"""Which views a store has. Their columns are the model's, so that a new field of the model is a new column.

Every view also has ``host``, ``taken_at``, ``night`` and ``region``; see ``COMMON``. Rows of structs that name an
interface by its ifindex also carry its name. Pure; nothing can fail.
"""

from collections.abc import Sequence
from typing import Any

from netdiag.fleet.store import bulkviews
from netdiag.fleet.store.columns import Column, View, fields_of, of_structs, view_of
from netdiag.model.address import Address
from netdiag.model.bird import BirdDaemon, BirdProtocol
from netdiag.model.bpf import BpfAttachment, BpfMap, BpfProgram
from netdiag.model.coverage import Coverage
from netdiag.model.link import Link
from netdiag.model.nexthop import Nexthop
from netdiag.model.policyrule import PolicyRule
from netdiag.model.snapshot import Snapshot
from netdiag.model.tap import TapHolder
from netdiag.model.tc import Qdisc
from netdiag.model.wireguard import WireguardDevice, WireguardPeer

COMMON = (
    Column("host", "text", "Name of the host: its identity in the fleet."),
    Column("taken_at", "text", "When the snapshot was taken, UTC, by the host's own clock."),
    Column("night", "text", "The night to which it belongs: noon to noon, UTC, by the date of its first half."),
    Column("region", "text", "Region of the host: its label, or what its name says."),
)
"""What every view has before its own columns."""
SNAPSHOTS = (
    Column("role", "text", "Role of the host: its label, or what its name says."),
    Column("kernel", "text", "Kernel release."),
    Column("boot_id", "text", "Random id of the boot; null: unknown."),
    Column("uptime", "real", "Seconds since boot when it was taken."),
    Column("netdiag", "text", "Version of netdiag that took it."),
    Column("says", "text", "The name that the snapshot itself says, which need not be the host's."),
    Column("labels", "json", "Labels that were given to it."),
    Column("file", "text", "File from which it was loaded."),
    Column("digest", "text", "SHA-256 of that file."),
    Column("loaded_at", "text", "When it was loaded, UTC, by the clock of the machine that loaded."),
    Column("not_judged", "text", "Why rules were given up that hung or died over it; null: they gave an answer."),
)
FINDINGS = (
    Column("id", "text", "Sixteen hex digits, the same for the same rule on the same subject."),
    Column("rule", "text", "Id of the rule."),
    Column("severity", "text", "`critical`, `warning` or `info`."),
    Column("confidence", "text", "`certain`, `likely` or `possible`."),
    Column("kind", "text", "What kind of thing it is about."),
    Column("subject", "text", "What it is about, in one line."),
    Column("message", "text", "The fault in one sentence."),
    Column("fix", "text", "What to do."),
    Column("netns", "text", "Network namespace other than the host's; null: the host's."),
)
"""Of the host by itself, before causes are looked for across hosts."""
IFNAME = Column("ifname", "text", "Name of the interface.")
PEER, PROTOCOL = fields_of(WireguardPeer), fields_of(BirdProtocol)
LOOKS = (
    Column("ifname", "text", "Name of the device."),
    Column("device_key", "text", "Public key of the device."),
    Column("looked_at", "real", "Unix time of the last look at its counters."),
    Column("later_rx_bytes", "integer", "Bytes received at the second look; null: there was none."),
    Column("later_tx_bytes", "integer", "Bytes sent at the second look; null: there was none."),
    Column("later_handshake", "real", "Last handshake as of the second look, Unix time."),
)


def _ifnames(snapshot: Snapshot, rows: Sequence[Any]) -> dict[str, Sequence[Any]]:
    names = {link.ifindex: link.ifname for link in snapshot.tables.links}
    return {"ifname": [names.get(row.ifindex) for row in rows]}


def _peers(snapshot: Snapshot) -> dict[str, Sequence[Any]]:
    table = snapshot.tables.wireguard
    second = {(row.ifname, row.public_key): row for row in table.second}
    pairs = [(device, peer) for device in table.devices for peer in device.peers]
    later = [second.get((device.ifname, peer.public_key)) for device, peer in pairs]
    return {
        "ifname": [device.ifname for device, _ in pairs],
        "device_key": [device.public_key for device, _ in pairs],
        "looked_at": [table.second_at or table.at] * len(pairs),
        "later_rx_bytes": [row.rx_bytes if row else None for row in later],
        "later_tx_bytes": [row.tx_bytes if row else None for row in later],
        "later_handshake": [row.latest_handshake if row else None for row in later],
        **of_structs(PEER, [peer for _, peer in pairs]),
    }


def _sysctls(snapshot: Snapshot) -> dict[str, Sequence[Any]]:
    values = snapshot.tables.sysctls.values
    return {"name": list(values), "value": list(values.values())}


def _protocols(snapshot: Snapshot) -> list[tuple[BirdDaemon, BirdProtocol]]:
    return [(daemon, protocol) for daemon in snapshot.tables.bird.daemons for protocol in daemon.protocols]


def _bgp(snapshot: Snapshot) -> dict[str, Sequence[Any]]:
    pairs = [pair for pair in _protocols(snapshot) if pair[1].proto == "BGP"]
    return {
        "socket": [daemon.socket for daemon, _ in pairs],
        "router_id": [daemon.router_id for daemon, _ in pairs],
        "version": [daemon.version for daemon, _ in pairs],
        **of_structs(PROTOCOL, [protocol for _, protocol in pairs]),
    }


VIEWS = (
    view_of("links", "A network interface.", "links", Link, lambda s: s.tables.links),
    view_of(
        "addresses", "An address on an interface.", "addresses", Address, lambda s: s.tables.addresses,
        lead=(IFNAME,), leading=_ifnames,
    ),
    View(
        name="routes", words="A route of either family, of any table.", collector="routes",
        columns=bulkviews.ROUTES, fill=bulkviews.routes,
    ),
    view_of("rules", "A policy routing rule.", "rules", PolicyRule, lambda s: s.tables.rules),
    view_of("nexthops", "A nexthop object or group.", "nexthops", Nexthop, lambda s: s.tables.nexthops),
    View(
        name="neighbours", words="An ARP or neighbour discovery entry.", collector="neighbours",
        columns=bulkviews.NEIGHBOURS, fill=bulkviews.neighbours,
    ),
    view_of(
        "wireguard_devices", "A WireGuard device.", "wireguard", WireguardDevice,
        lambda s: s.tables.wireguard.devices, without=("peers",),
    ),
    View(
        name="wireguard_peers", words="A peer of a WireGuard device.", collector="wireguard",
        columns=(*LOOKS, *PEER), fill=_peers, structs=(WireguardPeer,),
    ),
    View(
        name="bgp", words="A BGP session of a BIRD.", collector="bird",
        columns=(
            Column("socket", "text", "Control socket of the daemon."),
            Column("router_id", "text", "Router id of the daemon."),
            Column("version", "text", "Release of the daemon."),
            *PROTOCOL,
        ),
        fill=_bgp, structs=(BirdProtocol,),
    ),
    view_of("bpf_programs", "An eBPF program.", "bpf", BpfProgram, lambda s: s.tables.bpf.programs),
    view_of("bpf_maps", "An eBPF map.", "bpf", BpfMap, lambda s: s.tables.bpf.maps),
    view_of(
        "bpf_attachments", "A place at which an eBPF program is attached.", "bpf", BpfAttachment,
        lambda s: s.tables.bpf.attachments, lead=(IFNAME,), leading=_ifnames,
    ),
    view_of(
        "qdiscs", "A queueing discipline.", "qdiscs", Qdisc, lambda s: s.tables.qdiscs.qdiscs,
        lead=(IFNAME,), leading=_ifnames,
    ),
    view_of("taps", "A process that holds a tap or tun open.", "taps", TapHolder, lambda s: s.tables.taps.holders),
    View(
        name="sysctls", words="A net.* setting.", collector="sysctls",
        columns=(Column("name", "text", "Dotted name."), Column("value", "text", "Its value, as /proc/sys shows it.")),
        fill=_sysctls,
    ),
    view_of("coverage", "How one collector fared.", "", Coverage, lambda s: s.coverage),
)  # fmt: skip
"""Views that are filled from the tables of a snapshot."""
