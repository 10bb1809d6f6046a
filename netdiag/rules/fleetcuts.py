"""Which host, region or pair of regions explains all WireGuard pairs that send and hear nothing: the smallest set.

A pair of hosts is dead where one side wants to talk and hears nothing, and the other side does not say otherwise; it is
alive where one side has a fresh handshake. Idle pairs say nothing. A host that was not collected takes part by its key,
named by its endpoint; its region is that of the collected hosts in the network of its endpoint, else that network.
Pure.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netdiag.index.fleet import FleetView, Pair, across, on
from netdiag.model.finding import Draft, Subject, subject
from netdiag.rules.shape import Rule
from netdiag.rules.wireguardpeers import endpoint_word, peer_subject

SYMPTOMS = (
    "wg-handshake-stale",
    "wg-never-handshaked",
    "bgp-not-established",
    "bgp-hold-timer-expired",
    "bgp-bfd-down",
)
OWN = ("route-default-missing", "neigh-gateway-failed", "wg-endpoint-unroutable", "wg-iface-down", "carrier-flap")
"""What a host that is cut off says of it by itself: it stands below."""
READS = ("wireguard", "links", "addresses")
SMALLEST_FIRST = ("host", "pair", "region")


@dataclass(frozen=True)
class Cut:
    """A set of hosts that explains dead pairs."""

    kind: str
    """host, region or pair (of regions)."""
    name: str
    dead: frozenset[frozenset[str]]
    inside: frozenset[str]
    """The hosts that are cut off."""


def _states(view: FleetView) -> tuple[dict[frozenset[str], list[Pair]], set[frozenset[str]], dict[str, str]]:
    edges, ends = view.edges, view.end_list
    region: dict[str, str] = {host.name: host.labels.get("region", "") for host in view.hosts}
    numbers = {host.name: number for number, host in enumerate(view.hosts)}
    # one more than there are ends: what stands for the far end that nobody knows, which is position -1
    host_of = np.array([*(numbers[end.host.name] for end in ends), -1], np.int64)
    drained = np.array([*(end.host.drained for end in ends), False], np.bool_)
    near, far = host_of[edges.columns.near], host_of[edges.far]
    judged = ~drained[edges.columns.near] & ~drained[edges.far] & (near != far)
    code = np.minimum(near, far) * len(view.hosts) + np.maximum(near, far)
    met = judged & edges.alive & (far >= 0)
    heard = np.zeros(len(view.hosts) ** 2, np.bool_)  # for each pair of hosts whether it is alive
    heard[code[met]] = True
    living = heard.nonzero()[0]
    names = [host.name for host in view.hosts]
    alive = _some(living, names, region)
    unknown = view.where(judged & edges.alive & (far < 0))
    alive |= {frozenset((pair.near.host.name, f"peer {endpoint_word(pair.peer)}")) for pair in unknown}
    dead: dict[frozenset[str], list[Pair]] = defaultdict(list)
    for pair in view.where(judged & edges.dead & ~((far >= 0) & heard[code])):
        other = pair.far.host.name if pair.far is not None else f"peer {endpoint_word(pair.peer)}"
        dead[frozenset((pair.near.host.name, other))].append(pair)
    met = {name for both, pairs in dead.items() if any(pair.age is not None for pair in pairs) for name in both}
    missing = {name for both in (*dead, *alive) for name in both} - region.keys()
    places = _places(view, missing) if missing else {}
    alive_names = {name for both in alive for name in both}
    # what never met anybody is still being made, and says nothing about its region
    region |= {name: places[name] if name in met or name in alive_names else "" for name in missing}
    return dead, alive, region


def _places(view: FleetView, missing: set[str]) -> dict[str, str]:
    """A region for each peer that was not collected, by its name with its endpoint in it."""
    regions: dict[str, set[str]] = defaultdict(set)
    for host in view.hosts:
        for row in host.tables.addresses:
            if row.scope == 0:
                regions[_network(row.local)].add(host.labels.get("region", ""))
    found = {}
    for name in missing:
        network = _network(name.removeprefix("peer ").rpartition(":")[0].strip("[]"))
        near = regions.get(network, {network})
        found[name] = next(iter(near)) if len(near) == 1 else ""
    return found


def _network(address: str) -> str:
    """What is announced at least as one: a /24 of IPv4, a /48 of IPv6; empty for text that is no address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    return str(ipaddress.ip_network((found, 24 if found.version == 4 else 48), strict=False))


def _some(living: npt.NDArray[np.int64], names: list[str], region: dict[str, str]) -> set[frozenset[str]]:
    """Of the pairs that are alive as many as are needed to say which hosts, regions and pairs of regions are."""
    some: dict[object, frozenset[str]] = {}
    one, two = (numbers.tolist() for numbers in divmod(living, len(names)))
    for first, second in zip(one, two, strict=True):
        both = names[first], names[second]
        for proof in (first, second, frozenset((region[both[0]], region[both[1]]))):
            if proof not in some:
                some[proof] = frozenset(both)
    return set(some.values())


def _candidates(
    states: dict[frozenset[str], list[Pair]], alive: set[frozenset[str]], region: dict[str, str]
) -> Iterator[Cut]:
    dead = list(states)
    by_host: dict[str, list[frozenset[str]]] = defaultdict(list)
    for both in dead:
        for name in both:
            by_host[name].append(both)
    living_hosts = {name for both in alive for name in both}
    for name in sorted(by_host):
        mine = frozenset(by_host[name])
        met = any(pair.age is not None for both in mine for pair in states[both])  # else it is still being made
        if met and name not in living_hosts:
            yield Cut("host", name, mine, frozenset((name,)))
    regions = sorted({region[host] for both in dead for host in both} - {""})
    for number, one in enumerate(regions):
        inside = {host for host in region if region[host] == one}
        out = frozenset(both for both in dead if len(both & inside) == 1)
        hosts = {host for both in out for host in both & inside}
        living = any(len(both & inside) == 1 for both in alive)
        others = {host for both in out for host in both - inside}
        if len(hosts) >= 2 and len(others) >= 2 and not living:
            within = frozenset(both for both in dead if both <= inside)
            yield Cut("region", one, out | within, frozenset(hosts))
        for other in regions[number + 1 :]:
            there = {host for host in region if region[host] == other}
            between = frozenset(both for both in dead if both & inside and both & there)
            living = any(both & inside and both & there for both in alive)
            here_hosts = {host for both in between for host in both & inside}
            there_hosts = {host for both in between for host in both & there}
            if len(here_hosts) >= 2 and len(there_hosts) >= 2 and not living:
                yield Cut("pair", f"{one} and {other}", between, frozenset(here_hosts | there_hosts))


def cuts(view: FleetView) -> list[tuple[Cut, list[Pair]]]:
    """What ``_cuts`` finds, worked out once for the three rules."""
    if "cuts" not in view.kept:
        view.kept["cuts"] = _cuts(view)
    found: list[tuple[Cut, list[Pair]]] = view.kept["cuts"]
    return found


def _cuts(view: FleetView) -> list[tuple[Cut, list[Pair]]]:
    """The smallest set that explains the dead pairs, largest first, each with the pairs that are its own.

    Greedy: what explains most comes first; of equals the smaller thing (a host before a pair of regions before a
    region).
    """
    dead, alive, region = _states(view)
    left = set(dead)
    chosen = []
    candidates = list(_candidates(dead, alive, region))
    while left:
        scored = [(len(cut.dead & left), -SMALLEST_FIRST.index(cut.kind), cut.name, cut) for cut in candidates]
        best = max((row for row in scored if row[0] >= 2), default=None, key=lambda row: row[:2])
        if best is None:
            break
        cut = best[3]
        chosen.append((cut, [pair for both in sorted(cut.dead & left, key=sorted) for pair in dead[both]]))
        left -= cut.dead
    return chosen


def findings(rule: Rule, view: FleetView, kind: str) -> Iterator[Draft]:
    """The findings of one kind of cut."""
    for cut, pairs in cuts(view):
        if cut.kind != kind:
            continue
        names = {pair.near.host.name for pair in pairs} | {p.far.host.name for p in pairs if p.far is not None}
        count = len({frozenset((p.near.host.name, p.peer.public_key)) for p in pairs})
        collected = {host.name for host in view.hosts}
        missing = sorted(cut.inside - collected)
        what = {
            "host": f"{cut.name} is cut off",
            "region": f"region {cut.name} is cut off",
            "pair": f"regions {cut.name} do not reach each other",
        }[kind]
        example = pairs[0]
        yield rule.found(
            subject=across(names, _about(kind, cut)),
            message=f"{what}: {count} mesh peers that are called send nothing back, and no pair of it is alive"
            f"{'; it was not collected either' if missing and kind == 'host' else ''}",
            evidence=[
                (
                    "dead pairs that it explains",
                    count,
                    "WGPEER_A_LAST_HANDSHAKE_TIME, WGPEER_A_TX_BYTES, WGPEER_A_RX_BYTES",
                ),
                ("hosts on the other side that see it", len(names - cut.inside), "their snapshots"),
                (
                    f"last handshake of {example.near.host.name}",
                    "never" if example.age is None else f"{example.age:.0f} s ago",
                    "WGPEER_A_LAST_HANDSHAKE_TIME",
                ),
            ],
            confirm=["wg show all latest-handshakes", f"mtr -rwc 5 {example.peer.endpoint}"],
            fix="look at what all these pairs share: a host's power and uplinks, a region's provider and announcements",
            touches=[
                *(subject("host", name=name) for name in cut.inside),
                *(subject("region", name=name) for name in _regions(view, cut)),
            ],
            breaks=[
                *(on(pair.near.host.name, peer_subject(pair.near.device, pair.peer)) for pair in pairs),
                *_said_there(view, cut),
            ],
        )


def _said_there(view: FleetView, cut: Cut) -> Iterator[Subject]:
    """What alarms on a host that is cut off are about."""
    for rule in OWN if cut.kind == "host" else ():
        for name in cut.inside:
            yield from view.symptoms.get(rule, {}).get(name, ())


def _regions(view: FleetView, cut: Cut) -> set[str]:
    """Regions of the hosts that are cut off."""
    return {host.labels.get("region", "") for host in view.hosts if host.name in cut.inside} - {""}


def _about(kind: str, cut: Cut) -> Subject:
    if kind == "host":
        return subject("host", name=cut.name)
    return subject("region", name=cut.name)
