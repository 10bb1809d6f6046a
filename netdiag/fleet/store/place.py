"""Where a store lies: a path or an fsspec URL, its files written whole or not at all, and the loads it holds.

On a local disk a file is written beside its final name and renamed; an object store shows an object when its upload
ends. Raises StoreRefused, one line for a person.
"""

import os
import posixpath
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

MARKER = "netdiag-store.json"
SCHEMA = "netdiag.store/1"
MAJOR = 1
LOADS_LIMIT = 64 << 20
"""Bytes of one load's list of parts."""


class StoreRefused(Exception):
    """A place that is no store, or cannot be read or written."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One Parquet file."""

    view: str
    """``snapshots``, or the view whose rows it holds."""
    night: str
    region: str
    path: str
    """Below the store."""
    rows: int


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a load could not take."""

    name: str
    reason: str


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """What a load noticed of who sent what; see netdiag.model.fleetreport.Notice."""

    kind: str
    host: str
    detail: str


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One finished load."""

    schema: str = SCHEMA
    id: str
    """Its time and a random word; sorts by time."""
    loaded_at: str
    """UTC, by the clock of the machine that loaded."""
    netdiag: str
    """Version that wrote it."""
    judged_by: str | None = None
    """Fingerprint of the rules by which each host was judged; None: it was not."""
    parts: tuple[Part, ...] = ()
    refused: tuple[Refusal, ...] = ()
    notices: tuple[Remark, ...] = ()


class _Marker(msgspec.Struct):
    schema: str = ""


@dataclass(frozen=True)
class Place:
    """A store's file system and the path of its top."""

    fs: Any
    top: str
    local: bool
    name: str
    """As it was given."""

    def at(self, *words: str) -> str:
        """The path of something below the top."""
        return posixpath.join(self.top, *words)

    @property
    def anywhere(self) -> str:
        """Its name for a process with another working directory, perhaps on another machine."""
        return self.top if self.local else self.name

    def exists(self, *words: str) -> bool:
        """Whether it is there."""
        with self._refusing():
            return bool(self.fs.exists(self.at(*words)))

    def read(self, *words: str, limit: int = LOADS_LIMIT) -> bytes:
        """A small file, whole. Raises StoreRefused."""
        with self._refusing(), self.fs.open(self.at(*words), "rb") as file:
            octets: bytes = file.read(limit + 1)
        if len(octets) > limit:
            raise StoreRefused(f"{self.name}: {'/'.join(words)} is larger than {limit >> 20} MiB")
        return octets

    def put(self, octets: Any, *words: str) -> None:
        """Write a file that appears whole or not at all. Raises StoreRefused."""
        final = self.at(*words)
        with self._refusing():
            self.fs.makedirs(posixpath.dirname(final), exist_ok=True)
            if not self.local:
                self.fs.pipe_file(final, bytes(octets))
                return
            temporary = posixpath.join(posixpath.dirname(final), f".{secrets.token_hex(8)}.tmp")
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(octets)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, final)
            finally:
                if os.path.lexists(temporary):
                    os.unlink(temporary)

    def make(self) -> None:
        """Make it a store, or see that it is one. Raises StoreRefused."""
        if self.is_store:
            return
        with self._refusing():
            if self.fs.exists(self.top) and (not self.fs.isdir(self.top) or self.fs.ls(self.top)):
                raise StoreRefused(f"{self.name}: is no store of netdiag, and not empty")
        self.put(msgspec.json.encode({"schema": SCHEMA}) + b"\n", MARKER)

    @property
    def is_store(self) -> bool:
        """Whether there is a store of a version that can be read. Raises StoreRefused for a newer one."""
        if not self.exists(MARKER):
            return False
        try:
            schema = msgspec.json.decode(self.read(MARKER), type=_Marker).schema
        except msgspec.MsgspecError:
            raise StoreRefused(f"{self.name}: {MARKER} is not readable") from None
        name, _, major = schema.rpartition("/")
        if name != SCHEMA.rpartition("/")[0] or not major.isdecimal():
            raise StoreRefused(f"{self.name}: {MARKER} says schema {schema[:60]!r}")
        if int(major) > MAJOR:
            raise StoreRefused(f"{self.name}: written by a newer netdiag: {schema}; this one reads up to {SCHEMA}")
        return True

    def loads(self) -> Iterator[Load]:
        """Every finished load, oldest first. Raises StoreRefused."""
        if not self.exists("loads"):
            return
        with self._refusing():
            names = sorted(posixpath.basename(path) for path in self.fs.ls(self.at("loads"), detail=False))
        for name in names:
            if not name.endswith(".json") or name.startswith("."):
                continue
            try:
                load = msgspec.json.decode(self.read("loads", name), type=Load)
            except msgspec.MsgspecError as error:
                raise StoreRefused(f"{self.name}: loads/{name} is damaged: {error}") from None
            for part in load.parts:
                if part.path.startswith("/") or ".." in part.path.split("/"):
                    raise StoreRefused(f"{self.name}: loads/{name} names a part outside the store")
            yield load

    def _refusing(self) -> "_Refusing":
        return _Refusing(self.name)


class _Refusing:
    """Turns what a file system raises into one line."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, (OSError, ValueError, RuntimeError)):
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise StoreRefused(f"{self.name}: {' '.join(said.split())[:200]}") from error


def place(url: str) -> Place:
    """The place that a path or URL names; nothing is read yet. Raises StoreRefused."""
    from fsspec.core import url_to_fs

    try:
        fs, top = url_to_fs(url if "://" in url or "::" in url else os.path.abspath(url))
    except (ImportError, ValueError, OSError) as error:
        raise StoreRefused(f"{url}: {' '.join(str(error).split())[:200]}") from error
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return Place(fs=fs, top=top.rstrip("/") or "/", local="file" in protocols, name=url)
