"""WireGuard of a whole store as columns: devices without their peers, and every peer entry as arrays.

What takes a thousand hosts' tables apart in Python takes a minute and a gigabyte; read from the view's parts it takes a
second. Raises StoreRefused where a part is damaged.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netdiag.fleet.store.read import Card, StoredFleet, damaged, open_parquet
from netdiag.index.fleetedges import UNKNOWN, PeerColumns, columns_of
from netdiag.model.wireguard import WireguardDevice

if TYPE_CHECKING:
    import pyarrow as pa

DEVICE_FIELDS = ("ifname", "ifindex", "public_key", "listen_port", "fwmark", "userspace", "socket")
READ = (
    "ifname", "public_key", "looked_at", "later_rx_bytes", "later_tx_bytes", "later_handshake", "endpoint",
    "persistent_keepalive", "latest_handshake", "rx_bytes", "tx_bytes", "allowed_ips",
)  # fmt: skip


def _rows(stored: StoredFleet, view: str, cards: Iterable[Card], columns: Sequence[str]) -> "pa.Table | None":
    """The rows of one view that belong to these snapshots."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = {part.path: part for load in stored.loads for part in load.parts if part.view == view}
    wanted: dict[str, list[str]] = defaultdict(list)
    for card in cards:
        path = card.part.path.replace("snapshots/", f"{view}/", 1)
        if path in parts:
            wanted[path].append(f"{card.host}\0{card.taken_at}")
    tables = []
    for path, names in wanted.items():
        with damaged(stored.store, parts[path]):
            table = open_parquet(stored.store, parts[path]).read(columns=["host", "taken_at", *columns])
        named = pc.binary_join_element_wise(table["host"], table["taken_at"], "\0")
        chosen = pc.is_in(named, value_set=pa.array(names, pa.string()))
        tables.append((table if pc.all(chosen).as_py() else table.filter(chosen)).drop_columns(["taken_at"]))
    return pa.concat_tables(tables) if tables else None


def devices(stored: StoredFleet) -> dict[str, tuple[WireguardDevice, ...]]:
    """Devices of each host, without their peers."""
    table = _rows(stored, "wireguard_devices", (rows[-1] for rows in stored.series.values()), DEVICE_FIELDS)
    found: dict[str, list[WireguardDevice]] = defaultdict(list)
    for row in table.to_pylist() if table is not None else ():
        found[row.pop("host")].append(WireguardDevice(**row))
    return {name: tuple(rows) for name, rows in found.items()}


def peer_columns(stored: StoredFleet, ends: Sequence[tuple[str, str]]) -> PeerColumns:
    """Every entry of these ends, named by (host, ifname)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    hosts = {host for host, _ in ends}
    cards = [rows[-1] for name, rows in stored.series.items() if name in hosts]
    table = _rows(stored, "wireguard_peers", cards, READ)
    if table is None:
        return columns_of([])
    named = pc.binary_join_element_wise(table["host"], table["ifname"], "\0")
    near = pc.index_in(named, value_set=pa.array([f"{host}\0{ifname}" for host, ifname in ends], pa.string()))
    near = np.asarray(pc.fill_null(near, UNKNOWN)).astype(np.int32)
    order = np.argsort(near, kind="stable")
    order = order[near[order] >= 0]
    if len(order) != len(table) or not np.array_equal(order, np.arange(len(order))):
        table, near = table.take(pa.array(order)), near[order]
    starts = np.flatnonzero(np.r_[True, near[1:] != near[:-1]]) if len(near) else np.empty(0, np.int64)
    place = np.arange(len(near)) - np.repeat(starts, np.diff(np.r_[starts, len(near)]))
    keys = table["public_key"].combine_chunks().dictionary_encode()
    allowed = pc.binary_join(table["allowed_ips"].combine_chunks(), ",").dictionary_encode()
    sent, heard = _moved(stored, table, ends, near)
    return PeerColumns(
        near=near,
        place=place.astype(np.int32),
        key=np.asarray(keys.indices).astype(np.int32),
        keys=keys.dictionary.to_pylist(),
        called=np.asarray(pc.is_valid(table["endpoint"])),
        keepalive=np.asarray(table["persistent_keepalive"]).astype(np.int32),
        age=_numbers(table["looked_at"]) - _handshakes(table),
        sent=sent,
        heard=heard,
        allowed=np.asarray(allowed.indices).astype(np.int32),
        allowances=[tuple(text.split(",")) if text else () for text in allowed.dictionary.to_pylist()],
    )


def _numbers(column: Any) -> Any:
    """Real numbers; NaN where it is null."""
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(column, float("nan")), np.float64)


def _handshakes(table: "pa.Table") -> Any:
    """Of the second look where that saw one, else of the first; NaN: never."""
    later, first = _numbers(table["later_handshake"]), _numbers(table["latest_handshake"])
    return np.where(np.isnan(later) | (later == 0), first, later)


def _counts(column: Any) -> Any:
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(column, UNKNOWN), np.int64)


def _moved(stored: StoredFleet, table: "pa.Table", ends: Sequence[tuple[str, str]], near: Any) -> tuple[Any, Any]:
    """Bytes sent and heard between two looks, or since the snapshot before; -1 for both: not known, or a reset."""
    import pyarrow.compute as pc

    looked = np.asarray(pc.is_valid(table["later_rx_bytes"]))
    now = [_counts(table[name]) for name in ("tx_bytes", "rx_bytes")]
    later = [_counts(table[name]) for name in ("later_tx_bytes", "later_rx_bytes")]
    sent, heard = (after - before for after, before in zip(later, now, strict=True))
    sent[~looked], heard[~looked] = UNKNOWN, UNKNOWN
    without = np.flatnonzero(~looked)
    before = _before(stored, {ends[int(at)][0] for at in np.unique(near[without])}) if len(without) else {}
    if before:
        own = {(host, ifname): device.public_key for host, ifname, device in _named(stored, ends)}
        public = table["public_key"].take(without).to_pylist()
        for row, key in zip(without.tolist(), public, strict=True):
            end = ends[int(near[row])]
            old = before.get((end[0], own.get(end), key))
            if old is not None:
                sent[row], heard[row] = now[0][row] - old[0], now[1][row] - old[1]
    reset = (sent < 0) | (heard < 0)
    sent[reset], heard[reset] = UNKNOWN, UNKNOWN
    return sent, heard


def _named(stored: StoredFleet, ends: Sequence[tuple[str, str]]) -> list[tuple[str, str, WireguardDevice]]:
    wanted = set(ends)
    return [
        (host, device.ifname, device)
        for host, rows in devices(stored).items()
        for device in rows
        if (host, device.ifname) in wanted
    ]


def _before(stored: StoredFleet, hosts: set[str]) -> dict[tuple[str, str | None, str], tuple[int, int]]:
    """Bytes (sent, received) of the snapshot before, by host, key of the device and key of the peer."""
    cards = [rows[0] for name, rows in stored.series.items() if name in hosts and len(rows) > 1]
    table = _rows(stored, "wireguard_peers", cards, ("device_key", "public_key", "tx_bytes", "rx_bytes"))
    if table is None:
        return {}
    columns = [table[name].to_pylist() for name in ("host", "device_key", "public_key", "tx_bytes", "rx_bytes")]
    return {(host, own, key): (sent, heard) for host, own, key, sent, heard in zip(*columns, strict=True)}
