"""Walk a host's tables and change what is found there: numbers of interfaces, names, the order of rows.

Everything is rebuilt; what is not changed is shared. Works on msgspec structs, dataclasses with NumPy columns, tuples
and dicts, so a new table takes part without a line here.
"""

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

Leaf = Callable[[Any, str, Any], Any]
"""(owner, field, value) -> new value; the owner is the struct that holds it."""


def rewritten(value: Any, leaf: Leaf, owner: Any = None, field: str = "") -> Any:
    """The same with every leaf (scalar, string, column) passed through ``leaf``; keys of dicts too, as field "key"."""
    if isinstance(value, msgspec.Struct):
        new = {n: rewritten(getattr(value, n), leaf, value, n) for n in value.__struct_fields__}
        return type(value)(**new)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f.name for f in dataclasses.fields(value) if f.init]
        return dataclasses.replace(value, **{n: rewritten(getattr(value, n), leaf, value, n) for n in fields})
    if isinstance(value, tuple):
        return tuple(rewritten(item, leaf, owner, field) for item in value)
    if isinstance(value, list):
        return [rewritten(item, leaf, owner, field) for item in value]
    if isinstance(value, dict):
        return {leaf(owner, "key", key): rewritten(item, leaf, owner, str(key)) for key, item in value.items()}
    return leaf(owner, field, value)


def shuffled(rows: Any, dice: random.Random, alike: Callable[[Any], object] | None = None) -> Any:
    """Rows in another order; those that are ``alike`` keep their order among themselves."""
    order = list(range(len(rows)))
    dice.shuffle(order)
    if alike is not None:
        places: dict[object, list[int]] = {}
        for at in order:
            places.setdefault(alike(rows[at]), []).append(at)
        queues = {key: sorted(ats) for key, ats in places.items()}
        order = [queues[alike(rows[at])].pop(0) for at in order]
    return tuple(rows[at] for at in order)


def columns_shuffled(table: Any, dice: random.Random, alike: Callable[[int], object]) -> Any:
    """The same for a table of columns; ``alike`` is asked about positions."""
    order = list(shuffled(range(len(table)), dice, alike))
    new = {}
    for field in dataclasses.fields(table):
        value = getattr(table, field.name)
        if isinstance(value, np.ndarray) and len(value) == len(order):
            new[field.name] = value[order]
    return dataclasses.replace(table, **new)
