"""The ``.netdiag`` files of a fleet: in a folder, named one by one, or behind an fsspec URL; found, and looked at.

A file that cannot be read costs that file. Raises FleetRefused where there is nothing to read at all.
"""

import hashlib
import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from netdiag.fleet.identity import SUFFIX, Seen
from netdiag.model.fleetreport import Unreached
from netdiag.model.snapshot import Snapshot
from netdiag.snapshotfile import SnapshotRefused, read_snapshot
from netdiag.snapshotfile.peek import peek
from netdiag.snapshotfile.read import FILE_LIMIT


class FleetRefused(Exception):
    """A folder or store is not one of snapshots."""


@dataclass(frozen=True)
class Upload:
    """One file."""

    path: str
    """Below the folder that was given, with ``/``: what a report calls it."""
    url: str
    """Where it is: a path of this machine, or an fsspec URL."""
    size: int = 0
    """Bytes."""

    def open(self) -> IO[bytes]:
        """Its content. Raises OSError."""
        if "://" not in self.url:
            return open(self.url, "rb")
        import fsspec

        file: IO[bytes] = fsspec.open(self.url, "rb").open()
        return file

    def read(self) -> Snapshot:
        """The snapshot. Raises SnapshotRefused."""
        if "://" not in self.url:
            return read_snapshot(self.url)
        try:
            with self.open() as file:
                return read_snapshot(file)
        except (OSError, ValueError) as error:
            raise SnapshotRefused(self.path, str(error)) from error


def remote(source: str) -> bool:
    """Whether a source is an fsspec URL and no path."""
    return "://" in source


def uploads(sources: Iterable[str]) -> list[Upload]:
    """Every file of these folders and files, by name. Raises FleetRefused for one that holds none."""
    found: dict[str, Upload] = {}
    for source in sources:
        here = list(_remote(source) if remote(source) else _local(source))
        if not here:
            raise FleetRefused(f"{source}: holds no {SUFFIX} file")
        for upload in here:
            found.setdefault(upload.url, upload)
    return sorted(found.values(), key=lambda upload: (upload.path, upload.url))


def _local(source: str) -> Iterator[Upload]:
    top = Path(source)
    if top.is_file():
        folder = top.absolute().parent.name
        yield Upload(f"{folder}/{top.name}" if folder else top.name, source, top.stat().st_size)
        return
    if not top.is_dir():
        raise FleetRefused(f"{source}: is neither a folder of snapshots nor a store")
    for folder, _, names in os.walk(top):
        for name in names:
            path = Path(folder, name)
            if name.endswith(SUFFIX) and path.is_file():
                yield Upload(path.relative_to(top).as_posix(), str(path), path.stat().st_size)


def _remote(source: str) -> Iterator[Upload]:
    from fsspec.core import url_to_fs

    try:
        fs, top = url_to_fs(source)
        rows: dict[str, Any] = fs.find(top, detail=True)
    except (ImportError, ValueError, OSError, RuntimeError) as error:
        raise FleetRefused(f"{source}: {' '.join(str(error).split())[:200]}") from error
    for path, row in rows.items():
        if path.endswith(SUFFIX):
            below = posixpath.relpath(path, top) if path != top else posixpath.basename(path)
            yield Upload(below, str(fs.unstrip_protocol(path)), int(row.get("size") or 0))


def look(upload: Upload) -> tuple[Seen | None, Unreached | None]:
    """What a file says of itself, without reading it whole where that can be avoided; or why it cannot be read."""
    try:
        if upload.size > FILE_LIMIT:
            raise SnapshotRefused(upload.path, f"larger than {FILE_LIMIT >> 20} MiB")
        with upload.open() as file:
            digest = _digest(file)
            meta = peek(file)
        meta = meta or upload.read().meta
    except SnapshotRefused as error:
        return None, Unreached(name=upload.path, reason=error.reason)
    except (OSError, ValueError) as error:
        return None, Unreached(name=upload.path, reason=(getattr(error, "strerror", None) or str(error)).lower())
    return Seen(
        path=upload.path,
        name=meta.name,
        taken_at=meta.taken_at,
        boot_id=meta.boot_id,
        uptime=meta.uptime,
        digest=digest,
    ), None


def _digest(file: IO[bytes]) -> str:
    found = hashlib.sha256()
    left = FILE_LIMIT
    while left > 0 and (chunk := file.read(1 << 20)):
        found.update(chunk)
        left -= len(chunk)
    file.seek(0)
    return found.hexdigest()
