"""Fleets of several regions for examples: a full mesh of which a predicate says which pairs are dead."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec

from netdiag.model.snapshot import Tables
from netdiag.model.wireguard import WireguardPeer
from netdiag.rules.build_fleet import builder, finished, peered
from netdiag.rules.build_wireguard import key
from netdiag.rules.shape import FleetExample

Pairs = Callable[[str, str], bool]


def _none(near: str, far: str) -> bool:
    return False


def regions(
    names: str, dead: Pairs, *, keepalive: int = 25, never: bool = False, idle: Pairs = _none
) -> dict[str, Tables]:
    """Hosts such as ``fra-a``, the last letter being the key's. Of an idle pair nothing is sent, its keys are old."""
    hosts = names.split()
    found = {}
    for own in hosts:
        host = builder(own[-1])
        for other in hosts:
            if other == own:
                continue
            calls = 0 if idle(own, other) else keepalive
            age = (None if never else 500.0) if dead(own, other) or not calls else 30.0
            peered(host, other[-1], age=age, persistent_keepalive=calls)
        found[own] = finished(own[-1], host)
    return found


def _listed(pairs: str) -> Pairs:
    """``ae bf``: those of a and e, and of b and f, whoever asks."""
    said = {frozenset(pair) for pair in pairs.split()}
    return lambda near, far: {near[-1], far[-1]} in said


def _others(pairs: Pairs) -> Pairs:
    return lambda near, far: not pairs(near, far)


def _between(one: str, other: str) -> Pairs:
    return lambda near, far: {near[:3], far[:3]} == {one, other}


def cut_examples(kind: str) -> Iterator[FleetExample]:
    """The same hosts, cut in each way: only the rule of the way in which they are cut may speak."""
    yield from _ways(kind)
    yield from _partly_idle(kind)
    yield from _not_collected(kind)


def _ways(kind: str) -> Iterator[FleetExample]:
    """Pairs that are not dead are alive; then what is cut, a word for each finding."""
    spread, three = "fra-a fra-b ams-c ams-d sin-e sin-f", "ams-c ams-d fra-a sin-e sin-f"
    ways: tuple[tuple[str, str, str, Pairs, str], ...] = (
        ("a host", "nobody hears sin-f", spread, lambda a, b: "sin-f" in (a, b), "host"),
        ("a region", "sin hears itself only", spread, lambda a, b: (a[:3] == "sin") != (b[:3] == "sin"), "region"),
        ("two regions", "fra and sin do not hear each other", spread, _between("fra", "sin"), "pair"),
        ("a pair", "two hosts; it may be their keys", spread, _listed("af"), ""),
        ("nothing", "a mesh in order", spread, _none, ""),
        ("two hosts", "either of them may be it", "fra-a sin-e", _listed("ae"), ""),
        ("three hosts", "two do not hear the third", "fra-a fra-b sin-e", _listed("ae be"), "host"),
        ("a host that others hear", "a does not reach ams", three, _listed("ac ad"), ""),
        ("one host and a region", "a does not reach sin", three, _listed("ae af"), ""),
        (
            "four hosts",
            "the pair of regions is less than either",
            "fra-a fra-b sin-e sin-f",
            _between("fra", "sin"),
            "pair",
        ),
        (
            "a small region",
            "one host each is on the other side",
            "fra-a ams-c sin-e sin-f",
            _listed("ae af ce cf"),
            "region",
        ),
        (
            "a region and a host",
            "a is cut off for a reason of its own",
            spread,
            lambda a, b: (a[:3] == "sin") != (b[:3] == "sin") or "fra-a" in (a, b),
            "region host",
        ),
        (
            "all but one way",
            "ae is alive: it is ams that sin does not reach",
            spread,
            _listed("af be bf ce cf de df"),
            "pair",
        ),
        ("a blip that is over", "ams-c was read before the others", spread, lambda a, b: a == "ams-c", ""),
        ("heard by the far end", "ams-c was read after the others", spread, lambda a, b: b == "ams-c", ""),
    )
    for name, why, hosts, dead, cut in ways:
        yield FleetExample(name=name, why=why, hosts=regions(hosts, dead), fires=cut.split().count(kind))


def _partly_idle(kind: str) -> Iterator[FleetExample]:
    """Pairs that are not dead are idle: nobody knows whether they would be alive."""
    ways = (
        ("one that nobody hears, and a pair besides", "fra-a ams-c ams-d sin-e sin-f", "ae af cd", "host"),
        ("one host of a region, and a pair in it", "fra-a ams-c sin-e sin-f sin-g", "ae ce fg", "host"),
        ("two of a region and one outside", "fra-a ams-c sin-e sin-f", "ae af ef", "host"),
        ("a region, of which nobody hears anything", "fra-a fra-b ams-c sin-e sin-f", "ae af be bf ac bc", "region"),
    )
    for name, hosts, pairs, cut in ways:
        dead = _listed(pairs)
        found = regions(hosts, dead, idle=_others(dead))
        why = "the smallest thing that explains it"
        yield FleetExample(name=name, why=why, hosts=found, fires=cut.split().count(kind))


def _not_collected(kind: str) -> Iterator[FleetExample]:
    spread, host = "fra-a fra-b ams-c ams-d sin-e sin-f", int(kind == "host")

    def without(name: str, hosts: dict[str, Tables]) -> dict[str, Tables]:
        return {one: tables for one, tables in hosts.items() if one != name}

    gone = without("sin-f", regions(spread, lambda a, b: "sin-f" in (a, b)))
    yield FleetExample(name="not collected", why="its peers know it", hosts=gone, fires=host)
    heard = without("sin-f", regions(spread, lambda a, b: "sin-f" in (a, b) and "fra-b" not in (a, b)))
    yield FleetExample(name="not collected, and one hears it", why="it is there", hosts=heard)
    yield from _region_not_collected(kind)
    new = without("sin-f", regions(spread, lambda a, b: "sin-f" in (a, b), never=True))
    yield FleetExample(name="being made", why="nobody has met it yet", hosts=new)
    idle = regions(spread, lambda a, b: "sin-f" in (a, b), keepalive=0)
    yield FleetExample(name="idle", why="nothing is sent to it", hosts=idle)
    clients = without("sin-g", regions(f"{spread} sin-g", lambda a, b: "sin-f" in (a, b)))
    yield FleetExample(name="beside living clients", why="they are none of the fleet", hosts=clients, fires=host)
    alone = {name: tables for name, tables in gone.items() if name == "fra-a"}
    yield FleetExample(name="one host was collected", why="a single dead pair of many", hosts=alone)
    deaf = regions("fra-a sin-e sin-f", _listed("ae af"))
    only = {"fra-a": deaf["fra-a"]}
    yield FleetExample(name="one host, and it hears nobody", why="its side is what they share", hosts=only, fires=host)


def _region_not_collected(kind: str) -> Iterator[FleetExample]:
    """Nobody of sin was collected; what is known of e and f is where they were called."""
    spread = "fra-a fra-b ams-c ams-d sin-e sin-f"
    ways: tuple[tuple[str, str, str, str, Pairs, bool, str], ...] = (
        ("a region", "both were in one network", "203.0.113.5", "203.0.113.6", _none, False, "region"),
        ("a region of a /24", "both were in one network", "203.0.113.5", "203.0.113.206", _none, False, "region"),
        ("two hosts", "their networks are two", "203.0.113.5", "198.18.0.6", _none, False, "host host"),
        ("two hosts side by side", "their networks are two", "203.0.113.5", "203.0.112.6", _none, False, "host host"),
        ("two hosts among others", "that network is no region's", "192.0.2.5", "192.0.2.6", _none, False, "host host"),
        ("one host", "the other one lives", "203.0.113.5", "203.0.113.6", _listed("ae be ce de"), False, "host"),
        ("by IPv6", "both were in one network", "2001:db8:9:1::5", "2001:db8:9:8002::6", _none, False, "region"),
        ("by IPv6, two", "their networks are two", "2001:db8:9::5", "2001:db8:8::6", _none, False, "host host"),
        ("being made", "nobody has met either", "203.0.113.5", "203.0.113.6", _none, True, ""),
    )
    for name, why, e, f, alive, never, cut in ways:

        def dead(near: str, far: str, alive: Pairs = alive) -> bool:
            return "sin" in (near[:3], far[:3]) and near[:3] != far[:3] and not alive(near, far)

        hosts = regions(spread, dead, never=never)
        there = {key("e"): e, key("f"): f}
        found = {host: _called_at(tables, there) for host, tables in hosts.items() if not host.startswith("sin")}
        fires = cut.split().count(kind)
        yield FleetExample(name=f"not collected: {name}", why=why, hosts=found, fires=fires)
    hosts = regions("fra-a ams-c sin-e sin-f sin-g", _listed("ae af ce cf"))
    there = {key(letter): f"203.0.113.{number}" for number, letter in enumerate("efg", start=5)}
    found = {host: _called_at(tables, there) for host, tables in hosts.items() if not host.startswith("sin")}
    fires = 2 * (kind == "host")
    yield FleetExample(name="not collected: two of three", why="the third one lives", hosts=found, fires=fires)


def _called_at(tables: Tables, endpoints: dict[str, str]) -> Tables:
    """The host, calling these keys elsewhere."""

    def moved(peer: WireguardPeer) -> WireguardPeer:
        return msgspec.structs.replace(peer, endpoint=endpoints.get(peer.public_key, peer.endpoint))

    devices = tuple(
        msgspec.structs.replace(device, peers=tuple(map(moved, device.peers))) for device in tables.wireguard.devices
    )
    return replace(tables, wireguard=msgspec.structs.replace(tables.wireguard, devices=devices))
