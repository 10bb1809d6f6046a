"""From structs of the model to columns, and the types that the columns of a view have.

A field that is text, a whole number, a real number or a truth value is a column of that; a tuple of texts is a list;
everything else is JSON text. Whole numbers that 64 bits with a sign do not hold are left out: no kernel counts so far.
Nothing can fail.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from netdiag.model.snapshot import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("text", "integer", "real", "flag", "texts", "json")
INT64 = 2**63


@dataclass(frozen=True)
class Column:
    """One column of a view."""

    name: str
    kind: str
    """One of KINDS."""
    words: str = ""
    """What it is; empty: the model says so."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One view: a table of all hosts."""

    name: str
    words: str
    """What a row is."""
    collector: str
    """Whose coverage tells whether the rows are whole."""
    columns: tuple[Column, ...]
    fill: Callable[[Snapshot], dict[str, Sequence[Any]]]
    """The columns of one snapshot, each of the same length."""
    structs: tuple[type[Any], ...] = field(default=())
    """Whose fields have the sentences that the columns lack."""


def kind_of(kind: Any) -> str:
    """The kind of column for a type that msgspec has inspected."""
    members = [kind]
    if isinstance(kind, msgspec.inspect.UnionType):
        members = [member for member in kind.types if not isinstance(member, msgspec.inspect.NoneType)]
    if len(members) != 1:
        return "json"
    (one,) = members
    if isinstance(one, (msgspec.inspect.StrType,)):
        return "text"
    if isinstance(one, msgspec.inspect.LiteralType) and all(isinstance(value, str) for value in one.values):
        return "text"
    if isinstance(one, msgspec.inspect.BoolType):
        return "flag"
    if isinstance(one, msgspec.inspect.IntType):
        return "integer"
    if isinstance(one, msgspec.inspect.FloatType):
        return "real"
    if isinstance(one, msgspec.inspect.VarTupleType) and isinstance(one.item_type, msgspec.inspect.StrType):
        return "texts"
    return "json"


def fields_of(struct: type[Any], without: Iterable[str] = ()) -> tuple[Column, ...]:
    """A column for each field of a struct."""
    found = msgspec.inspect.type_info(struct)
    assert isinstance(found, msgspec.inspect.StructType)
    left_out = set(without)
    return tuple(Column(one.name, kind_of(one.type)) for one in found.fields if one.name not in left_out)


def of_structs(columns: Iterable[Column], rows: Sequence[Any]) -> dict[str, list[Any]]:
    """The fields of these rows as columns."""
    filled: dict[str, list[Any]] = {}
    for column in columns:
        name = column.name
        values = [getattr(row, name) for row in rows]
        if column.kind == "json":
            values = [None if value is None else msgspec.json.encode(value).decode() for value in values]
        filled[name] = values
    return filled


def view_of(
    name: str,
    words: str,
    collector: str,
    struct: type[Any],
    rows: Callable[[Snapshot], Sequence[Any]],
    *,
    without: Iterable[str] = (),
    lead: Iterable[Column] = (),
    leading: Callable[[Snapshot, Sequence[Any]], dict[str, Sequence[Any]]] | None = None,
) -> View:
    """A view of one struct a row. ``lead`` are columns before the struct's, which ``leading`` fills."""
    own = fields_of(struct, without)
    first = tuple(lead)

    def fill(snapshot: Snapshot) -> dict[str, Sequence[Any]]:
        found = rows(snapshot)
        before = leading(snapshot, found) if leading else {}
        return before | of_structs(own, found)

    return View(name=name, words=words, collector=collector, columns=(*first, *own), fill=fill, structs=(struct,))


def arrow_type(kind: str) -> "pa.DataType":
    """The Parquet type of a kind of column."""
    import pyarrow as pa

    return {
        "text": pa.string(),
        "json": pa.string(),
        "integer": pa.int64(),
        "real": pa.float64(),
        "flag": pa.bool_(),
        "texts": pa.list_(pa.string()),
    }[kind]


def array(kind: str, values: Sequence[Any]) -> "pa.Array":
    """A column for a part."""
    import pyarrow as pa

    wanted = arrow_type(kind)
    try:
        return pa.array(values, wanted, from_pandas=False)
    except (OverflowError, pa.ArrowInvalid):
        fitting = [value if value is None or -INT64 <= value < INT64 else None for value in values]
        return pa.array(fitting, wanted)
    except UnicodeEncodeError:
        return pa.array([_spelled(value) for value in values], wanted)


def _spelled(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return [_spelled(one) for one in value] if isinstance(value, (list, tuple)) else value
