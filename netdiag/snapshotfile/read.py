"""Read a snapshot that may come from anywhere: a broken disk, a newer netdiag, somebody who means harm.

Whatever the bytes are, the outcome is a Snapshot or ``SnapshotRefused`` with one line, never another exception, and
memory stays bounded: sizes and counts are compared with the caps below before anything is allocated for them, and again
while members inflate. Nothing from the archive ever becomes a path of this machine.
"""

import io
import os
import select
import struct
import sys
import zipfile
import zlib
from typing import IO, Any

import msgspec
import numpy as np

from netdiag.model.codec import BULK
from netdiag.model.neighbour import LLADDR_SIZE
from netdiag.model.snapshot import Meta, Snapshot, Tables
from netdiag.snapshotfile.checks import check_tables
from netdiag.snapshotfile.column import read_column
from netdiag.snapshotfile.document import (
    DOCUMENT_LIMIT,
    MEMBER,
    META_FIELDS,
    SCHEMA_MAJOR,
    SCHEMA_NAME,
    BulkCard,
    Document,
    empty_tables,
    member_of,
    table_type,
)
from netdiag.snapshotfile.outputfile import reason_of
from netdiag.snapshotfile.strictjson import refuse_odd_json

FILE_LIMIT = 1 << 30
"""Bytes of the zip. A million routes are about 10 MB."""
INFLATED_LIMIT = 2 << 30
"""Bytes of all members together."""
ROWS_LIMIT = 16_000_000
MEMBERS_LIMIT = 4096
DIRECTORY_LIMIT = 1 << 20
"""Bytes of the zip's central directory."""
DEFLATE_RATIO = 1032
"""Deflate cannot shrink further than this (zlib's technical notes)."""

FIRST_TABLES = (
    "links",
    "peer_links",
    "netns_ids",
    "addresses",
    "routes",
    "routes6",
    "rules",
    "nexthops",
    "neighbours",
    "neigh_tables",
    "sysctls",
    "counters",
)
"""Every netdiag.snapshot/1 has these. Tables that came later are not required, or older files would be refused."""

WAIT_MS = 200
PIECE = 1 << 20
"""Bytes asked of a pipe at once."""

END = b"PK\x05\x06"
END_SIZE = 22
LOCATOR64 = b"PK\x06\x07"
LOCATOR64_SIZE = 20

BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    OSError,
    struct.error,
    msgspec.MsgspecError,
)
"""What zipfile, zlib and msgspec raise on bytes that are not what they claim."""


class SnapshotRefused(Exception):
    """A file is not a snapshot that this version can read. ``path`` as given, ``reason`` in a few words."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def read_snapshot(source: str | IO[bytes]) -> Snapshot:
    """The snapshot in a file, in a binary stream, or, for ``-``, on standard input. Raises SnapshotRefused."""
    if not isinstance(source, str):
        return _read("(stream)", source)
    if source == "-":
        return _read("standard input", sys.stdin.buffer)
    try:
        if os.path.isdir(source):
            raise SnapshotRefused(source, "is a directory, not a snapshot")
        with open(source, "rb") as file:
            return _read(source, file)
    except (OSError, ValueError) as error:
        raise SnapshotRefused(source, reason_of(error).lower()) from error


def _read(path: str, file: IO[bytes]) -> Snapshot:
    try:
        seekable = _whole(file)
        check_end(seekable)
        with zipfile.ZipFile(seekable) as archive:
            return _snapshot(_Archive(archive))
    except RecursionError:
        raise SnapshotRefused(path, "not a snapshot: nested too deep") from None
    except MemoryError:
        raise SnapshotRefused(path, "does not fit into memory") from None
    except _Newer as error:
        raise SnapshotRefused(path, str(error)) from None
    except BROKEN as error:
        raise SnapshotRefused(path, f"not a readable snapshot: {_one_line(error)}") from error


class _Newer(Exception):
    """A schema of a later major version."""


def _one_line(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__


def _whole(file: IO[bytes]) -> IO[bytes]:
    """The file itself where it can seek, else all that the pipe gives, up to the limit."""
    if file.seekable():
        size = file.seek(0, os.SEEK_END)
    else:
        content = _drained(file)
        file, size = io.BytesIO(content), len(content)
    if size > FILE_LIMIT:
        raise ValueError(f"larger than {FILE_LIMIT >> 20} MiB")
    if size == 0:
        raise ValueError("empty")
    return file


def _drained(pipe: IO[bytes]) -> bytes:
    """Everything that comes out of a pipe, up to one byte more than the limit.

    Waits with poll(2) and a timeout, because a signal that arrives just before a blocking read(2) would wake nobody
    until the next byte comes: Python runs its handlers between bytecodes.
    """
    if not isinstance(pipe, io.BufferedReader):
        return pipe.read(FILE_LIMIT + 1)
    ready = select.poll()
    ready.register(pipe.fileno(), select.POLLIN)
    content = bytearray()
    while len(content) <= FILE_LIMIT:
        if not ready.poll(WAIT_MS):
            continue
        chunk = pipe.read1(PIECE)
        if not chunk:
            break
        content += chunk
    return bytes(content)


def check_end(file: IO[bytes]) -> None:
    """Refuse a zip whose directory is too big to be ours before zipfile reads it. A comment or zip64 is never ours."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_SIZE - LOCATOR64_SIZE))
    tail = file.read(END_SIZE + LOCATOR64_SIZE)
    end = tail[-END_SIZE:]
    if len(end) < END_SIZE or not end.startswith(END):
        raise ValueError("not a zip file, or cut short")
    entries, octets = struct.unpack("<HL", end[10:16])
    if tail[:-END_SIZE].startswith(LOCATOR64) or entries > MEMBERS_LIMIT or octets > DIRECTORY_LIMIT:
        raise ValueError("its directory is larger than a snapshot's")


class _Archive:
    """The members of a zip, each inflated at most once, all of them within the caps."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.members: dict[str, zipfile.ZipInfo] = {}
        self.room = INFLATED_LIMIT
        for member in archive.infolist():
            self._check(member)
            self.members[member.filename] = member

    def _check(self, member: zipfile.ZipInfo) -> None:
        name = member.filename
        if name in self.members:
            raise ValueError(f"holds {name[:60]!r} twice")
        # orig_filename still has what follows a NUL, which zipfile cuts off.
        if name != member.orig_filename or name.startswith("/") or "\\" in name or ".." in name.split("/"):
            raise ValueError(f"holds a member named {member.orig_filename[:60]!r}")
        if member.flag_bits & 0x1:
            raise ValueError("is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"compression method {member.compress_type} of {name[:60]!r} is not supported")
        if member.file_size > member.compress_size * DEFLATE_RATIO:
            raise ValueError(f"{name[:60]!r} claims more bytes than deflate can hold")

    def member(self, name: str) -> zipfile.ZipInfo:
        """Account for one member that is about to be inflated. Raises ValueError where it is missing or too large."""
        member = self.members.get(name)
        if member is None:
            raise ValueError(f"{name} is missing")
        self.room -= member.file_size
        if self.room < 0:
            raise ValueError(f"more than {INFLATED_LIMIT >> 20} MiB when inflated")
        return member

    def document(self) -> bytes:
        """``snapshot.json``, whole."""
        member = self.member(MEMBER)
        if member.file_size > DOCUMENT_LIMIT:
            raise ValueError(f"{MEMBER} is larger than {DOCUMENT_LIMIT >> 20} MiB")
        with self.archive.open(member) as file:
            # zipfile stops at the declared size and compares the CRC there; one byte more would show a lie.
            content = file.read(member.file_size + 1)
        if len(content) != member.file_size:
            raise ValueError(f"{MEMBER} is not as long as the directory says")
        return content

    def bulk(self, name: str, card: BulkCard, like: Any) -> Any:
        """One bulk table."""
        if not 0 <= card.rows <= ROWS_LIMIT:
            raise ValueError(f"{name} has {card.rows} rows")
        columns: dict[str, Any] = {}
        for column in like.COLUMNS:
            member = self.member(member_of(name, column))
            if not card.rows:
                columns[column] = getattr(like, column)
                continue
            with self.archive.open(member) as file:
                try:
                    columns[column] = read_column(file, member.file_size, card.rows, getattr(like, column))
                except ValueError as error:
                    raise ValueError(f"{member.filename} {error}") from error
        if hasattr(like, "extras"):
            columns |= {"family": card.family or "", "extras": card.extras}
        if name == "neighbours":
            columns["lladdr"] = _widened(columns["lladdr"], columns["lladdr_len"])
        return BULK[name](**columns)


def _widened(lladdr: Any, lengths: Any) -> Any:
    """Hardware addresses as wide as they are now. Older files kept 8 bytes of each: what was longer is not known."""
    kept = lladdr.shape[1]
    if kept == LLADDR_SIZE:
        return lladdr
    if (lengths > kept).any():
        raise ValueError(f"neighbours.lladdr holds addresses that were cut short at {kept} bytes")
    return np.pad(lladdr, ((0, 0), (0, LLADDR_SIZE - kept)))


class _Head(msgspec.Struct):
    schema: str = ""


def _check_schema(content: bytes) -> None:
    schema = msgspec.json.decode(content, type=_Head).schema
    name, _, major = schema.rpartition("/")
    if name != SCHEMA_NAME or not (major.isascii() and major.isdecimal()) or len(major) > 6:
        raise ValueError(f"{MEMBER} says schema {schema[:60]!r}")
    if int(major) > SCHEMA_MAJOR:
        raise _Newer(f"written by a newer netdiag: {schema}; this one reads up to {SCHEMA_NAME}/{SCHEMA_MAJOR}")
    if int(major) < SCHEMA_MAJOR:
        raise ValueError(f"{MEMBER} says schema {schema!r}")


def _snapshot(archive: _Archive) -> Snapshot:
    content = archive.document()
    _check_schema(content)
    refuse_odd_json(content)
    document = msgspec.json.decode(content, type=Document)
    tables = empty_tables()
    for name, raw in document.tables.items():
        known = table_type(name)
        if known is None:
            continue  # a table that a later /1 added
        value = _table(name, raw, known)
        tables[name] = archive.bulk(name, value, tables[name]) if name in BULK else value
    missing = [name for name in FIRST_TABLES if name not in document.tables]
    if missing:
        raise ValueError(f"{MEMBER} has no table {', '.join(missing)}")
    host = Tables(**tables)
    check_tables(host)
    meta = Meta(**{name: getattr(document, name) for name in META_FIELDS})
    return Snapshot(meta=meta, tables=host, coverage=document.coverage)


def _table(name: str, raw: msgspec.Raw, known: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=known)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}: {error}") from error
