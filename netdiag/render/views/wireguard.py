"""``show wireguard``: a line a peer, with ages and sizes; devices without peers have a line of their own.

A peer goes by the first letters of its key, with the whole key at the end of the line where there is room; private and
preshared keys were never read. Ages are counted from the moment of the snapshot's look at the device.
"""

from collections.abc import Iterator

from netdiag.model.snapshot import Snapshot
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import without_nothing

SHORT = 8
"""Letters of a key that tell peers apart on a screen; the whole key needs half of 80 columns."""
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def octets_word(octets: int) -> str:
    """``1.5MiB``: IEC units, two or three figures."""
    value, unit = float(octets), 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{octets}B" if unit == 0 else f"{value:.3g}{UNITS[unit]}"


def age_word(seconds: float) -> str:
    """``42s``, ``3m5s``, ``2h10m``, ``9d4h``; a time in the future has a minus."""
    sign, rest = ("-", -seconds) if seconds < 0 else ("", seconds)
    whole = int(rest)
    for size, unit, smaller, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            remainder = whole % size // smaller
            return f"{sign}{whole // size}{unit}" + (f"{remainder}{small_unit}" if remainder else "")
    return f"{sign}{whole}s"


def device_row(device: WireguardDevice) -> Row:
    """What every line of a device has."""
    return without_nothing(
        {
            "ifname": device.ifname,
            "public_key": device.public_key,
            "listen_port": device.listen_port,
            "fwmark": device.fwmark or None,
            "userspace": device.userspace,
        }
    )


def peer_row(device: WireguardDevice, peer: WireguardPeer, at: float) -> Row:
    """One peer; ``handshake_age`` is in seconds."""
    never = peer.latest_handshake is None
    endpoint = peer.endpoint and (f"[{peer.endpoint}]" if ":" in peer.endpoint else peer.endpoint)
    return device_row(device) | without_nothing(
        {
            "peer": peer.public_key,
            "preshared_key": peer.preshared_key,
            "endpoint": f"{endpoint}:{peer.endpoint_port}" if endpoint else None,
            "persistent_keepalive": peer.persistent_keepalive or None,
            "latest_handshake": peer.latest_handshake,
            "handshake_age": None if never else round(at - (peer.latest_handshake or 0.0), 1),
            "rx_bytes": peer.rx_bytes,
            "tx_bytes": peer.tx_bytes,
            "allowed_ips": list(peer.allowed_ips),
        }
    )


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Devices in the order read, peers in the device's."""
    table = snapshot.tables.wireguard
    for device in table.devices:
        if filters.dev is not None and device.ifname != filters.dev:
            continue
        if not device.peers:
            yield device_row(device)
        for peer in device.peers:
            yield peer_row(device, peer, table.at)


def cells(row: Row) -> list[Row]:
    """The text: ages and sizes in words a person compares."""
    text = dict(row)
    if "peer" in row:
        text["handshake"] = age_word(row["handshake_age"]) if "handshake_age" in row else "never"
        text["rx"], text["tx"] = octets_word(row["rx_bytes"]), octets_word(row["tx_bytes"])
        text["peer"], text["peer_key"] = f"{row['peer'][:SHORT]}...", row["peer"]
    text["keepalive"] = row.get("persistent_keepalive")
    text["flags"] = [name for name in ("userspace", "preshared_key") if row.get(name)]
    return [text]


VIEW = View(
    collector="wireguard",
    filters=("dev",),
    rows=rows,
    cells=cells,
    columns=(
        Column("ifname"),
        Column("peer"),
        Column("endpoint"),
        Column("handshake", right=True),
        Column("rx", right=True),
        Column("tx", right=True),
        Column("keepalive", 3, right=True),
        Column("allowed_ips", 1),
        Column("listen_port", 4, right=True),
        Column("fwmark", 5, right=True),
        Column("flags", 2),
        Column("peer_key", 6),
    ),
)
