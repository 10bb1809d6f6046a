"""Real network cards and what moved in their error counters between two looks.

Interfaces made by software (bond, vlan, bridge ...) add up or copy the counters of those below, so they are left out:
one fault is told once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from netdiag.index.view import Deltas
from netdiag.model.ethtool import Ethtool, EthtoolDevice
from netdiag.model.link import Link, Stats64

VIRTUAL_DRIVERS = frozenset(
    {"virtio_net", "veth", "tun", "vmxnet3", "hv_netvsc", "xen_netfront", "vif", "ena", "gve", "dummy", "e1000"}
)
"""Drivers whose speed is invented by the hypervisor, or by nobody."""


@dataclass(frozen=True)
class Moved:
    """Statistics of one interface in both looks."""

    link: Link
    before: Stats64
    after: Stats64

    def by(self, *names: str) -> int:
        """How far these moved together; one that went back counts as nothing."""
        return sum(max(0, getattr(self.after, name) - getattr(self.before, name)) for name in names)


def moved(deltas: Deltas, links: tuple[Link, ...], *, real: bool = True) -> Iterator[Moved]:
    """Interfaces that are the same in both looks; with ``real`` those that are not made by software."""
    first = {(row.ifindex, row.ifname): row.stats for row in deltas.first.links}
    second = {(row.ifindex, row.ifname): row.stats for row in deltas.second.links}
    for link in links:
        key = (link.ifindex, link.ifname)
        if key in first and key in second and not link.loopback and not (real and link.kind is not None):
            yield Moved(link, first[key], second[key])


def own_counters(table: Ethtool, ifindex: int, *words: str) -> dict[str, int]:
    """The driver's own error counters with one of these words in their name that moved, and how far."""
    first = {row.ifindex: row.counters for row in table.counters}
    second = {row.ifindex: row.counters for row in table.second}
    if ifindex not in first or ifindex not in second:
        return {}
    before = first[ifindex]
    return {
        name: value - before.get(name, 0)
        for name, value in second[ifindex].items()
        if value > before.get(name, 0) and any(word in name.lower() for word in words)
    }


def device(table: Ethtool, ifindex: int) -> EthtoolDevice | None:
    """What ethtool says of an interface."""
    return next((row for row in table.devices if row.ifindex == ifindex), None)


def hardware(row: EthtoolDevice | None) -> bool:
    """A card of flesh and blood: something is plugged in, and no hypervisor plays it."""
    return row is not None and row.bus_info is not None and row.driver not in VIRTUAL_DRIVERS
