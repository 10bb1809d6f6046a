"""The INI form of an Ansible inventory: ``[group]``, ``[group:children]``, ``[group:vars]``, hosts with ``key=value``.

Values of a host's line are words as a shell splits them; those of a vars section go to the end of the line. Python
literals are taken as text, but for true, false and numbers. Raises InventoryRefused.
"""

import shlex
from typing import Any

from netdiag.fleet.inventory.ansible_groups import Groups
from netdiag.fleet.inventory.target import InventoryRefused

SECTIONS = ("hosts", "children", "vars")


def parse_ini(content: str, place: str) -> Groups:
    """The groups of a text."""
    groups = Groups(place)
    group, section = "ungrouped", "hosts"
    for number, raw in enumerate(content.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        where = f"{place}: line {number}"
        if line.startswith("["):
            head, closed, rest = line[1:].partition("]")
            if not closed or rest.partition("#")[0].strip():
                raise InventoryRefused(f"{where}: [group] is not closed")
            group, _, kind = head.partition(":")
            section = kind or "hosts"
            if section not in SECTIONS:
                raise InventoryRefused(f"{where}: [...:{section[:40]}] is none of {', '.join(SECTIONS)}")
            groups.group(group)
        elif section == "children":
            groups.child(group, line.partition("#")[0].strip())
        elif section == "vars":
            key, equals, value = line.partition("=")
            if not equals:
                raise InventoryRefused(f"{where}: must be key=value")
            groups.variables(group, {key.strip(): _value(value.partition(" #")[0].strip())})
        else:
            _host(groups, group, line, where)
    return groups


def _host(groups: Groups, group: str, line: str, where: str) -> None:
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise InventoryRefused(f"{where}: {str(error).lower()}") from error
    told: dict[str, Any] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InventoryRefused(f"{where}: must be HOST key=value ...")
        told[key] = _value(value)
    for host in groups.expanded(words[0]):
        name, colon, port = host.rpartition(":")
        if colon and port.isdecimal() and ":" not in name:
            groups.host(name, {"ansible_port": port} | told, group)
        else:
            groups.host(host, told, group)


def _value(text: str) -> Any:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return {"true": True, "false": False}.get(text.lower(), text)
