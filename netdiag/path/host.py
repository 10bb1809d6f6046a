"""One network namespace as a walk sees it: its tables with their lookups, and what of them was not read.

Settings combine as the kernel combines them (include/linux/inetdevice.h): IN_DEV_MAXCONF for rp_filter, IN_DEV_ORCONF
for accept_local, route_localnet and src_valid_mark, the interface alone for forwarding. Pure; nothing can fail.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from ipaddress import IPv4Address
from typing import NamedTuple

from netdiag.index.cryptokey import Cryptokey
from netdiag.index.netfilter import Netfilter
from netdiag.index.packet import Query
from netdiag.index.source4 import Sources4
from netdiag.index.source6 import Sources6
from netdiag.index.view import HostIndex, gaps
from netdiag.model.bpf import BpfAttachment
from netdiag.model.coverage import Coverage
from netdiag.model.link import Link
from netdiag.model.neighbour import Neighbour
from netdiag.model.pathmtu import PathMtu
from netdiag.model.wireguard import WireguardDevice


class Aim(NamedTuple):
    """One place that a BPF program can redirect to."""

    how: str
    """``egress``, ``ingress``, ``peer`` (the other end of a cable), ``neigh`` (to a neighbour there), ``map``."""
    number: int | None
    """ifindex; of ``map`` the key. None: chosen when it runs."""


class Ran(NamedTuple):
    """One run of a BPF program on a frame, see netdiag.sources.bpf.testrun."""

    returned: int
    frame: bytes
    mark: int | None
    trouble: str = ""
    """Why it could not be run."""
    aims: tuple[Aim, ...] | None = None
    """Where it can redirect to, where it did so; None: not known."""


RunBpf = Callable[[BpfAttachment, bytes, int, int], Ran]
"""Runs a program on a frame, as if at an interface (by index), with a mark."""
LONGEST = 20
"""Characters of a setting that is a number."""
FarEnd = tuple["PathHost", Link]
"""Another namespace, and the interface there."""


def _number(text: str) -> int | None:
    """A setting that is one number; None for any other text."""
    return int(text) if len(text) < LONGEST and text.isascii() and text.removeprefix("-").isdigit() else None


class PathHost:
    """A namespace and everything that a walk asks it."""

    def __init__(
        self,
        index: HostIndex,
        coverage: Iterable[Coverage] = (),
        *,
        name: str = "",
        far: Callable[[Link], FarEnd | None] | None = None,
        run_bpf: RunBpf | None = None,
    ) -> None:
        """``name``: of the namespace, empty for the host's own. ``far``: the other end of a cable in a namespace that
        was read as well. ``run_bpf``: runs programs, where that was asked for. Without ``coverage`` everything counts
        as read.
        """
        self.index = index
        self.tables = index.tables
        self.stack = index.stack
        self.routing = index.routing
        self.name = name
        self._coverage = tuple(coverage)
        self._far = far
        self.run_bpf = run_bpf

    def gap(self, *tables: str) -> str:
        """Why these tables cannot be relied on, empty where they were read. Tables that changed while they were read,
        or are known in part, do count as read: most of what they say is true."""
        if not self._coverage:
            return ""
        reasons, _ = gaps(self._coverage, self.tables, tables)
        return "; ".join(reason for reason in reasons if ": partial" not in reason)

    def absent(self, table: str) -> bool:
        """Whether the thing that this table is about is not on this host at all."""
        return any(row.collector == table and row.status == "absent" for row in self._coverage)

    def ifname(self, ifindex: int) -> str:
        """Name of an interface; ``if42`` where there is none with that index."""
        link = self.stack.by_index.get(ifindex)
        return link.ifname if link is not None else f"if{ifindex}"

    def far(self, link: Link) -> FarEnd | None:
        """The other end of a cable that leads to a namespace which was read."""
        return self._far(link) if self._far is not None else None

    # -- settings ----------------------------------------------------------------------------------------------------

    def everywhere(self, key: str, family: str = "inet") -> int | None:
        """``net.ipv4.conf.all.KEY``; None where it was not read or does not exist."""
        text = self.tables.sysctls.values.get(f"net.ipv{'4' if family == 'inet' else '6'}.conf.all.{key}", "")
        return _number(text)

    def number(self, name: str) -> int | None:
        """``net.ipv4.ip_forward`` and the like; None where it was not read or is no number."""
        text = self.tables.sysctls.values.get(name, "")
        return _number(text)

    def larger(self, link: Link, key: str) -> int | None:
        """IN_DEV_MAXCONF, and IN_DEV_ORCONF of switches: the larger of "all" and the interface's own. None: unread."""
        own, every = link.inet_conf.get(key), self.everywhere(key)
        if every is None and not self.gap("sysctls"):
            every = 0  # every kernel has these settings: the small host of an example does not name them all
        known = [value for value in (own, every) if value is not None]
        return max(known) if len(known) == 2 or any(known) else None

    # -- things ------------------------------------------------------------------------------------------------------

    @cached_property
    def _neighbours(self) -> dict[tuple[int, str], Neighbour]:
        return {(row.ifindex, row.dst): row for row in self.tables.neighbours.rows() if not row.proxy}

    def neighbour(self, ifindex: int, address: str) -> Neighbour | None:
        """The entry of a neighbour; None where there is none."""
        return self._neighbours.get((ifindex, address))

    @cached_property
    def _path_mtus(self) -> dict[str, list[PathMtu]]:
        found: dict[str, list[PathMtu]] = {}
        for row in self.tables.path_mtus:
            found.setdefault(row.dst, []).append(row)
        return found

    def path_mtus(self, address: str) -> list[PathMtu]:
        """What was learnt about the way to this address."""
        return self._path_mtus.get(address, [])

    @cached_property
    def sources4(self) -> Sources4:
        """IPv4 source addresses."""
        return Sources4(self.tables.addresses, self.stack, lambda ifindex: bool(self._localnet(ifindex)))

    def _localnet(self, ifindex: int) -> int | None:
        link = self.stack.by_index.get(ifindex)
        return self.larger(link, "route_localnet") if link is not None else None

    def next_hop(self, dst: str, out: Link) -> int:
        """The gateway on the way to an IPv4 destination by an interface, else the destination, as a number."""
        answer = self.routing.lookup(Query(family="inet", dst=dst, oif=out.ifindex))
        gateway = next((hop.gateway for hop in answer.hops if hop.gateway), None)
        return int(IPv4Address(gateway if gateway and ":" not in gateway else dst))

    @cached_property
    def netfilter(self) -> Netfilter:
        """The rules of nftables, made quick to ask."""
        return Netfilter(self.tables.nft)

    @cached_property
    def sources6(self) -> Sources6:
        """IPv6 source addresses."""
        return Sources6(self.tables.addresses, self.stack)

    @cached_property
    def _keyed(self) -> dict[int, Cryptokey]:
        return {
            device.ifindex: Cryptokey(device)
            for device in self.tables.wireguard.devices
            if device.ifindex is not None and self._serves(device)
        }

    def _serves(self, device: WireguardDevice) -> bool:
        link = self.stack.by_index.get(device.ifindex or 0)
        return link is not None and link.kind == ("tun" if device.userspace else "wireguard")

    def wireguard(self, ifindex: int) -> Cryptokey | None:
        """The WireGuard device that this interface is."""
        return self._keyed.get(ifindex)
