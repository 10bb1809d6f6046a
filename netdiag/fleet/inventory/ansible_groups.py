"""Groups of an Ansible inventory, and what a host inherits from them.

A variable of a child group beats its parent's, one of a host beats all; of groups equally deep the later by name wins,
as Ansible merges them. Raises InventoryRefused for cycles, for ranges too long and for what is no name.
"""

import re
from collections.abc import Iterator
from typing import Any

from netdiag.fleet.inventory.target import HOSTS_LIMIT, InventoryRefused

RANGE = re.compile(r"\[([0-9]+|[A-Za-z]):([0-9]+|[A-Za-z])(?::([0-9]+))?\]")
DEPTH = 64


class Groups:
    """All groups, filled by the readers."""

    LIMIT = 100_000

    def __init__(self, place: str) -> None:
        self.place = place
        self.hosts: dict[str, dict[str, Any]] = {}
        self.members: dict[str, set[str]] = {}
        """Host to the groups that name it."""
        self.parents: dict[str, set[str]] = {}
        self.told: dict[str, dict[str, Any]] = {"all": {}}
        self.depths: dict[str, int] = {"all": 0}
        """Longest way up to ``all``, of the groups that were asked for."""

    def refuse(self, what: str) -> InventoryRefused:
        """A complaint, to be raised."""
        return InventoryRefused(f"{self.place}: {what}")

    def group(self, name: Any) -> None:
        """A group that exists."""
        if not isinstance(name, str):
            raise self.refuse(f"{str(name)[:60]!r} cannot be a group")
        self.told.setdefault(name, {})
        if len(self.told) > self.LIMIT:
            raise self.refuse("more groups than an inventory has")

    def host(self, name: Any, told: Any, group: str | None = None) -> None:
        """A host, with variables of its own, in a group."""
        if not isinstance(name, (str, int)) or not isinstance(told or {}, dict):
            raise self.refuse(f"{str(name)[:60]!r} cannot be a host with variables")
        self.hosts.setdefault(str(name), {}).update(told or {})
        if len(self.hosts) > HOSTS_LIMIT:
            raise self.refuse(f"more than {HOSTS_LIMIT} hosts")
        if group is not None:
            self.members.setdefault(str(name), set()).add(group)

    def child(self, parent: str, name: Any) -> None:
        """A group below another."""
        self.group(parent)
        self.group(name)
        self.parents.setdefault(name, set()).add(parent)

    def variables(self, name: str, told: Any) -> None:
        """Variables of a group."""
        if not isinstance(told or {}, dict):
            raise self.refuse(f"vars of {name!r} must be a mapping")
        self.group(name)
        self.told[name].update(told or {})

    def of(self, host: str) -> dict[str, Any]:
        """All variables of a host."""
        above = {"all"}
        for group in self.members.get(host, ()):
            self._climb(group, above)
        ordered = sorted(above, key=lambda name: (self._depth(name, 0), name))
        merged: dict[str, Any] = {}
        for name in ordered:
            merged |= self.told.get(name, {})
        return merged | self.hosts[host]

    def _climb(self, group: str, found: set[str]) -> None:
        waiting = [group]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self.parents.get(name, ())

    def _depth(self, group: str, steps: int) -> int:
        if steps > DEPTH:
            raise self.refuse(f"group {group!r} is below itself, or too deep")
        if group not in self.depths:
            above = self.parents.get(group, ())
            self.depths[group] = 1 + max((self._depth(parent, steps + 1) for parent in above), default=0)
        return self.depths[group]

    def expanded(self, pattern: Any) -> Iterator[str]:
        """The hosts that a pattern with ranges means."""
        text = str(pattern)
        found = RANGE.search(text)
        if found is None:
            yield text
            return
        first, last, step = found[1], found[2], int(found[3] or 1)
        if first.isdecimal() != last.isdecimal() or step < 1 or len(first + last) > 20:
            raise self.refuse(f"{text[:60]!r}: no range")
        numbers = first.isdecimal()
        start, end = (int(first), int(last)) if numbers else (ord(first), ord(last))
        if not start <= end <= start + HOSTS_LIMIT:
            raise self.refuse(f"{text[:60]!r}: a range that is empty or too long")
        width = len(first) if first.startswith("0") else 0
        for value in range(start, end + 1, step):
            word = str(value).rjust(width, "0") if numbers else chr(value)
            yield from self.expanded(text[: found.start()] + word + text[found.end() :])
