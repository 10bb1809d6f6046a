"""WireGuard's cryptokey routing: which peer gets a packet, and whose packets are let in.

Mirrors wg_allowedips_lookup_dst() and wg_allowedips_lookup_src() of drivers/net/wireguard/allowedips.c: the longest
prefix of all peers' allowed addresses decides, and a prefix belongs to one peer only. Pure; ValueError for an address
that is none.
"""

import ipaddress
from bisect import bisect_left
from functools import cached_property, lru_cache
from typing import NamedTuple

from netdiag.model.wireguard import WireguardDevice, WireguardPeer


class Allowed(NamedTuple):
    """A peer, by the prefix that chose it."""

    peer: WireguardPeer
    prefix: str


class Cryptokey:
    """The peers of one device by their allowed addresses."""

    def __init__(self, device: WireguardDevice) -> None:
        self.device = device
        self._known: dict[tuple[int, int, int], Allowed] = {}
        """By version, length and network."""
        self._lengths: dict[int, set[int]] = {4: set(), 6: set()}
        for peer in device.peers:
            for prefix in peer.allowed_ips:
                network = ipaddress.ip_network(prefix, strict=False)
                self._lengths[network.version].add(network.prefixlen)
                place = (network.version, network.prefixlen, int(network.network_address))
                self._known[place] = Allowed(peer, str(network))

    def lookup(self, address: str) -> Allowed | None:
        """The peer of an address; None where no peer is allowed to have it."""
        asked = ipaddress.ip_address(address)
        for length in sorted(self._lengths[asked.version], reverse=True):
            spare = asked.max_prefixlen - length
            found = self._known.get((asked.version, length, int(asked) >> spare << spare))
            if found is not None:
                return found
        return None

    @cached_property
    def _starts(self) -> dict[int, list[int]]:
        """First addresses of all allowed prefixes by version, ascending."""
        return {version: sorted(start for of, _, start in self._known if of == version) for version in (4, 6)}

    def shortest(self, version: int) -> int | None:
        """Bits of the widest allowed prefix of a version of IP; None where there is none."""
        return min(self._lengths[version], default=None)

    def overlaps(self, prefix: str) -> bool:
        """Whether some peer is allowed to have an address of the prefix."""
        asked = ipaddress.ip_network(prefix, strict=False)
        first, last = int(asked.network_address), int(asked.broadcast_address)
        starts = self._starts[asked.version]
        at = bisect_left(starts, first)
        return (at < len(starts) and starts[at] <= last) or self.lookup(str(asked.network_address)) is not None


class _Same:
    """One device as a key: by identity, as to hash thousands of peers is dearer than what is kept."""

    def __init__(self, device: WireguardDevice) -> None:
        self.device = device

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.device is other.device

    def __hash__(self) -> int:
        return id(self.device)


@lru_cache(maxsize=64)
def _built(of: _Same) -> Cryptokey:
    return Cryptokey(of.device)


def cryptokey(device: WireguardDevice) -> Cryptokey:
    """The peers of a device by their allowed addresses; built once for all who ask, of the last 64 devices."""
    return _built(_Same(device))
