"""Preferred source addresses of routes that this host does not have.

RTA_PREFSRC is checked when a route is made and never again. What the kernel then does when the address goes away
(net/ipv4/fib_semantics.c fib_sync_down_addr(), net/ipv6/route.c fib6_remove_prefsrc()): IPv4 deletes the routes of the
main table (or of the VRF that the address was in) and leaves those of every other table; it deletes none where the
source was local only by a route of type local. IPv6 takes the source out of the route, but not where the route goes
through a nexthop object. Two rules share this search: one for the main table, one for all others.

Pure; nothing can fail.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from netdiag.index.fib import Fib, Positions
from netdiag.index.local import LocalAddresses
from netdiag.model.distinct import distinct
from netdiag.model.route import RT_TABLE_LOCAL, RTN_LOCAL, RTN_UNICAST, address_text


def foreign_sources(fib: Fib, local: LocalAddresses, *, main: bool) -> dict[tuple[int, str], Positions]:
    """Unicast routes whose preferred source is no address of this host: (table, source) -> positions in dump order.

    ``main``: only the tables main and local; else only the others. An address counts as this host's on any interface
    (also one that is down, or while it is tentative), and where a route of type local holds it (AnyIP).
    """
    routes = fib.routes
    named = routes.prefsrc != 0 if routes.prefsrc.ndim == 1 else routes.prefsrc.any(axis=1)
    inner = (routes.table == 254) | (routes.table == RT_TABLE_LOCAL)
    chosen = np.flatnonzero(named & (routes.type == RTN_UNICAST) & (inner if main else ~inner))
    found: dict[tuple[int, str], Positions] = {}
    for source, positions in _by_value(routes.prefsrc[chosen], chosen):
        if local.owners(source):
            continue
        for table in distinct(routes.table[positions]).tolist():
            if not _anyip(fib, table, source):
                found[table, source] = positions[routes.table[positions] == table]
    return found


def _by_value(column: npt.NDArray[Any], positions: Positions) -> list[tuple[str, Positions]]:
    """Positions by the address that the column holds there. A full table names one source a million times: the first
    few values are peeled off by comparison, and only what is then left is sorted."""
    groups: list[tuple[str, Positions]] = []
    while len(column) and len(groups) < 4:
        value = column[0]
        same = column == value if column.ndim == 1 else (column == value).all(axis=1)
        groups.append((address_text(value), positions[same]))
        column, positions = column[~same], positions[~same]
    if len(column):
        values, which = np.unique(column, axis=0, return_inverse=True)
        order = np.argsort(which.reshape(-1), kind="stable")
        bounds = np.searchsorted(which.reshape(-1)[order], np.arange(1, len(values)))
        parts = np.split(positions[order], bounds)
        groups += [(address_text(value), part) for value, part in zip(values, parts, strict=True)]
    return groups


def _anyip(fib: Fib, table: int, source: str) -> bool:
    """Whether a route of type local holds the address, in table local or in the route's own (that of a VRF)."""
    for asked in (RT_TABLE_LOCAL, table):
        if not (fib.routes.type[fib.positions(asked)] == RTN_LOCAL).any():
            continue  # spare a full table the building of its index
        longest = next(fib.candidates(asked, source), None)
        if longest is not None and int(fib.routes.type[longest.positions[0]]) == RTN_LOCAL:
            return True
    return False
