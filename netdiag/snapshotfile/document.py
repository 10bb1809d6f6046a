"""The shape of ``snapshot.json``: what both the writer and the reader of a snapshot go by.

Top level: the fields of ``model.snapshot.Meta``, then ``coverage`` and ``tables``. In ``tables`` a small table stands
as it is; a bulk table stands as an object with ``rows``, ``family`` where it has one and ``extras``, and its columns
are the members ``tables/<table>/<column>.npy``. Pure; nothing can fail.
"""

from dataclasses import fields
from typing import Any

import msgspec

from netdiag.model.codec import BULK, SMALL
from netdiag.model.coverage import Coverage
from netdiag.model.route import RouteExtra
from netdiag.model.snapshot import Meta, Tables

MEMBER = "snapshot.json"
DOCUMENT_LIMIT = 512 << 20
"""Bytes of ``snapshot.json``. 4,000 links take about 10 MB, 100,000 routes exported by BIRD about 25 MB."""
SCHEMA_NAME = "netdiag.snapshot"
SCHEMA_MAJOR = 1


class BulkCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ``snapshot.json`` says of a table whose columns stand beside it."""

    rows: int
    """Length of every column."""
    family: str | None = None
    """``inet`` or ``inet6`` for a table of one family."""
    extras: tuple[RouteExtra, ...] = ()
    """Distinct unusual values; the column ``extra`` points into them."""


class Document(Meta, frozen=True, kw_only=True):
    """``snapshot.json`` with its tables still undecoded."""

    coverage: tuple[Coverage, ...]
    """How each collector fared."""
    tables: dict[str, msgspec.Raw]
    """By name."""


META_FIELDS = tuple(field.name for field in msgspec.structs.fields(Meta))


def table_type(name: str) -> Any:
    """The type of a table in ``snapshot.json``; None for a table that this version does not know."""
    return BulkCard if name in BULK else SMALL.get(name)


def member_of(table: str, column: str) -> str:
    """Path of a column inside the zip."""
    return f"tables/{table}/{column}.npy"


def empty_tables() -> dict[str, Any]:
    """Every table without rows: what is not in a file, and the dtype and width that each column must have."""
    nothing = Tables()
    return {field.name: getattr(nothing, field.name) for field in fields(Tables)}
