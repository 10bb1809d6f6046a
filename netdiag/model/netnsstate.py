"""The tables of another network namespace, as ``--all-netns`` reads them.

Bulk tables of all these namespaces stand one behind the other in ``Tables.netns_routes`` and its like; each namespace
says how many rows are its own, in the order of ``Tables.netns``. netdiag.index.spaces cuts them apart again.
"""

import msgspec

from netdiag.model.address import Address
from netdiag.model.counters import Counters, CounterSample
from netdiag.model.coverage import Coverage
from netdiag.model.link import Link, NetnsId
from netdiag.model.nexthop import Nexthop
from netdiag.model.policyrule import PolicyRule
from netdiag.model.sysctl import Sysctls
from netdiag.model.tap import Taps
from netdiag.model.wireguard import Wireguard


class NetnsRows(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows of the bulk tables belong to one namespace."""

    routes: int = 0
    """IPv4 routes."""
    routes6: int = 0
    """IPv6 routes."""
    neighbours: int = 0
    """Neighbours and proxy entries."""


class NetnsState(msgspec.Struct, frozen=True, kw_only=True):
    """One namespace other than the host's own."""

    inode: int
    """Inode of nsfs."""
    name: str | None = None
    """Its name under /run/netns; null: none."""
    path: str | None = None
    """A path by which it could be entered when it was read."""
    coverage: tuple[Coverage, ...] = ()
    """How each of its collectors fared."""
    rows: NetnsRows = NetnsRows()
    """Its share of the bulk tables."""
    links: tuple[Link, ...] = ()
    """Network interfaces."""
    addresses: tuple[Address, ...] = ()
    """Addresses on interfaces."""
    rules: tuple[PolicyRule, ...] = ()
    """Policy routing rules."""
    nexthops: tuple[Nexthop, ...] = ()
    """Nexthop objects and groups."""
    netns_ids: tuple[NetnsId, ...] = ()
    """Peers of its interfaces, joined with the namespaces that were read."""
    sysctls: Sysctls = Sysctls()
    """net.* settings that do not belong to one interface."""
    wireguard: Wireguard = Wireguard()
    """WireGuard devices of the kernel, and of a daemon whose interface is here."""
    taps: Taps = Taps()
    """Processes that hold its tun and tap devices."""
    counters: Counters = Counters(first=CounterSample(at=0.0))
    """Counters in one or two samples; what the whole machine shares is left out."""
