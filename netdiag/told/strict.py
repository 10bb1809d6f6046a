"""TOML as tables with known keys and types: what both files share.

A ``Table`` is asked for its keys one by one; at the end, keys that nobody asked for are the error. Every complaint is
``FILE: [[section]] number N: what is wrong``.
"""

import difflib
import ipaddress
import os
import stat
import tomllib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

LIMIT = 16 << 20
"""Bytes of a file; 50,000 WireGuard peers take about 6 MB."""
T = TypeVar("T")


class ToldRefused(Exception):
    """A file that is not what it should be; the text is one line that names file and key."""


def load(path: str, label: str = "") -> "Table":
    """The top level of a TOML file. Raises ToldRefused."""
    return parse(read_bounded(path), path)


def read_bounded(path: str) -> bytes:
    """The content of a regular file of at most 16 MiB. Raises ToldRefused."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ToldRefused(f"{path}: not a regular file")
            content = file.read(LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise ToldRefused(f"{path}: {reason.lower()}") from error
    if len(content) > LIMIT:
        raise ToldRefused(f"{path}: larger than {LIMIT >> 20} MiB")
    return content


def read_text(path: str) -> str:
    """The same as text. Raises ToldRefused."""
    try:
        return read_bounded(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ToldRefused(f"{path}: not UTF-8") from error


def parse(content: bytes, path: str) -> "Table":
    """The same from bytes."""
    try:
        return Table(tomllib.loads(content.decode("utf-8-sig")), path, "")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ToldRefused(f"{path}: not TOML: {' '.join(str(error).split())}") from error


class Table:
    """One table of the file, which knows where it stands."""

    def __init__(self, rows: dict[str, Any], path: str, place: str) -> None:
        self.rows = rows
        self.path = path
        self.place = place
        self.asked: set[str] = set()

    def refuse(self, what: str) -> ToldRefused:
        """A complaint about this table, to be raised."""
        return ToldRefused(f"{self.path}: {self.place}{': ' if self.place else ''}{what}")

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self.rows

    def take(self, key: str, convert: Callable[[Any], T], default: T | None = None, *, required: bool = False) -> Any:
        """The value of a key, converted; ``convert`` raises ValueError with what it should have been."""
        self.asked.add(key)
        if key not in self.rows:
            if required:
                raise self.refuse(f"{key} is missing")
            return default
        try:
            return convert(self.rows[key])
        except (ValueError, TypeError) as error:
            raise self.refuse(f"{key} = {_shown(self.rows[key])}: {error}") from error

    def tables(self, key: str) -> "Iterator[Table] | None":
        """The tables of ``[[key]]``; None where there is none."""
        self.asked.add(key)
        if key not in self.rows:
            return None
        rows = self.rows[key]
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self.refuse(f"{key} must be an array of tables: [[{key}]]")
        dotted = f"{self.place.strip('[]').partition(']')[0]}.{key}" if self.place else key
        many = len(rows) > 1
        return (Table(r, self.path, f"[[{dotted}]]{f' number {n}' if many else ''}") for n, r in enumerate(rows, 1))

    def table(self, key: str) -> "Table | None":
        """The table ``[key]``; None where there is none."""
        self.asked.add(key)
        if key not in self.rows:
            return None
        if not isinstance(self.rows[key], dict):
            raise self.refuse(f"{key} must be a table: [{key}]")
        return Table(self.rows[key], self.path, f"[{key}]")

    def done(self) -> None:
        """Raise ToldRefused for the first key that nobody asked for."""
        for key in self.rows:
            if key not in self.asked:
                close = difflib.get_close_matches(key, sorted(self.asked), n=1)
                hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(self.asked))}"
                raise self.refuse(f"unknown key {_shown(key)} ({hint})")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def text(value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text that is not empty")
    return value


def number(value: Any) -> int:
    """An integer from 0 to 2^32-1; texts of any base (``0x1``) will do."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    if isinstance(value, str):
        try:
            value = int(value, 0)
        except ValueError:
            raise ValueError("must be a number") from None
    if not isinstance(value, int) or not 0 <= value < 2**32:
        raise ValueError("must be a number from 0 to 4294967295")
    return value


def truth(value: Any) -> bool:
    """true or false; ``ip -j`` prints null for a flag that is set, which TOML cannot say."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def address(value: Any) -> str:
    """An address, canonical."""
    try:
        return str(ipaddress.ip_address(text(value)))
    except ValueError:
        raise ValueError("must be an address") from None


def prefix(value: Any) -> str:
    """A prefix without host bits, canonical; an address is a prefix of full length."""
    try:
        return str(ipaddress.ip_network(text(value)))
    except ValueError as error:
        hint = " (it has host bits set)" if "host bits" in str(error) else ""
        raise ValueError(f"must be a prefix{hint}") from None


def prefixes(value: Any) -> tuple[str, ...]:
    """A list of prefixes."""
    if not isinstance(value, list):
        raise ValueError("must be a list of prefixes")
    return tuple(prefix(entry) for entry in value)
