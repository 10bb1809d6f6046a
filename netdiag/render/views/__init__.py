"""The tables that ``netdiag show`` knows, one file each; the file's name is the table's and its ``VIEW`` says the rest.

A new table needs nothing but its file. Names and values are spelled as iproute2 spells them in ``ip -json``.
"""

import importlib
import pkgutil
from typing import cast

from netdiag.render.tables import View


def names() -> tuple[str, ...]:
    """Every table by name, in alphabetical order."""
    return tuple(sorted(entry.name for entry in pkgutil.iter_modules(__path__) if not entry.name.startswith("_")))


def view(name: str) -> View:
    """The view of one table. Raises KeyError where there is none."""
    if name not in names():
        raise KeyError(name)
    return cast(View, importlib.import_module(f"{__name__}.{name}").VIEW)
