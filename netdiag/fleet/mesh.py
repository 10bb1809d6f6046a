"""The mesh of a fleet for its report: which pairs there are between regions, and which of them are sick. Pure."""

from collections import Counter

from netdiag.index.fleet import FleetView
from netdiag.model.fleetmesh import Mesh, MeshHost, RegionLink

MOST = 400
"""Sick pairs that are told one by one."""


def mesh(view: FleetView) -> Mesh:
    """Pairs of hosts of which each knows the other's key, or one the other's. Drained hosts are in it, not sick."""
    region = {host.name: str(host.labels.get("region", "")) for host in view.hosts}
    drained = {host.name for host in view.hosts if host.drained}
    alive: set[tuple[str, str]] = set()
    dead: set[tuple[str, str]] = set()
    every: set[tuple[str, str]] = set()
    for pair in view.pairs:
        if pair.far is None or pair.far.host is pair.near.host:
            continue
        both = tuple(sorted((pair.near.host.name, pair.far.host.name)))
        every.add((both[0], both[1]))
        if pair.alive:
            alive.add((both[0], both[1]))
        elif pair.dead and not drained & set(both):
            dead.add((both[0], both[1]))
    sick = sorted(dead - alive)
    counted: Counter[tuple[str, str]] = Counter()
    ill: Counter[tuple[str, str]] = Counter()
    for counter, pairs in ((counted, every), (ill, sick)):
        for one, two in pairs:
            ends = sorted((region[one], region[two]))
            counter[ends[0], ends[1]] += 1
    return Mesh(
        hosts=tuple(MeshHost(name=name, region=place) for name, place in sorted(region.items())),
        links=tuple(
            RegionLink(one=one, two=two, pairs=count, sick=ill[one, two])
            for (one, two), count in sorted(counted.items())
        ),
        sick=tuple(sick[:MOST]),
    )
