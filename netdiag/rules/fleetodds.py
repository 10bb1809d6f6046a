"""Which attribute separates hosts from their siblings, and whether those with a symptom are among them.

Hosts are compared within their role. Attributes that split the hosts in the same way are one look. Where each region
has one value, it is meant. A symptom is a rule that raises an alarm on hosts by themselves; the test is Fisher's exact
one, corrected for all looks that were taken (Bonferroni). Pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from netdiag.index.attributes import attributes, fisher
from netdiag.index.fleet import FleetHost, FleetView

LEAST = 4
"""Hosts of a role from which on one can be odd."""
RARE, USUAL = 0.25, 0.6
CHANCE = 0.05


@dataclass(frozen=True)
class Split:
    """Hosts of a role that share a value which their siblings have not, by one or more attributes."""

    role: str
    hosts: frozenset[str]
    siblings: frozenset[str]
    """All hosts of the role that were compared, these included."""
    attributes: tuple[tuple[str, str, str], ...]
    """Name, value, and what most siblings have."""

    @property
    def rare(self) -> bool:
        """Whether it is a few against many."""
        return len(self.hosts) <= RARE * len(self.siblings)


@dataclass(frozen=True)
class Separation:
    """A split that goes with symptoms."""

    split: Split
    rules: tuple[str, ...]
    both: int
    sick: int
    chance: float
    """Probability by chance alone, corrected."""
    looks: int


def splits(view: FleetView) -> list[Split]:
    """Every way in which attributes divide the hosts of a role, the rarest first."""
    roles: dict[str, list[FleetHost]] = defaultdict(list)
    for host in view.hosts:
        roles[host.labels.get("role", "")].append(host)
    found: list[Split] = []
    for role, hosts in sorted(roles.items()):
        if len(hosts) >= LEAST:
            found += _splits(role, hosts)
    return sorted(found, key=lambda split: (len(split.hosts) / len(split.siblings), -len(split.attributes), split.role))


def _splits(role: str, hosts: list[FleetHost]) -> Iterator[Split]:
    regions = {host.name: host.labels.get("region", "") for host in hosts}
    values: dict[str, dict[str, str]] = defaultdict(dict)
    for host in hosts:
        for name, value in attributes(host).items():
            values[name][host.name] = value
    same: dict[tuple[frozenset[str], frozenset[str]], list[tuple[str, str, str]]] = defaultdict(list)
    for name, by_host in values.items():
        groups: dict[str, set[str]] = defaultdict(set)
        for host_name, value in by_host.items():
            groups[value].add(host_name)
        if not 2 <= len(groups) <= max(3, len(by_host) // 4) or len(by_host) < LEAST or _meant(by_host, regions):
            continue
        most = max(groups, key=lambda value: (len(groups[value]), value))
        for value, having in groups.items():
            if value != most or len(groups) == 2:
                usual = most if value != most else next(other for other in groups if other != most)
                same[frozenset(having), frozenset(by_host)].append((name, value, usual))
    for (having_it, whole), rows in same.items():
        yield Split(role, having_it, whole, tuple(sorted(rows)))


def _meant(by_host: dict[str, str], regions: dict[str, str]) -> bool:
    """Whether each region has one value, and those that differ have more than one host to show it."""
    told: dict[str, set[str]] = defaultdict(set)
    sizes: dict[str, int] = defaultdict(int)
    for name, value in by_host.items():
        told[regions[name]].add(value)
        sizes[regions[name]] += 1
    return all(len(values) == 1 for values in told.values()) and min(sizes.values()) > 1


def separations(view: FleetView, found: Iterable[Split]) -> list[Separation]:
    """Splits that go with symptoms beyond chance, the best for each set of sick hosts."""
    sick: dict[frozenset[str], list[str]] = defaultdict(list)
    for rule, by_host in view.symptoms.items():
        sick[frozenset(by_host)].append(rule)
    looks = [(split, hosts, rules) for split in found for hosts, rules in sick.items() if hosts & split.siblings]
    best: dict[frozenset[str], Separation] = {}
    for split, hosts, rules in looks:
        ill = hosts & split.siblings
        both = len(ill & split.hosts)
        if 2 * both < len(ill) or 2 * both < len(split.hosts):
            continue
        chance = fisher(both, len(ill), len(split.hosts), len(split.siblings)) * len(looks)
        known = best.get(hosts)
        if chance < CHANCE and (known is None or chance < known.chance):
            best[hosts] = Separation(split, tuple(sorted(rules)), both, len(ill), chance, len(looks))
    return sorted(best.values(), key=lambda row: (row.chance, row.rules))
