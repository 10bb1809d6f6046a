"""Which addresses this host answers for, and which of its subnets holds an address.

An address is local when an interface has it, or when a route of type local in table local holds it: that is how the
kernel decides (inet_addr_type() in net/ipv4/fib_frontend.c, ipv6_chk_addr() and table local for IPv6), and how whole
prefixes become local ("AnyIP", ``ip route add local 192.0.2.0/24 dev lo``).

Pure; ValueError for text that is no address.
"""

import ipaddress
from collections.abc import Mapping
from functools import cached_property

from netdiag.index.fib import Fib
from netdiag.model.address import IFA_F_DADFAILED, IFA_F_TENTATIVE, Address
from netdiag.model.route import RT_TABLE_LOCAL, RTN_LOCAL
from netdiag.model.snapshot import Tables

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class LocalAddresses:
    """The addresses of one namespace."""

    def __init__(self, tables: Tables, fibs: Mapping[str, Fib] | None = None) -> None:
        self.addresses = tables.addresses
        self._fibs = fibs or {"inet": Fib(tables.routes), "inet6": Fib(tables.routes6)}

    @cached_property
    def _by_text(self) -> dict[str, list[Address]]:
        owners: dict[str, list[Address]] = {}
        for address in self.addresses:
            owners.setdefault(address.local, []).append(address)
        return owners

    @cached_property
    def _subnets(self) -> list[tuple[Network, Address]]:
        return [
            (ipaddress.ip_network(f"{address.peer or address.local}/{address.prefixlen}", strict=False), address)
            for address in self.addresses
        ]

    def owners(self, address: str) -> tuple[Address, ...]:
        """The rows of the address table that have this address; several where more than one interface has it."""
        return tuple(self._by_text.get(str(ipaddress.ip_address(address)), ()))

    def is_local(self, family: str, address: str) -> bool:
        """Whether the kernel delivers packets to this address to this host itself.

        An IPv6 address that is still tentative, or failed duplicate address detection, is not.
        """
        for owner in self.owners(address):
            if owner.family == "inet" or not owner.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED):
                return True
        return self.local_route(family, address) is not None

    def local_route(self, family: str, address: str) -> int | None:
        """Position of the route of type local in table local that holds an address; None where there is none."""
        fib = self._fibs[family]
        for group in fib.candidates(RT_TABLE_LOCAL, address):
            position = group.positions[0]
            return position if int(fib.routes.type[position]) == RTN_LOCAL else None
        return None

    def connected(self, prefix: str) -> tuple[Address, ...]:
        """The addresses whose subnet holds the whole of ``prefix`` (an address, or a network with its length).

        It says to which interfaces such a neighbour could be directly attached; whether a route agrees is another
        question.
        """
        asked = ipaddress.ip_network(prefix, strict=False)
        return tuple(
            address
            for network, address in self._subnets
            if network.version == asked.version
            and network.prefixlen <= asked.prefixlen
            and asked.network_address in network
        )
