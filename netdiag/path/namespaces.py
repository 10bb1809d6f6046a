"""The namespaces of a snapshot as walks see them, each with the far ends of its cables.

A cable's end says by which number its namespace knows the other one; the numbers are joined with the namespaces that
``--all-netns`` read. There are no filters and no programs among what was read of another namespace: a walk there says
so. Pure; nothing can fail.
"""

from netdiag.index.links import PAIRED
from netdiag.index.spaces import name_of, snapshots
from netdiag.index.view import HostIndex
from netdiag.model.link import Link, NetnsId
from netdiag.model.snapshot import Snapshot
from netdiag.path.host import FarEnd, PathHost, RunBpf


def host_of(snapshot: Snapshot, run_bpf: RunBpf | None = None) -> PathHost:
    """The host's own namespace, and behind its cables every other one that was read."""
    own = int(snapshot.meta.netns) if snapshot.meta.netns.isdigit() else 0
    known: dict[int, PathHost] = {}

    def far_of(ids: tuple[NetnsId, ...]) -> "Far":
        return Far(known, {row.netnsid: row.inode for row in ids if row.inode is not None})

    tables = snapshot.tables
    known[own] = PathHost(HostIndex(tables), snapshot.coverage, far=far_of(tables.netns_ids), run_bpf=run_bpf)
    for state, there in snapshots(snapshot):
        far = far_of(state.netns_ids)
        known[state.inode] = PathHost(HostIndex(there.tables), there.coverage, name=name_of(state), far=far)
    return known[own]


class Far:
    """Finds the other end of a cable of one namespace."""

    def __init__(self, known: dict[int, PathHost], numbers: dict[int, int]) -> None:
        """``numbers``: inodes by the numbers that this namespace has for others."""
        self._known = known
        self._numbers = numbers

    def __call__(self, link: Link) -> FarEnd | None:
        """The namespace and the interface there; None where it was not read, or is not certain to be the other end."""
        if link.kind not in PAIRED or link.link is None or link.link_netnsid is None:
            return None
        host = self._known.get(self._numbers.get(link.link_netnsid, 0))
        end = host.stack.by_index.get(link.link) if host is not None else None
        if host is None or end is None or end.link != link.ifindex or end.kind != link.kind:
            return None
        return host, end
