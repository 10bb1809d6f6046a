"""Fleets of several regions for examples: a full mesh of which a predicate says which pairs are dead."""

from collections.abc import Callable

from netdiag.model.snapshot import Tables
from netdiag.rules.build_fleet import builder, finished, peered


def regions(names: str, dead: Callable[[str, str], bool], *, keepalive: int = 25) -> dict[str, Tables]:
    """Hosts such as ``fra-a``, the last letter being the key's."""
    hosts = names.split()
    found = {}
    for own in hosts:
        host = builder(own[-1])
        for other in hosts:
            if other != own:
                age = 500.0 if dead(own, other) else 30.0
                peered(host, other[-1], age=age, persistent_keepalive=keepalive)
        found[own] = finished(own[-1], host)
    return found
