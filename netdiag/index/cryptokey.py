"""WireGuard's cryptokey routing: which peer gets a packet, and whose packets are let in.

Mirrors wg_allowedips_lookup_dst() and wg_allowedips_lookup_src() of drivers/net/wireguard/allowedips.c: the longest
prefix of all peers' allowed addresses decides, and a prefix belongs to one peer only. Pure; ValueError for an address
that is none.
"""

import ipaddress
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
