"""Fleets of several regions for examples: a full mesh of which a predicate says which pairs are dead."""

from collections.abc import Callable, Iterator

from netdiag.model.snapshot import Tables
from netdiag.rules.build_fleet import builder, finished, peered
from netdiag.rules.shape import FleetExample


def regions(
    names: str, dead: Callable[[str, str], bool], *, keepalive: int = 25, never: bool = False
) -> dict[str, Tables]:
    """Hosts such as ``fra-a``, the last letter being the key's."""
    hosts = names.split()
    found = {}
    for own in hosts:
        host = builder(own[-1])
        for other in hosts:
            if other != own:
                age = (None if never else 500.0) if dead(own, other) else 30.0
                peered(host, other[-1], age=age, persistent_keepalive=keepalive)
        found[own] = finished(own[-1], host)
    return found


def cut_examples(kind: str) -> Iterator[FleetExample]:
    """The same six hosts, cut in each way: only the rule of the way in which they are cut may speak."""
    spread = "fra-a fra-b ams-c ams-d sin-e sin-f"
    ways: tuple[tuple[str, str, Callable[[str, str], bool], str], ...] = (
        ("a host", "nobody hears sin-f", lambda a, b: "sin-f" in (a, b), "host"),
        ("a region", "sin hears itself only", lambda a, b: (a[:3] == "sin") != (b[:3] == "sin"), "region"),
        ("two regions", "fra and sin do not hear each other", lambda a, b: {a[:3], b[:3]} == {"fra", "sin"}, "pair"),
        ("a pair", "two hosts; it may be their keys", lambda a, b: {a, b} == {"fra-a", "sin-f"}, ""),
        ("nothing", "a mesh in order", lambda a, b: False, ""),
    )
    for name, why, dead, cut in ways:
        yield FleetExample(name=name, why=why, hosts=regions(spread, dead), fires=int(cut == kind))
    gone = regions(spread, lambda a, b: "sin-f" in (a, b))
    del gone["sin-f"]
    yield FleetExample(name="not collected", why="its peers know it", hosts=gone, fires=int(kind == "host"))
    new = regions(spread, lambda a, b: "sin-f" in (a, b), never=True)
    del new["sin-f"]
    yield FleetExample(name="being made", why="nobody has met it yet", hosts=new)
    idle = regions(spread, lambda a, b: "sin-f" in (a, b), keepalive=0)
    yield FleetExample(name="idle", why="nothing is sent to it", hosts=idle)
