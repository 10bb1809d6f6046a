"""The tables of each other namespace, cut out of what ``--all-netns`` read, with the far ends of their veths joined.

Two ends of a pair name each other's ifindex, and each says that the other lives elsewhere. Of several ends that fit,
which is possible as indexes repeat between namespaces, none is taken. The end in the namespace that comes first, the
host's own before all, sees the other one, and not the other way round: a fault between two ends is said once. Pure;
nothing can fail.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from netdiag.index.links import PAIRED
from netdiag.model.link import Link, PeerLink
from netdiag.model.namespace import Namespaces
from netdiag.model.neighbour import Neighbours
from netdiag.model.netnsstate import NetnsState
from netdiag.model.route import Routes
from netdiag.model.snapshot import Meta, Snapshot, Tables

Bulk = TypeVar("Bulk", Routes, Neighbours)
COLLECTED = frozenset(
    {
        "links",
        "peer_links",
        "addresses",
        "routes",
        "rules",
        "nexthops",
        "neighbours",
        "sysctls",
        "counters",
        "deltas",
        "wireguard",
        "taps",
    }
)
"""Tables that a rule can read in another namespace; what reads others is judged for the host's own alone."""


def name_of(state: NetnsState) -> str:
    """How a finding names the namespace: its name, else its inode."""
    return state.name or str(state.inode)


def _part(table: Bulk, first: int, count: int) -> Bulk:
    columns: dict[str, Any] = {name: getattr(table, name)[first : first + count] for name in table.COLUMNS}
    return replace(table, **columns)


def _paired(link: Link) -> bool:
    return link.kind in PAIRED and link.link is not None and link.link_netnsid is not None


def far_ends(snapshot: Snapshot) -> dict[int, tuple[PeerLink, ...]]:
    """For each namespace, by inode, the ends of its pairs that were found in another one; the host's own is one."""
    own = int(snapshot.meta.netns) if snapshot.meta.netns.isdigit() else 0
    homes = [(own, snapshot.tables.links)] + [(state.inode, state.links) for state in snapshot.tables.netns]
    by_pair: dict[tuple[int, int], list[tuple[int, Link]]] = defaultdict(list)
    for inode, links in homes:
        for link in links:
            if _paired(link):
                by_pair[link.ifindex, link.link or 0].append((inode, link))
    found: dict[int, tuple[PeerLink, ...]] = {}
    before: set[int] = set()
    for inode, links in homes:
        peers = []
        for link in links:
            if not _paired(link):
                continue
            fits = [(home, far) for home, far in by_pair.get((link.link or 0, link.ifindex), ()) if home != inode]
            if len(fits) == 1 and fits[0][0] not in before:
                peers.append(PeerLink(ifindex=link.ifindex, peer=fits[0][1]))
        found[inode] = tuple(peers)
        before.add(inode)
    return found


def snapshots(snapshot: Snapshot) -> Iterator[tuple[NetnsState, Snapshot]]:
    """Each other namespace as a snapshot of its own."""
    tables = snapshot.tables
    far = far_ends(snapshot) if tables.netns else {}
    routes = routes6 = neighbours = 0
    for state in tables.netns:
        rows = state.rows
        own = Tables(
            links=state.links,
            peer_links=far.get(state.inode, ()),
            netns_ids=state.netns_ids,
            addresses=state.addresses,
            routes=_part(tables.netns_routes, routes, rows.routes),
            routes6=_part(tables.netns_routes6, routes6, rows.routes6),
            rules=state.rules,
            nexthops=state.nexthops,
            neighbours=_part(tables.netns_neighbours, neighbours, rows.neighbours),
            sysctls=state.sysctls,
            wireguard=state.wireguard,
            taps=state.taps,
            counters=state.counters,
            namespaces=Namespaces(),
        )
        routes, routes6, neighbours = routes + rows.routes, routes6 + rows.routes6, neighbours + rows.neighbours
        ends = msgspec.structs.replace(state.coverage[0], collector="peer_links") if state.coverage else None
        coverage = (*state.coverage, ends) if ends else state.coverage
        meta = msgspec.structs.replace(snapshot.meta, netns=str(state.inode))
        yield state, Snapshot(meta=meta, tables=own, coverage=coverage)


def of_namespace(snapshot: Snapshot, name: str) -> Snapshot | None:
    """The namespace with that name or inode; None where it was not read."""
    if name == snapshot.meta.netns:
        return snapshot
    for state, own in snapshots(snapshot):
        if name in (state.name, str(state.inode)):
            return own
    return None


def known(meta: Meta, tables: Tables) -> tuple[str, ...]:
    """Names under which a namespace can be asked for."""
    return (meta.netns, *(name_of(state) for state in tables.netns))
