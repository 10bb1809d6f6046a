"""An Ansible inventory: ``ansible:PATH``.

Where ``ansible-inventory`` is installed it is asked, and reads whatever it reads. Else a program (an inventory script)
is run with ``--list``, and a file is read here: the JSON that ``--list`` prints, YAML, or INI, with groups, children,
vars and ranges (``web[01:20]``). Not read here, and refused: folders, group_vars and host_vars beside the file,
plugins, templates where they would matter. ansible_host, ansible_port and ansible_user say where to connect; region,
role, kernel and drained, and any ``netdiag_label_NAME``, are labels. Ansible's documentation, "How to build your
inventory".
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

from netdiag.fleet.inventory.ansible_groups import Groups
from netdiag.fleet.inventory.ansible_ini import parse_ini
from netdiag.fleet.inventory.target import Inventory, InventoryRefused, inventory, target
from netdiag.model.sweep import Target
from netdiag.told.strict import ToldRefused, read_text

TIMEOUT = 60.0
"""Seconds that a program has."""
OUTPUT_LIMIT = 64 << 20
LABELS = ("region", "role", "kernel", "drained")
PREFIX = "netdiag_label_"


def read(place: str) -> Inventory:
    """The hosts of an inventory. Raises InventoryRefused."""
    if not os.path.exists(place):
        raise InventoryRefused(f"{place}: no such file or directory")
    program = shutil.which("ansible-inventory")
    if program is not None:
        groups = _listed(_output([program, "-i", place, "--list"], place), place)
    elif os.path.isdir(place):
        raise InventoryRefused(f"{place}: a folder is read by ansible-inventory alone, which is not installed")
    elif os.access(place, os.X_OK):
        groups = _listed(_output([os.path.abspath(place), "--list"], place), place)
    else:
        for beside in ("group_vars", "host_vars"):
            if os.path.isdir(os.path.join(os.path.dirname(place), beside)):
                raise InventoryRefused(
                    f"{place}: {beside} beside it is read by ansible-inventory, which is not installed"
                )
        groups = _file(place)
    return inventory(place, _targets(groups, place))


def _output(command: list[str], place: str) -> str:
    """What a program prints, within a time and a size. Raises InventoryRefused."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = error.strerror if isinstance(error, OSError) else f"no answer within {TIMEOUT:g} s"
            raise InventoryRefused(f"{place}: {os.path.basename(command[0])}: {str(reason).lower()}") from error
        err.seek(0)
        if done.returncode:
            said = (err.read(4096).decode("utf-8", "replace").split("\n") or [""])[0].strip()
            raise InventoryRefused(
                f"{place}: {os.path.basename(command[0])}: exit status {done.returncode}: {said[:200]}"
            )
        out.seek(0)
        content = out.read(OUTPUT_LIMIT + 1)
    if len(content) > OUTPUT_LIMIT:
        raise InventoryRefused(f"{place}: more than {OUTPUT_LIMIT >> 20} MiB came out")
    return content.decode("utf-8", "replace")


def _file(place: str) -> Groups:
    try:
        content = read_text(place)
    except ToldRefused as error:
        raise InventoryRefused(str(error)) from error
    start = content.lstrip()[:1]
    if place.endswith(".json") or start == "{":
        return _listed(content, place)
    if place.endswith((".yml", ".yaml")) or content.startswith("---"):
        return _yaml(content, place)
    return parse_ini(content, place)


def _listed(content: str, place: str) -> Groups:
    """The JSON of ``--list``: groups by name, and ``_meta`` with the variables of hosts."""
    try:
        top = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InventoryRefused(f"{place}: not JSON: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(top, dict):
        raise InventoryRefused(f"{place}: must be what ansible-inventory --list prints")
    groups = Groups(place)
    meta = top.pop("_meta", None) or {}
    for host, told in (meta.get("hostvars") or {}).items() if isinstance(meta, dict) else ():
        groups.host(host, told)
    for name, group in top.items():
        rows = {"hosts": group} if isinstance(group, list) else group
        groups.group(name)
        if not isinstance(rows, dict):
            raise InventoryRefused(f"{place}: group {name!r} must be an object")
        for host in rows.get("hosts") or ():
            groups.host(host, None, name)
        for child in rows.get("children") or ():
            groups.child(name, child)
        groups.variables(name, rows.get("vars"))
    return groups


def _yaml(content: str, place: str) -> Groups:
    import yaml

    try:
        top = yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InventoryRefused(f"{place}: not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(top, dict):
        raise InventoryRefused(f"{place}: must be groups by name")
    if "plugin" in top:
        raise InventoryRefused(f"{place}: a plugin's inventory is read by ansible-inventory alone")
    groups = Groups(place)
    waiting: list[tuple[str, Any]] = list(top.items())
    seen = 0
    while waiting:
        name, told = waiting.pop()
        seen += 1
        if seen > groups.LIMIT:  # an alias may lead back to where it stands
            raise InventoryRefused(f"{place}: more groups than an inventory has")
        groups.group(name)
        if not isinstance(told or {}, dict):
            raise InventoryRefused(f"{place}: group {name!r} must be a mapping")
        rows = told or {}
        for pattern, own in _mapping(rows.get("hosts"), place):
            for host in groups.expanded(pattern):
                groups.host(host, own, name)
        for child, below in _mapping(rows.get("children"), place):
            groups.child(name, child)
            waiting.append((child, below))
        groups.variables(name, rows.get("vars"))
    return groups


def _mapping(rows: Any, place: str) -> Iterator[tuple[Any, Any]]:
    if not isinstance(rows or {}, dict):
        raise InventoryRefused(f"{place}: hosts and children must be mappings")
    yield from (rows or {}).items()


def _targets(groups: Groups, place: str) -> Iterator[Target]:
    for host in groups.hosts:
        told = groups.of(host)
        labels = {key: told[key] for key in LABELS if key in told}
        labels |= {key.removeprefix(PREFIX): told[key] for key in told if key.startswith(PREFIX)}
        used = {key: told[key] for key in ("ansible_host", "ansible_port", "ansible_user") if told.get(key) is not None}
        for key, value in (labels | used).items():
            if isinstance(value, str) and "{{" in value:
                raise InventoryRefused(
                    f"{place}: {host}: {key} is a template, which ansible-inventory alone can fill in"
                )
        yield target(
            place,
            host,
            address=used.get("ansible_host"),
            at_port=used.get("ansible_port"),
            user=used.get("ansible_user"),
            labels=labels,
        )
