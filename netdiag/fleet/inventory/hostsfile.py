"""An inventory in a file: TOML, JSON of the same shape, or one host a line.

TOML and JSON: ``[[host]]`` with name, and as wanted address, port, user, host_key_alias and labels; ``[defaults]`` with
port, user and labels for all. Lines: ``NAME key=value ...``; address, port, user and host_key_alias are what they say,
any other key is a label, ``#`` begins a comment. The name's ending decides: .toml, .json, anything else is lines.
"""

import json
import os
from typing import Any

from netdiag.fleet.inventory.target import Inventory, InventoryRefused, inventory, target
from netdiag.model.sweep import Target
from netdiag.told.strict import Table, ToldRefused, load, read_text

FIELDS = ("address", "port", "user", "host_key_alias")


def read(place: str) -> Inventory:
    """The hosts of a file. Raises InventoryRefused."""
    ending = os.path.splitext(place)[1].lower()
    try:
        if ending == ".toml":
            return inventory(place, _tables(load(place)))
        content = read_text(place)
        if ending == ".json":
            return inventory(place, _tables(_json(content, place)))
        return inventory(place, _lines(content, place))
    except ToldRefused as error:
        raise InventoryRefused(str(error)) from error


def _json(content: str, place: str) -> Table:
    try:
        rows = json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InventoryRefused(f"{place}: not JSON: {' '.join(str(error).split())}") from error
    if isinstance(rows, list):
        rows = {"host": rows}
    if not isinstance(rows, dict):
        raise InventoryRefused(f"{place}: must be an object with host, or a list of hosts")
    return Table(rows, place, "")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _same(value: Any) -> Any:
    return value


def _labels(table: Table) -> dict[str, Any]:
    labels = table.table("labels")
    return dict(labels.rows) if labels is not None else {}


def _tables(top: Table) -> list[Target]:
    defaults = top.table("defaults")
    common: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    if defaults is not None:
        common = {key: defaults.take(key, _same) for key in ("port", "user")}
        shared = _labels(defaults)
        defaults.done()
    found = []
    for host in top.tables("host") or ():
        name = host.take("name", _same, required=True)
        told = {key: host.take(key, _same, common.get(key)) for key in FIELDS}
        labels = shared | _labels(host)
        host.done()
        found.append(_target(top.path, name, told, labels))
    top.done()
    return found


def _target(where: str, name: Any, told: dict[str, Any], labels: dict[str, Any]) -> Target:
    return target(
        where,
        name,
        address=told.get("address"),
        at_port=told.get("port"),
        user=told.get("user"),
        host_key_alias=told.get("host_key_alias"),
        labels=labels,
    )


def _lines(content: str, place: str) -> list[Target]:
    found = []
    for number, line in enumerate(content.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{place}: line {number}"
        pairs = [word.partition("=") for word in words[1:]]
        if any(not key or not equals for key, equals, _ in pairs):
            raise InventoryRefused(f"{where}: must be NAME key=value ...")
        told = {key: value for key, _, value in pairs}
        if len(told) != len(pairs):
            raise InventoryRefused(f"{where}: a key stands there twice")
        labels = {key: value for key, value in told.items() if key not in FIELDS}
        found.append(_target(where, words[0], told, labels))
    return found
