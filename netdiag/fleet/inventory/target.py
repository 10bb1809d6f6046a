"""One host of an inventory, and what every inventory must be: names that are one host's, addresses that can be dialled.

Text of an inventory becomes file names, arguments of SSH and labels, so what is odd is refused here and nowhere else.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from netdiag.model.sweep import Target

HOSTS_LIMIT = 200_000
LABELS_LIMIT = 64
LABEL_LENGTH = 256
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._\-]{0,199}")
ADDRESS = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9._:%\-]{0,252}")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@\-]{0,63}")


class InventoryRefused(Exception):
    """An inventory is not what it should be, or cannot be had; the text is one line."""


class UnknownInventory(Exception):
    """The words name no kind of inventory; the text is one line."""


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """All hosts, by name."""

    source: str
    """Where it came from, for people; no secrets."""
    targets: tuple[Target, ...]


def label(value: Any) -> str:
    """A label's value as text. Raises ValueError."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int)):
        raise ValueError("must be a text, a number, true or false")
    if len(str(value)) > LABEL_LENGTH or not str(value).isprintable():
        raise ValueError(f"must be at most {LABEL_LENGTH} characters that can be printed")
    return str(value)


def port(value: Any) -> int:
    """A TCP port, as a number or a text. Raises ValueError."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 1 << 16:
        raise ValueError("must be a port, 1 to 65535")
    return number


def target(
    where: str,
    name: Any,
    *,
    address: Any = None,
    at_port: Any = None,
    user: Any = None,
    host_key_alias: Any = None,
    labels: Mapping[Any, Any] | None = None,
) -> Target:
    """One host, checked; ``where`` begins the complaint. Raises InventoryRefused."""
    named = _matching(where, "name", name, NAME)
    where = f"{where}: {named}"
    told: dict[str, str] = {}
    for key, value in (labels or {}).items():
        try:
            told[_matching(where, "label", key, NAME)] = label(value)
        except ValueError as error:
            raise InventoryRefused(f"{where}: label {key}: {error}") from error
    if len(told) > LABELS_LIMIT:
        raise InventoryRefused(f"{where}: more than {LABELS_LIMIT} labels")
    try:
        number = None if at_port is None else port(at_port)
    except ValueError as error:
        raise InventoryRefused(f"{where}: port {error}") from error
    return Target(
        name=named,
        address=_matching(where, "address", named if address is None else address, ADDRESS),
        port=number,
        user=None if user is None else _matching(where, "user", user, USER),
        host_key_alias=None if host_key_alias is None else _matching(where, "host_key_alias", host_key_alias, ADDRESS),
        labels=told,
    )


def _matching(where: str, what: str, value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        shown = repr(value)
        raise InventoryRefused(f"{where}: {what} {shown[:60]}{'...' if len(shown) > 60 else ''} cannot be one")
    return value


def inventory(source: str, targets: Iterable[Target]) -> Inventory:
    """All hosts, in the order of their names. Raises InventoryRefused for none, too many, or one name twice."""
    by_name: dict[str, Target] = {}
    for one in targets:
        key = one.name.lower()
        if key in by_name:
            raise InventoryRefused(f"{source}: {one.name} stands there twice")
        by_name[key] = one
        if len(by_name) > HOSTS_LIMIT:
            raise InventoryRefused(f"{source}: more than {HOSTS_LIMIT} hosts")
    if not by_name:
        raise InventoryRefused(f"{source}: holds no host")
    return Inventory(source=source, targets=tuple(by_name[key] for key in sorted(by_name)))
