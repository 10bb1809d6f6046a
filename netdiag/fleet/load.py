"""Read a fleet: a folder of ``.netdiag`` files, or a store of them, which are the same to whoever asks.

Several snapshots of one host are a series ordered by when they were taken: the newest is the state, the one before it
gives deltas. A file that is refused is told; it never takes another one's place. A host that the newest sweep did not
collect is told too, and no older snapshot stands for it. Whose a file is: see identity.
``STORE@2026-11-25`` is a store on one night. Raises FleetRefused where there is nothing to read.
"""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from netdiag.fleet.files import FleetRefused, look, remote, uploads
from netdiag.fleet.identity import settle
from netdiag.fleet.sweep.ledger import ledgers, missing
from netdiag.index.fleet import FleetHost, FleetView
from netdiag.model.fleetreport import Notice, Unreached
from netdiag.model.snapshot import Snapshot
from netdiag.snapshotfile import SnapshotRefused

NIGHT = re.compile(r"(.+)@(\d{4}-\d\d-\d\d)")
MARKER = "netdiag-store.json"


@dataclass(frozen=True)
class Fleet:
    """What a folder or store held."""

    hosts: tuple[FleetHost, ...]
    unreached: tuple[Unreached, ...]
    notices: tuple[Notice, ...] = ()
    stored: Any = field(default=None, compare=False)
    """The netdiag.fleet.store.read.StoredFleet that it came from; None: a folder."""


__all__ = ["Fleet", "FleetRefused", "fleet_of", "of_files", "view_of"]


def view_of(fleet: Fleet, **more: Any) -> FleetView:
    """What rules see of a fleet: of a store with its peer entries as columns."""
    columns = None
    if fleet.stored is not None:
        from netdiag.fleet.store.peers import peer_columns

        columns = partial(peer_columns, fleet.stored)
    return FleetView(hosts=fleet.hosts, columns=columns, **more)


def fleet_of(source: str) -> Fleet:
    """The fleet of a folder, a store (a path or an fsspec URL), or a store on one night. Raises FleetRefused."""
    where, night = source, None
    found = NIGHT.fullmatch(source)
    if found and not os.path.exists(source):
        where, night = found.groups()
    if remote(where) or os.path.isfile(os.path.join(where, MARKER)):
        stored = _stored(where, night)
        if stored is not None:
            return stored
    if night is not None:
        raise FleetRefused(f"{where}: is no store, so it has no night {night}")
    return of_files([where])


def _stored(where: str, night: str | None) -> Fleet | None:
    from netdiag.fleet.store.place import StoreRefused, place

    try:
        store = place(where)
        return fleet_in(store, night) if store.is_store else None
    except StoreRefused as error:
        raise FleetRefused(str(error)) from error


def fleet_in(store: Any, night: str | None = None) -> Fleet:
    """The fleet of a netdiag.fleet.store.place.Place. Raises StoreRefused."""
    from netdiag.fleet.store.read import StoredFleet

    stored = StoredFleet(store, night)
    return Fleet(tuple(stored.hosts()), stored.unreached, stored.notices, stored)


def of_files(sources: Sequence[str]) -> Fleet:
    """The fleet of folders and files. Raises FleetRefused."""
    swept = ledgers(sources)
    try:
        files = uploads(sources)
    except FleetRefused:
        if not swept:
            raise
        files = []  # a sweep that reached nobody
    seen, refused = [], []
    for upload in files:
        one, reason = look(upload)
        seen += [one] if one is not None else []
        refused += [reason] if reason is not None else []
    settled = settle(seen)
    series: dict[str, list[Snapshot]] = defaultdict(list)
    for upload in files:
        host = settled.hosts.get(upload.path)
        if host is None:
            continue
        try:
            found = upload.read()
        except SnapshotRefused as error:
            refused.append(Unreached(name=upload.path, reason=error.reason))
            continue
        series[host].append(found)
    gone = missing(swept, {name: max(row.meta.taken_at for row in rows) for name, rows in series.items()})
    refused += [Unreached(name=name, reason=reason) for name, reason in gone.items()]
    refused.sort(key=lambda row: row.name)
    hosts = tuple(_host(name, rows) for name, rows in sorted(series.items()) if name not in gone)
    return Fleet(hosts, tuple(refused), tuple(settled.notices))


def _host(name: str, snapshots: list[Snapshot]) -> FleetHost:
    ordered = sorted(snapshots, key=lambda snapshot: snapshot.meta.taken_at)
    earlier = [row for row in ordered[:-1] if row.meta.taken_at < ordered[-1].meta.taken_at]
    looks = tuple(partial(getattr, row.tables, "bird") for row in earlier)
    return FleetHost(name=name, snapshot=ordered[-1], previous=earlier[-1] if earlier else None, looks=looks)
