"""Read a folder of ``.netdiag`` files as a fleet.

Several snapshots of one host are a series ordered by when they were taken: the newest is the state, the one before it
gives deltas. A file that is refused, or a host whose newest snapshot is far older than the fleet's, is told; it never
takes another one's place. Raises FleetRefused where there is nothing to read.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from netdiag.index.fleet import FleetHost
from netdiag.model.fleetreport import Unreached
from netdiag.model.snapshot import Snapshot
from netdiag.snapshotfile import SnapshotRefused, read_snapshot


class FleetRefused(Exception):
    """A folder is not one of snapshots."""


@dataclass(frozen=True)
class Fleet:
    """What a folder held."""

    hosts: tuple[FleetHost, ...]
    unreached: tuple[Unreached, ...]


def load(folder: str) -> Fleet:
    """Every ``.netdiag`` file below ``folder``. Raises FleetRefused."""
    top = Path(folder)
    if not top.is_dir():
        raise FleetRefused(f"{folder}: is no folder of snapshots")
    paths = sorted(path for path in top.rglob("*.netdiag") if path.is_file())
    if not paths:
        raise FleetRefused(f"{folder}: holds no .netdiag file")
    series: dict[str, list[Snapshot]] = defaultdict(list)
    refused: list[Unreached] = []
    for path in paths:
        try:
            found = read_snapshot(str(path))
        except SnapshotRefused as error:
            refused.append(Unreached(name=str(path.relative_to(top)), reason=error.reason))
            continue
        series[found.meta.name].append(found)
    return Fleet(tuple(_host(name, rows) for name, rows in sorted(series.items())), tuple(refused))


def _host(name: str, snapshots: list[Snapshot]) -> FleetHost:
    ordered = sorted(snapshots, key=lambda snapshot: snapshot.meta.taken_at)
    earlier = [row for row in ordered[:-1] if row.meta.taken_at < ordered[-1].meta.taken_at]
    return FleetHost(name=name, snapshot=ordered[-1], previous=earlier[-1] if earlier else None)
