"""Which source address the kernel gives an IPv4 packet whose sender did not choose one.

Mirrors inet_select_addr() of net/ipv4/devinet.c and fib_result_prefsrc() of net/ipv4/fib_semantics.c. Addresses are
taken in the order of the dump, which is that of the interface's list, and interfaces in the order of theirs.

Not known from outside: the kernel keeps the source that it chose for a next hop until an address of the namespace
changes; for a nexthop object it was chosen for the object's scope, not for the route's. Pure.
"""

import ipaddress
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from netdiag.index.links import LinkStack
from netdiag.model.address import IFA_F_SECONDARY, Address
from netdiag.model.link import Link

RT_SCOPE_LINK, RT_SCOPE_HOST = 253, 254


class _Candidate(NamedTuple):
    local: int
    network: int
    mask: int
    scope: int


class Sources4:
    """The IPv4 addresses of one namespace as sources."""

    def __init__(
        self,
        addresses: tuple[Address, ...],
        stack: LinkStack,
        localnet: Callable[[int], bool],
    ) -> None:
        """``localnet``: whether route_localnet holds for an interface, by index."""
        self._addresses = addresses
        self._stack = stack
        self._localnet = localnet

    @cached_property
    def _primary(self) -> dict[int, list[_Candidate]]:
        """By ifindex, what is no secondary address."""
        found: dict[int, list[_Candidate]] = {}
        for row in self._addresses:
            if row.family == "inet" and not row.flags & IFA_F_SECONDARY:
                mask = 0xFFFFFFFF << (32 - row.prefixlen) & 0xFFFFFFFF
                local, far = (int(ipaddress.IPv4Address(text)) for text in (row.local, row.peer or row.local))
                found.setdefault(row.ifindex, []).append(_Candidate(local, far & mask, mask, row.scope))
        return found

    def select(self, ifindex: int, dst: int, scope: int) -> int:
        """inet_select_addr(): an address of the interface, of the subnet of ``dst`` if it has one; else of the VRF or
        of another interface. 0: none."""
        widest = RT_SCOPE_LINK if self._localnet(ifindex) else RT_SCOPE_HOST
        fitting = [one for one in self._primary.get(ifindex, ()) if min(one.scope, widest) <= scope]
        for one in fitting:
            if not dst or dst & one.mask == one.network:
                return one.local
        if fitting:
            return fitting[0].local
        vrf = self._stack.vrf(ifindex)
        return (self._any(vrf.ifindex, scope) if vrf else 0) or self._elsewhere(vrf, scope)

    def _elsewhere(self, vrf: Link | None, scope: int) -> int:
        for link in self._stack.links:
            if self._stack.vrf(link.ifindex) == vrf and (local := self._any(link.ifindex, scope)):
                return local
        return 0

    def _any(self, ifindex: int, scope: int) -> int:
        """in_dev_select_addr()."""
        for one in self._primary.get(ifindex, ()):
            if one.scope != RT_SCOPE_LINK and one.scope <= scope:
                return one.local
        return 0
