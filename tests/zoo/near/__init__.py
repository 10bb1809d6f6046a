"""Which host of the zoo holds which near miss of the catalogue, and how one sees in its tables that it does.

One file a domain, each with its ``LINES``. A line without a host names the example of its rule, or the test, in which
the near miss is (between hosts, over time, in traces and probes), or says why it can be in none. test_near.py asks
every line; counts.txt says how many near misses the catalogue has for each fault.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from netdiag.model.link import Link
from netdiag.model.route import Route
from netdiag.model.snapshot import Tables


@dataclass(frozen=True)
class Near:
    """A near miss that lives in a host of the zoo."""

    rule: str
    words: str
    host: str
    """Name of the function that makes the host."""
    seen: Callable[[Tables], object]
    """True of the host's tables: what makes the near miss is there."""


@dataclass(frozen=True)
class Shown:
    """A near miss between hosts or over time: an example of its rule that does not fire."""

    rule: str
    words: str
    example: str


@dataclass(frozen=True)
class ByTest:
    """A near miss that a test makes."""

    rule: str
    words: str
    test: str
    """``tests/.../test_x.py::test_y``."""


@dataclass(frozen=True)
class Never:
    """A near miss that no host can hold."""

    rule: str
    words: str
    reason: str


Line = Near | Shown | ByTest | Never


def some(rows: Iterable[Any], **want: Any) -> list[Any]:
    """Rows whose fields are as wanted: equal, or true of a function."""
    return [row for row in rows if all(_fits(getattr(row, name), value) for name, value in want.items())]


def _fits(value: Any, want: Any) -> bool:
    return bool(want(value)) if callable(want) else bool(value == want)


def routes(tables: Tables, **want: Any) -> list[Route]:
    """Routes of both families as wanted; ``dev`` is the name of an interface."""
    if "dev" in want:
        want["oif"] = link(tables, want.pop("dev")).ifindex
    return some((row for table in (tables.routes, tables.routes6) for row in table.rows()), **want)


def link(tables: Tables, ifname: str) -> Link:
    """An interface by name; StopIteration where there is none."""
    return next(row for row in tables.links if row.ifname == ifname)


def links(tables: Tables, **want: Any) -> list[Link]:
    """Interfaces as wanted."""
    return some(tables.links, **want)


def moved(tables: Tables, name: str) -> int:
    """How far a counter of /proc/net moved between the looks."""
    second = tables.counters.second
    return second.snmp.get(name, 0) - tables.counters.first.snmp.get(name, 0) if second else 0


def total(tables: Tables, name: str) -> int:
    """What a counter of /proc/net says at the first look."""
    return tables.counters.first.snmp.get(name, 0)


def sysctl(tables: Tables, name: str) -> str | None:
    """A setting."""
    return tables.sysctls.values.get(name)


def sockets(tables: Tables, **want: Any) -> int:
    """How many sockets have these numbers in their columns."""
    chosen = [True] * len(tables.sockets)
    for name, value in want.items():
        column = getattr(tables.sockets, name).tolist()
        chosen = [kept and _fits(one, value) for kept, one in zip(chosen, column, strict=True)]
    return sum(chosen)


def protocols(tables: Tables, **want: Any) -> list[Any]:
    """Protocols of every BIRD."""
    return some((row for daemon in tables.bird.daemons for row in daemon.protocols), **want)


def exported(tables: Tables, to: str, **want: Any) -> list[Any]:
    """Routes that BIRD exports to a protocol."""
    lists = [one for daemon in tables.bird_routes for one in daemon.exports if one.protocol == to]
    return some((row for one in lists for row in one.routes or ()), **want)


def rules(tables: Tables, **want: Any) -> list[Any]:
    """Rules of nftables, of all chains: those with an expression whose fields are as wanted."""
    every = [row for table in (*tables.nft.tables, *tables.nft.legacy) for one in table.chains for row in one.rules]
    return [row for row in every if some(row.expressions, **want)]


def chains(tables: Tables, **want: Any) -> list[Any]:
    """Chains of nftables as wanted."""
    return some((one for table in tables.nft.tables for one in table.chains), **want)
