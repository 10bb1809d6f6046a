"""The mesh of a fleet for its report: which pairs there are between regions, and which of them are sick. Pure."""

from collections import Counter

import numpy as np
import numpy.typing as npt

from netdiag.index.fleet import FleetView
from netdiag.model.fleetmesh import Mesh, MeshHost, RegionLink

Codes = npt.NDArray[np.int64]
MOST = 400
"""Sick pairs that are told one by one."""


def mesh(view: FleetView) -> Mesh:
    """Pairs of hosts of which each knows the other's key, or one the other's. Drained hosts are in it, not sick."""
    region = {host.name: str(host.labels.get("region", "")) for host in view.hosts}
    drained = {host.name for host in view.hosts if host.drained}
    edges, ends = view.edges, view.end_list
    names = sorted(region)
    numbers = {name: number for number, name in enumerate(names)}
    host_of = np.array([*(numbers[end.host.name] for end in ends), -1], np.int64)
    near, far = host_of[edges.columns.near], host_of[edges.far]
    code = np.minimum(near, far) * max(len(names), 1) + np.maximum(near, far)
    known = (far >= 0) & (near != far)
    resting = np.array([name in drained for name in names], np.bool_)
    ill = known & edges.dead
    ill[ill] &= ~resting[near[ill]] & ~resting[far[ill]]
    every = _pairs(np.unique(code[known]), names)
    dead, alive = (_pairs(np.unique(code[chosen]), names) for chosen in (ill, known & edges.alive))
    sick = sorted(set(dead) - set(alive))
    counted: Counter[tuple[str, str]] = Counter()
    worse: Counter[tuple[str, str]] = Counter()
    for counter, pairs in ((counted, every), (worse, sick)):
        for one, two in pairs:
            first, second = sorted((region[one], region[two]))
            counter[first, second] += 1
    return Mesh(
        hosts=tuple(MeshHost(name=name, region=place) for name, place in sorted(region.items())),
        links=tuple(
            RegionLink(one=one, two=two, pairs=count, sick=worse[one, two])
            for (one, two), count in sorted(counted.items())
        ),
        sick=tuple(sick[:MOST]),
    )


def _pairs(codes: Codes, names: list[str]) -> list[tuple[str, str]]:
    one, two = (numbers.tolist() for numbers in divmod(codes, max(len(names), 1)))
    return [(names[first], names[second]) for first, second in zip(one, two, strict=True)]
