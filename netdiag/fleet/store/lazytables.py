"""Tables that are decoded when somebody asks for them: a rule over 1,000 hosts looks at three of forty.

What is large is not kept: a host's thousand peers are decoded again for the next who asks. Raises StoreRefused where
the octets are damaged.
"""

from collections.abc import Callable
from typing import Any

from netdiag.fleet.store.place import StoreRefused
from netdiag.model.codec import BULK, SMALL, CodecError, decode
from netdiag.model.snapshot import Tables

NAMES = frozenset((*SMALL, *BULK))
LARGE = 16 << 10
"""Bytes of a table from which it is not kept."""
NOTHING = Tables()

Fetch = Callable[[str], bytes | memoryview | None]
"""The octets of a table by name; None: it was never read."""


class LazyTables(Tables):
    """As Tables, over octets."""

    def __init__(self, fetch: Fetch) -> None:
        object.__setattr__(self, "_fetch", fetch)
        object.__setattr__(self, "_kept", {})

    def __getattribute__(self, name: str) -> Any:
        if name not in NAMES:
            return object.__getattribute__(self, name)
        kept: dict[str, Any] = object.__getattribute__(self, "_kept")
        if name in kept:
            return kept[name]
        table, size = decoded(name, object.__getattribute__(self, "_fetch")(name))
        if size < LARGE:
            kept[name] = table
        return table

    def whole(self) -> Tables:
        """All of them, decoded once."""
        fetch = object.__getattribute__(self, "_fetch")
        return Tables(**{name: decoded(name, fetch(name))[0] for name in NAMES})


def decoded(name: str, octets: bytes | memoryview | None) -> tuple[Any, int]:
    """A table and how many bytes it was. Raises StoreRefused."""
    if octets is None:
        return getattr(NOTHING, name), 0
    try:
        _, tables = decode(memoryview(octets))
        return tables[name], len(octets)
    except (CodecError, KeyError) as error:
        raise StoreRefused(f"table {name} of the store is damaged: {error}") from error
