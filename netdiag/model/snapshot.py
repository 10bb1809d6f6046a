"""A whole host at one moment: what collectors filled, and how well they could.

``Tables`` are the tables of one network namespace. A table that was not read is empty *and* its coverage says so: only
the two together mean anything, which is why rules see them through netdiag.index.view.HostView.
"""

from dataclasses import dataclass, field

import msgspec

from netdiag.model.address import Address
from netdiag.model.bird import Bird, BirdSocket, DaemonRoutes
from netdiag.model.bpf import Bpf
from netdiag.model.bridge import Bond, Bridging, Fdb
from netdiag.model.cni import Cni
from netdiag.model.conntrack import Conntrack, ConntrackState
from netdiag.model.counters import Counters, CounterSample
from netdiag.model.coverage import Coverage
from netdiag.model.ethtool import Ethtool
from netdiag.model.host import ClockState, Identity, Resolver
from netdiag.model.intent import Intent
from netdiag.model.link import Link, NetnsId, PeerLink
from netdiag.model.namespace import Namespaces
from netdiag.model.neighbour import Neighbours
from netdiag.model.netnsstate import NetnsState
from netdiag.model.nexthop import Nexthop
from netdiag.model.nft import Nft
from netdiag.model.pathmtu import PathMtu
from netdiag.model.policyrule import PolicyRule
from netdiag.model.procnet import ProcNet
from netdiag.model.route import Routes
from netdiag.model.sockets import SocketOwners, Sockets
from netdiag.model.softirq import Softirqs
from netdiag.model.sysctl import NeighTable, Sysctls
from netdiag.model.tap import Taps
from netdiag.model.tc import Tc
from netdiag.model.wireguard import Wireguard
from netdiag.model.xfrm import Xfrm


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """Who, where and when."""

    schema: str = "netdiag.snapshot/1"
    netdiag: str
    name: str
    """Host name, or what --hostname said."""
    kernel: str
    boot_id: str | None = None
    netns: str
    """Inode of the network namespace that was read."""
    taken_at: str
    """UTC, ``2026-11-23T17:32:00Z``."""
    uptime: float | None = None
    """Seconds of CLOCK_BOOTTIME when the snapshot was taken."""
    labels: dict[str, str] = {}

    @property
    def drained(self) -> bool:
        """Whether the host's labels say that it is out of service."""
        return self.labels.get("drained", "").lower() in ("true", "1", "yes")


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Everything read of one network namespace."""

    links: tuple[Link, ...] = ()
    peer_links: tuple[PeerLink, ...] = ()
    netns_ids: tuple[NetnsId, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: Routes = field(default_factory=lambda: Routes.empty("inet"))
    routes6: Routes = field(default_factory=lambda: Routes.empty("inet6"))
    routes_at: float | None = None
    """Seconds of CLOCK_BOOTTIME when the dumps of routes began; None: not known."""
    rules: tuple[PolicyRule, ...] = ()
    path_mtus: tuple[PathMtu, ...] = ()
    nexthops: tuple[Nexthop, ...] = ()
    neighbours: Neighbours = field(default_factory=Neighbours.empty)
    neigh_tables: tuple[NeighTable, ...] = ()
    sysctls: Sysctls = field(default_factory=Sysctls)
    procnet: ProcNet = field(default_factory=ProcNet)
    wireguard: Wireguard = field(default_factory=Wireguard)
    bpf: Bpf = field(default_factory=Bpf)
    sockets: Sockets = field(default_factory=Sockets.empty)
    socket_owners: SocketOwners = field(default_factory=SocketOwners)
    resolver: Resolver = field(default_factory=Resolver)
    clock: ClockState = field(default_factory=ClockState)
    identity: Identity = field(default_factory=Identity)
    bird: Bird = field(default_factory=Bird)
    bird_routes: tuple[DaemonRoutes, ...] = ()
    bird_sockets: tuple[BirdSocket, ...] = ()
    namespaces: Namespaces = field(default_factory=Namespaces)
    netns: tuple[NetnsState, ...] = ()
    """Other namespaces, where ``--all-netns`` was asked; their bulk tables follow."""
    netns_routes: Routes = field(default_factory=lambda: Routes.empty("inet"))
    netns_routes6: Routes = field(default_factory=lambda: Routes.empty("inet6"))
    netns_neighbours: Neighbours = field(default_factory=Neighbours.empty)
    cni: Cni = field(default_factory=Cni)
    taps: Taps = field(default_factory=Taps)
    nft: Nft = field(default_factory=Nft)
    conntrack: Conntrack = field(default_factory=Conntrack.empty)
    conntrack_helpers: tuple[str, ...] = ()
    conntrack_state: ConntrackState = field(default_factory=ConntrackState)
    qdiscs: Tc = field(default_factory=Tc)
    ethtool: Ethtool = field(default_factory=Ethtool)
    softirq: Softirqs = field(default_factory=Softirqs)
    fdb: Fdb = field(default_factory=Fdb.empty)
    bridging: Bridging = field(default_factory=Bridging)
    bonds: tuple[Bond, ...] = ()
    xfrm: Xfrm = field(default_factory=Xfrm)
    counters: Counters = field(default_factory=lambda: Counters(first=CounterSample(at=0.0)))
    intent: Intent = field(default_factory=Intent)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One host, one moment."""

    meta: Meta
    tables: Tables
    coverage: tuple[Coverage, ...]
