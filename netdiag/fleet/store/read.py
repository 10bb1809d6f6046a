"""Hosts out of a store: which snapshots there are, the newest of each host, and its tables when they are asked for.

Raises StoreRefused where a part is missing or damaged.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property, partial
from typing import Any

import msgspec

from netdiag.fleet.judged import Judged, fingerprint
from netdiag.fleet.night import moment
from netdiag.fleet.store.lazytables import Fetch, LazyTables
from netdiag.fleet.store.place import Load, Part, Place, StoreRefused
from netdiag.index.fleet import FleetHost
from netdiag.model.bird import Bird
from netdiag.model.coverage import Coverage
from netdiag.model.fleetreport import Notice, Unreached
from netdiag.model.snapshot import Meta, Snapshot

GONE = timedelta(days=14)
"""A host of which nothing was loaded for so long, by the clock of the machine that loads, has left the fleet."""
TOGETHER = timedelta(hours=12)
"""Loads so close to the newest are one sweep."""
KEPT_GROUPS = 6
"""Row groups of a column that stay in memory, per column."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot of the store, and where it stands."""

    host: str
    taken_at: str
    loaded_at: str
    digest: str
    role: str | None
    kernel: str | None
    part: Part
    row: int


class _File:
    """One part of ``snapshots``, whose columns are read a row group at a time."""

    def __init__(self, store: Place, part: Part) -> None:
        self.store = store
        self.part = part
        self.groups: OrderedDict[tuple[str, int], Any] = OrderedDict()

    @cached_property
    def parquet(self) -> Any:
        return open_parquet(self.store, self.part)

    @cached_property
    def starts(self) -> list[int]:
        metadata = self.parquet.metadata
        starts = [0]
        for number in range(metadata.num_row_groups):
            starts.append(starts[-1] + metadata.row_group(number).num_rows)
        return starts

    def octets(self, column: str, row: int) -> Any:
        """One cell; None where it is null or the part was written before there was such a column."""
        if column not in self.parquet.schema_arrow.names:
            return None
        number = next(n for n, start in enumerate(self.starts[1:]) if row < start)
        group = self.groups.get((column, number))
        if group is None:
            with damaged(self.store, self.part):
                group = self.parquet.read_row_group(number, columns=[column]).column(0).combine_chunks()
            self.groups[column, number] = group
            while sum(key[0] == column for key in self.groups) > KEPT_GROUPS:
                self.groups.pop(next(key for key in self.groups if key[0] == column))
        cell = group[row - self.starts[number]]
        return memoryview(cell.as_buffer()) if cell.is_valid else None


class damaged:
    """Turns what pyarrow raises into one line."""

    def __init__(self, store: Place, part: Part) -> None:
        self.where = f"{store.name}: {part.path}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        import pyarrow as pa

        if isinstance(error, (pa.ArrowException, OSError, ValueError, KeyError)):
            raise StoreRefused(f"{self.where}: {' '.join(str(error).split())[:200]}") from error


def open_parquet(store: Place, part: Part) -> Any:
    """A part, opened. Raises StoreRefused."""
    import pyarrow.parquet as pq

    with damaged(store, part):
        return pq.ParquetFile(store.fs.open(store.at(*part.path.split("/")), "rb"))


def cards(store: Place, loads: Iterable[Load] | None = None) -> Iterator[Card]:
    """Every snapshot of these loads, or of all."""
    names = ["host", "taken_at", "loaded_at", "digest", "role", "kernel"]
    for load in store.loads() if loads is None else loads:
        for part in load.parts:
            if part.view != "snapshots":
                continue
            with damaged(store, part):
                rows = open_parquet(store, part).read(columns=names).to_pydict()
            for row, cells in enumerate(zip(*(rows[name] for name in names), strict=True)):
                yield Card(**dict(zip(names, cells, strict=True)), part=part, row=row)


def _lately(earlier: list[Card], newest: Card) -> list[Card]:
    """Of the snapshots before, oldest first, those of the day before the newest, and the one before these."""
    end = moment(newest.taken_at)
    times = [(moment(card.taken_at), card) for card in earlier]
    day = [card for at, card in times if at is not None and end is not None and end - at <= timedelta(days=1)]
    return earlier[-len(day) - 1 :] if day else earlier[-1:]


class StoredFleet:
    """The hosts of a store, on one night or as they are now."""

    def __init__(self, store: Place, night: str | None = None, loads: Iterable[Load] | None = None) -> None:
        """``loads``: what another process has seen of it; None: what there is now."""
        self.store = store
        self.night = night
        self.files: dict[str, _File] = {}
        self.loads = list(store.loads() if loads is None else loads)
        if not self.loads:
            raise StoreRefused(f"{store.name}: the store is empty")
        self.lately: dict[str, list[Card]] = {}
        """The snapshots of each host before its newest: those of the last day, and one."""
        self.series = self._series()

    @cached_property
    def nights(self) -> list[str]:
        """Every night of which there is a snapshot, oldest first."""
        return sorted({part.night for load in self.loads for part in load.parts if part.view == "snapshots"})

    def _series(self) -> dict[str, list[Card]]:
        """The last two snapshots of each host, oldest first."""
        found: dict[str, list[Card]] = defaultdict(list)
        for card in cards(self.store, self.loads):
            if self.night is None or card.part.night <= self.night:
                found[card.host].append(card)
        series = {}
        missed = {row.name: load.loaded_at for load in self._newest() for row in load.refused}
        newest = max((card.loaded_at for rows in found.values() for card in rows), default="")
        for host, rows in sorted(found.items()):
            if not self._here(rows, newest):
                continue
            if max(card.loaded_at for card in rows) < missed.get(host, ""):
                continue  # a sweep since then did not collect it: what it was before is not what it is
            rows.sort(key=lambda card: card.taken_at)
            earlier = [card for card in rows[:-1] if card.taken_at < rows[-1].taken_at]
            series[host] = [*earlier[-1:], rows[-1]]
            self.lately[host] = _lately(earlier, rows[-1])
        self.gone = sorted(set(found) - set(series) - set(missed))
        if not series and not missed:
            raise StoreRefused(f"{self.store.name}: nothing of night {self.night}; there are {', '.join(self.nights)}")
        return series

    def _here(self, rows: Sequence[Card], newest: str) -> bool:
        if self.night is not None:
            return any(card.part.night == self.night for card in rows)
        last, end = moment(max(card.loaded_at for card in rows)), moment(newest)
        return last is None or end is None or end - last <= GONE

    @property
    def unreached(self) -> tuple[Unreached, ...]:
        """Files that the newest loads refused, and hosts of which there is nothing new."""
        rows = [row for load in self._newest() for row in load.refused]
        told = "no snapshot of that night" if self.night else f"nothing was loaded for {GONE.days} days"
        gone = [Unreached(name=name, reason=told) for name in self.gone]
        return (*(Unreached(name=row.name, reason=row.reason) for row in rows), *gone)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What the newest loads noticed."""
        rows = [row for load in self._newest() for row in load.notices]
        return tuple(msgspec.convert(msgspec.to_builtins(row), Notice) for row in rows)

    def _newest(self) -> list[Load]:
        if self.night is not None:
            return [load for load in self.loads if any(part.night == self.night for part in load.parts)]
        end = moment(self.loads[-1].loaded_at)
        times = [(moment(load.loaded_at), load) for load in self.loads]
        return [load for at, load in times if at is None or end is None or end - at <= TOGETHER]

    def hosts(self) -> Iterator[FleetHost]:
        """Every host, with tables that are decoded when asked for."""
        from netdiag.fleet.store.peers import devices

        cards_of = devices(self)
        by_load = {part.path: load.judged_by for load in self.loads for part in load.parts}
        for name, rows in self.series.items():
            card = rows[-1]
            kept = by_load.get(card.part.path) == fingerprint()
            yield FleetHost(
                name=name,
                snapshot=self.snapshot(card),
                previous=self.snapshot(rows[0]) if len(rows) > 1 else None,
                judged=self.fetch(card) if kept else None,
                cards=cards_of.get(name, ()),
                looks=tuple(partial(self._bird, card) for card in self.lately[name]),
            )

    def _bird(self, card: Card) -> Bird:
        return self.snapshot(card).tables.bird

    def snapshot(self, card: Card) -> Snapshot:
        """One snapshot. Raises StoreRefused."""
        with damaged(self.store, card.part):
            return snapshot_of(self.fetch(card))

    def fetch(self, card: Card) -> Fetch:
        """What gives the cells of one snapshot's row by the names of their columns."""
        file = self.files.get(card.part.path)
        if file is None:
            file = self.files[card.part.path] = _File(self.store, card.part)
        return lambda name: file.octets(name, card.row)


def snapshot_of(cell: Fetch) -> Snapshot:
    """The snapshot of a row of ``snapshots``. Raises ValueError and StoreRefused for one that is damaged."""
    meta = msgspec.msgpack.decode(cell("meta") or b"", type=Meta)
    coverage = msgspec.msgpack.decode(cell("coverage") or b"", type=tuple[Coverage, ...])
    return Snapshot(meta=meta, tables=LazyTables(lambda name: cell(f"table_{name}")), coverage=coverage)


def judged_of(fetch: Fetch) -> Judged | None:
    """What was said of a host when it was loaded; None: it was not judged."""
    octets = fetch("judged")
    if octets is None:
        return None
    try:
        return msgspec.msgpack.decode(octets, type=Judged)
    except msgspec.MsgspecError:
        return None
