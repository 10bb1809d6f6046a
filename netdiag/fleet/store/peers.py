"""WireGuard of a whole store as columns: devices without their peers, and every peer entry as arrays.

What takes a thousand hosts' tables apart in Python takes a minute and a gigabyte; read from the view's parts it takes a
second. Raises StoreRefused where a part is damaged.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
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


def _tables(stored: StoredFleet, view: str, cards: Iterable[Card], columns: Sequence[str]) -> "Iterator[pa.Table]":
    """The rows of one view that belong to these snapshots, a part at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = {part.path: part for load in stored.loads for part in load.parts if part.view == view}
    wanted: dict[str, list[str]] = defaultdict(list)
    for card in cards:
        path = card.part.path.replace("snapshots/", f"{view}/", 1)
        if path in parts:
            wanted[path].append(f"{card.host}\0{card.taken_at}")
    for path, names in wanted.items():
        with damaged(stored.store, parts[path]):
            table = open_parquet(stored.store, parts[path]).read(columns=["host", "taken_at", *columns])
        named = pc.binary_join_element_wise(table["host"], table["taken_at"], "\0")
        chosen = pc.is_in(named, value_set=pa.array(names, pa.string()))
        yield (table if pc.all(chosen).as_py() else table.filter(chosen)).drop_columns(["taken_at"])


def devices(stored: StoredFleet) -> dict[str, tuple[WireguardDevice, ...]]:
    """Devices of each host, without their peers."""
    cards = [rows[-1] for rows in stored.series.values()]
    found: dict[str, list[WireguardDevice]] = defaultdict(list)
    for table in _tables(stored, "wireguard_devices", cards, DEVICE_FIELDS):
        for row in table.to_pylist():
            found[row.pop("host")].append(WireguardDevice(**row))
    return {name: tuple(rows) for name, rows in found.items()}


def peer_columns(stored: StoredFleet, ends: Sequence[tuple[str, str]]) -> PeerColumns:
    """Every entry of these ends, named by (host, ifname). A part is made small before the next is read."""
    import pyarrow as pa

    hosts = {host for host, _ in ends}
    cards = [rows[-1] for name, rows in stored.series.items() if name in hosts]
    names = pa.array([f"{host}\0{ifname}" for host, ifname in ends], pa.string())
    keys: dict[str, int] = {}
    allowances: dict[str, int] = {}
    pieces = [_piece(table, names, keys, allowances) for table in _tables(stored, "wireguard_peers", cards, READ)]
    if not pieces:
        return columns_of([])
    whole = {name: np.concatenate([piece.pop(name) for piece in pieces]) for name in tuple(pieces[0])}
    order = np.argsort(whole["near"], kind="stable")
    order = order[whole["near"][order] >= 0]
    whole = {name: column[order] for name, column in whole.items()}
    near, texts = whole["near"], list(keys)
    starts = np.flatnonzero(np.r_[True, near[1:] != near[:-1]]) if len(near) else np.empty(0, np.int64)
    place = np.arange(len(near)) - np.repeat(starts, np.diff(np.r_[starts, len(near)]))
    sent, heard = _moved(stored, ends, whole, texts)
    return PeerColumns(
        near=near,
        place=place.astype(np.int32),
        key=whole["key"],
        keys=texts,
        called=whole["called"],
        keepalive=whole["keepalive"],
        age=whole["age"],
        done=whole["done"],
        sent=sent,
        heard=heard,
        allowed=whole["allowed"],
        allowances=[tuple(text.split(",")) if text else () for text in allowances],
    )


def _piece(table: "pa.Table", names: "pa.Array", keys: dict[str, int], allowances: dict[str, int]) -> dict[str, Any]:
    """One part as arrays; texts become positions in ``keys`` and ``allowances``, which grow."""
    import pyarrow.compute as pc

    named = pc.binary_join_element_wise(table["host"], table["ifname"], "\0")
    near = np.asarray(pc.fill_null(pc.index_in(named, value_set=names), UNKNOWN)).astype(np.int32)
    looked = np.asarray(pc.is_valid(table["later_rx_bytes"]))
    now = {name: _counts(table[name]) for name in ("tx_bytes", "rx_bytes")}
    return {
        "near": near,
        "key": _codes(table["public_key"].combine_chunks(), keys),
        "called": np.asarray(pc.is_valid(table["endpoint"])),
        "keepalive": np.asarray(table["persistent_keepalive"]).astype(np.int32),
        "age": _numbers(table["looked_at"]) - _handshakes(table),
        "done": _handshakes(table),
        "looked": looked,
        "sent": np.where(looked, _counts(table["later_tx_bytes"]) - now["tx_bytes"], now["tx_bytes"]),
        "heard": np.where(looked, _counts(table["later_rx_bytes"]) - now["rx_bytes"], now["rx_bytes"]),
        "allowed": _codes(pc.binary_join(table["allowed_ips"].combine_chunks(), ","), allowances),
    }


def _codes(texts: "pa.Array", known: dict[str, int]) -> Any:
    """For each text its position among those that are known; new ones are added."""
    coded = texts.dictionary_encode()
    here = np.array([known.setdefault(text, len(known)) for text in coded.dictionary.to_pylist()], np.int32)
    return here[np.asarray(coded.indices)] if len(here) else np.empty(0, np.int32)


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


def _moved(
    stored: StoredFleet, ends: Sequence[tuple[str, str]], whole: dict[str, Any], keys: list[str]
) -> tuple[Any, Any]:
    """Bytes sent and heard between two looks, or since the snapshot before; -1 for both: not known, or a reset."""
    sent, heard, near = whole["sent"], whole["heard"], whole["near"]
    once = np.flatnonzero(~whole["looked"])
    now = sent[once], heard[once]
    sent[once], heard[once] = UNKNOWN, UNKNOWN
    before = _before(stored, {ends[int(at)][0] for at in np.unique(near[once])}) if len(once) else {}
    own = {(host, ifname): device.public_key for host, ifname, device in _named(stored, ends)} if before else {}
    for number, row in enumerate(once.tolist() if before else ()):
        end = ends[int(near[row])]
        old = before.get((end[0], own.get(end), keys[whole["key"][row]]))
        if old is not None:
            sent[row], heard[row] = now[0][number] - old[0], now[1][number] - old[1]
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
    found: dict[tuple[str, str | None, str], tuple[int, int]] = {}
    names = ("host", "device_key", "public_key", "tx_bytes", "rx_bytes")
    for table in _tables(stored, "wireguard_peers", cards, names[1:]):
        columns = [table[name].to_pylist() for name in names]
        found |= {(host, own, key): (sent, heard) for host, own, key, sent, heard in zip(*columns, strict=True)}
    return found
