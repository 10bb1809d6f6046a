"""Write a snapshot: the same snapshot gives the same bytes, and the file appears whole or not at all.

What can fail is the file system, or a host that is larger than any reader accepts: ``OutputRefused``.
"""

import io
import zipfile
from typing import IO, Any

import msgspec

from netdiag.model.codec import BULK
from netdiag.model.snapshot import Snapshot
from netdiag.snapshotfile.column import header_of, octets_of
from netdiag.snapshotfile.document import DOCUMENT_LIMIT, MEMBER, META_FIELDS, BulkCard, empty_tables, member_of
from netdiag.snapshotfile.outputfile import OutputRefused, replacing

LEVEL = 1
"""Columns of routes shrink to about a tenth already at deflate's fastest level."""
CHUNK = 1 << 20


def write_snapshot(snapshot: Snapshot, path: str) -> None:
    """Write ``path`` with mode 0600, atomically. Raises OutputRefused."""
    with replacing(path) as file:
        _write(snapshot, file)


def snapshot_octets(snapshot: Snapshot) -> bytes:
    """The same bytes in memory, for a pipe."""
    buffer = io.BytesIO()
    _write(snapshot, buffer)
    return buffer.getvalue()


def _document(snapshot: Snapshot) -> bytes:
    tables: dict[str, Any] = {}
    for name in empty_tables():
        table = getattr(snapshot.tables, name)
        if name in BULK:
            extras = getattr(table, "extras", ())
            family = table.family if isinstance(getattr(table, "family", None), str) else None
            table = BulkCard(rows=len(table), family=family, extras=extras)
        tables[name] = msgspec.Raw(msgspec.json.encode(table, order="deterministic"))
    meta = {name: getattr(snapshot.meta, name) for name in META_FIELDS}
    encoded = msgspec.json.encode({**meta, "coverage": snapshot.coverage, "tables": tables})
    return msgspec.json.format(encoded, indent=1) + b"\n"


def _write(snapshot: Snapshot, file: IO[bytes]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
        document = _document(snapshot)
        if len(document) > DOCUMENT_LIMIT:
            raise OutputRefused(MEMBER, f"would be larger than {DOCUMENT_LIMIT >> 20} MiB, which no reader accepts")
        _add(archive, MEMBER, [memoryview(document)])
        for name in BULK:
            table = getattr(snapshot.tables, name)
            for column in table.COLUMNS:
                array = getattr(table, column)
                _add(archive, member_of(name, column), [memoryview(header_of(array)), octets_of(array)])


def _add(archive: zipfile.ZipFile, name: str, parts: list[memoryview]) -> None:
    # A member opened by name carries the earliest time a zip can say (1980) and mode 0600: two writings do not differ.
    with archive.open(name, "w") as out:
        for part in parts:
            for start in range(0, len(part), CHUNK):
                out.write(part[start : start + CHUNK])
