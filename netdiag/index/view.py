"""What a rule sees of one network namespace: the tables that it declared, and the lookups built over them.

The guard is the point of this file. A rule says in ``reads`` which tables it judges; asking for another one raises
``UndeclaredRead`` (a bug of the rule, found by its first example), and a rule whose tables were not all read is never
run. So "clean" can only be said about what was read. Lookups are built once and shared by all rules.
"""

from collections.abc import Iterable
from functools import cached_property

from netdiag.index.fib import Fib
from netdiag.index.gaps import COLLECTOR_OF, TOLD, Told, gaps
from netdiag.index.hostindex import Deltas, HostIndex
from netdiag.index.links import LinkStack
from netdiag.index.local import LocalAddresses
from netdiag.index.netfilter import Netfilter
from netdiag.index.policy import Lookup, Query
from netdiag.model.address import Address
from netdiag.model.bird import Bird, BirdSocket, DaemonRoutes
from netdiag.model.bpf import Bpf
from netdiag.model.bridge import Bond, Bridging, Fdb
from netdiag.model.cni import Cni
from netdiag.model.conntrack import Conntrack, ConntrackState
from netdiag.model.counters import CounterSample
from netdiag.model.coverage import Coverage
from netdiag.model.ethtool import Ethtool
from netdiag.model.host import ClockState, Identity, Resolver
from netdiag.model.intent import SECTIONS, Intent, Suppressions
from netdiag.model.link import Link, NetnsId, PeerLink
from netdiag.model.namespace import Namespaces
from netdiag.model.neighbour import Neighbours
from netdiag.model.nexthop import Nexthop
from netdiag.model.nft import Nft
from netdiag.model.pathmtu import PathMtu
from netdiag.model.policyrule import PolicyRule
from netdiag.model.procnet import ProcNet
from netdiag.model.route import Route, Routes
from netdiag.model.snapshot import Meta, Snapshot, Tables
from netdiag.model.sockets import SocketOwners, Sockets
from netdiag.model.softirq import Softirqs
from netdiag.model.sysctl import NeighTable, SysctlLine
from netdiag.model.tap import Taps
from netdiag.model.tc import Tc
from netdiag.model.wireguard import Wireguard
from netdiag.model.xfrm import Xfrm

__all__ = ["COLLECTOR_OF", "TOLD", "Deltas", "HostIndex", "HostView", "Told", "UndeclaredRead", "gaps", "views_of"]


class UndeclaredRead(Exception):
    """A rule looked at a table that its ``reads`` does not name."""


class HostView:
    """One namespace's tables, guarded by what the rule declared."""

    def __init__(
        self,
        index: HostIndex,
        meta: Meta,
        reads: Iterable[str],
        coverage: tuple[Coverage, ...] = (),
        *,
        consults: Iterable[str] = (),
        told: Told | None = None,
    ) -> None:
        self._index = index
        self._coverage = coverage
        self._tables = index.tables
        self._told = told or Told()
        self.reads = frozenset((*reads, *consults))
        self.meta = meta
        self._asked: set[str] = set()

    def _need(self, *tables: str) -> Tables:
        missing = [table for table in tables if table not in self.reads]
        if missing:
            raise UndeclaredRead(f"the rule reads {', '.join(missing)} without declaring it")
        self._asked.update(tables)
        return self._tables

    def unknown(self, table: str) -> bool:
        """Whether the host may have more of a declared table than was read; what it does not have at all is known."""
        return not self.read_whole(table) and not self.absent(table)

    def unanswered(self) -> list[str]:
        """Why silence means nothing: gaps in the tables that were asked for so far, sorted. What the host does not
        have, and what a person did not tell, are no gaps."""
        asked = [table for table in sorted(self._asked) if COLLECTOR_OF[table] not in TOLD and self.unknown(table)]
        return gaps(self._coverage, self._tables, asked, self._told)[0]

    def read_whole(self, table: str) -> bool:
        """Whether a table that the rule only consults was read whole; False: what is missing from it means nothing.

        A table that is absent from the host (no BIRD, no nftables) was not read whole either.
        """
        self._need(table)
        return not gaps(self._coverage, self._tables, (table,), self._told)[0]

    def absent(self, table: str) -> bool:
        """Whether the host has no such thing as this declared table, which is more than "not read"."""
        self._need(table)
        return any(row.collector == COLLECTOR_OF[table] and row.status == "absent" for row in self._coverage)

    @property
    def intent(self) -> Intent:
        """What the host is meant to be. A section is None where it was not told, or the rule did not declare it."""
        if not any(table.startswith("intent.") for table in self.reads):
            raise UndeclaredRead("the rule reads the intent without declaring a section")
        whole = self._tables.intent
        return Intent(**{name: getattr(whole, name) for name in SECTIONS if f"intent.{name}" in self.reads})

    @property
    def suppressions(self) -> Suppressions | None:
        """What has been accepted; None where no such file was given."""
        self._need("suppressions")
        return self._told.suppressions

    @cached_property
    def baseline(self) -> "HostView | None":
        """The same host at an earlier time; None where it was not given. Ask its ``read_whole`` for what to trust."""
        self._need("baseline")
        old, index = self._told.baseline, self._told.before
        if old is None or index is None:
            return None
        same = {table for table in self.reads if COLLECTOR_OF[table] not in TOLD}
        return HostView(index, old.meta, same, old.coverage)

    @property
    def links(self) -> tuple[Link, ...]:
        return self._need("links").links

    @property
    def peer_links(self) -> tuple[PeerLink, ...]:
        return self._need("peer_links").peer_links

    @property
    def netns_ids(self) -> tuple[NetnsId, ...]:
        return self._need("namespaces").netns_ids

    @property
    def addresses(self) -> tuple[Address, ...]:
        return self._need("addresses").addresses

    @property
    def rules(self) -> tuple[PolicyRule, ...]:
        return self._need("rules").rules

    @property
    def path_mtus(self) -> tuple[PathMtu, ...]:
        return self._need("path_mtus").path_mtus

    @property
    def nexthops(self) -> tuple[Nexthop, ...]:
        return self._need("nexthops").nexthops

    @property
    def neighbours(self) -> Neighbours:
        return self._need("neighbours").neighbours

    @property
    def neigh_tables(self) -> tuple[NeighTable, ...]:
        return self._need("neigh_tables").neigh_tables

    @property
    def procnet(self) -> ProcNet:
        return self._need("procnet").procnet

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        """How the other collectors fared; for rules that judge the reading itself, over what needs no lock."""
        self._need("procnet")
        return self._coverage

    @property
    def sockets(self) -> Sockets:
        return self._need("sockets").sockets

    @property
    def socket_owners(self) -> SocketOwners:
        return self._need("sockets").socket_owners

    @property
    def resolver(self) -> Resolver:
        return self._need("resolver").resolver

    @property
    def clock(self) -> ClockState:
        return self._need("clock").clock

    @property
    def identity(self) -> Identity:
        return self._need("identity").identity

    @property
    def wireguard(self) -> Wireguard:
        return self._need("wireguard").wireguard

    @property
    def namespaces(self) -> Namespaces:
        return self._need("namespaces").namespaces

    @property
    def cni(self) -> Cni:
        return self._need("cni").cni

    @property
    def taps(self) -> Taps:
        return self._need("taps").taps

    @property
    def bpf(self) -> Bpf:
        return self._need("bpf").bpf

    @property
    def bird(self) -> Bird:
        return self._need("bird").bird

    @property
    def bird_routes(self) -> tuple[DaemonRoutes, ...]:
        return self._need("bird_routes").bird_routes

    @property
    def bird_sockets(self) -> tuple[BirdSocket, ...]:
        return self._need("bird_sockets").bird_sockets

    @property
    def nft(self) -> Nft:
        return self._need("nft").nft

    @property
    def qdiscs(self) -> Tc:
        return self._need("qdiscs").qdiscs

    @property
    def ethtool(self) -> Ethtool:
        return self._need("ethtool").ethtool

    @property
    def softirq(self) -> Softirqs:
        return self._need("softirq").softirq

    @property
    def fdb(self) -> Fdb:
        return self._need("fdb").fdb

    @property
    def bridging(self) -> Bridging:
        return self._need("bridging").bridging

    @property
    def bonds(self) -> tuple[Bond, ...]:
        return self._need("bonds").bonds

    @property
    def xfrm(self) -> Xfrm:
        return self._need("xfrm").xfrm

    @property
    def conntrack(self) -> Conntrack:
        return self._need("conntrack").conntrack

    @property
    def routes_at(self) -> float | None:
        """Seconds of CLOCK_BOOTTIME when the dumps of routes began; None: not known."""
        return self._need("routes").routes_at

    @property
    def conntrack_state(self) -> ConntrackState:
        return self._need("conntrack_state").conntrack_state

    @property
    def netfilter(self) -> Netfilter:
        """What netfilter does with a packet at a hook."""
        self._need("nft")
        return self._index.netfilter

    @property
    def counters(self) -> CounterSample:
        return self._need("counters").counters.first

    @property
    def latest(self) -> CounterSample:
        """The second sample of the counters, or the only one."""
        counters = self._need("counters").counters
        return counters.second or counters.first

    @property
    def deltas(self) -> Deltas:
        """Both samples; the engine runs no rule that reads ``deltas`` where there is only one."""
        counters = self._need("deltas").counters
        if counters.second is None:
            raise UndeclaredRead("one sample only")
        return Deltas(counters.first, counters.second)

    def moved(self, counter: str) -> int | None:
        """How far a protocol counter moved between the samples (see Deltas.snmp); None where there is one sample only.

        For rules that judge something else and only weigh the counters: they need not be given up without a second
        sample.
        """
        counters = self._need("counters").counters
        return None if counters.second is None else Deltas(counters.first, counters.second).snmp(counter)

    @property
    def stack(self) -> LinkStack:
        """Links by index and name, what lies over and under them."""
        self._need("links", "peer_links") if "peer_links" in self.reads else self._need("links")
        return self._index.stack

    @property
    def local(self) -> LocalAddresses:
        """Which addresses this host owns."""
        self._need("addresses", "routes")
        return self._index.local

    def routes(self, family: str) -> Routes:
        """Routes of one family (``inet``, ``inet6``), every table."""
        tables = self._need("routes")
        return tables.routes if family == "inet" else tables.routes6

    def route_rows(self, family: str, positions: Iterable[int]) -> list[Route]:
        """A handful of routes made readable."""
        return list(self.routes(family).rows(list(positions)))

    def fib(self, family: str) -> Fib:
        """Longest prefix match over one family."""
        self._need("routes")
        return self._index.fib[family]

    def lookup(self, query: Query) -> Lookup:
        """What the kernel's policy routing decides for this packet."""
        self._need("links", "routes", "rules", "sysctls")
        return self._index.lookup(query)

    def lookup_behind(self, query: Query, rule: PolicyRule) -> Lookup:
        """What the policy rules behind ``rule`` would decide for this packet, were they asked."""
        self._need("links", "routes", "rules", "sysctls")
        return self._index.lookup_behind(query, rule)

    def link(self, ifindex: int | None) -> Link | None:
        """The link with this index; None for none."""
        self._need("links")
        return None if ifindex is None else self._index.stack.by_index.get(ifindex)

    def ifname(self, ifindex: int) -> str:
        """Name of an interface; ``if42`` where there is none with that index."""
        link = self.link(ifindex)
        return link.ifname if link else f"if{ifindex}"

    @property
    def sysctls(self) -> tuple[str, ...]:
        """Names of every setting that does not belong to one interface."""
        return tuple(self._need("sysctls").sysctls.values)

    @property
    def sysctls_at_boot(self) -> tuple[SysctlLine, ...] | None:
        """What files of sysctl.d(5) set at boot, in order; None: not known."""
        return self._need("sysctls").sysctls.files

    def sysctl(self, name: str) -> str | None:
        """Text of ``net.ipv4.ip_forward`` and the like, also of one interface; None where it does not exist."""
        tables = self._need("sysctls")
        if name in tables.sysctls.values:
            return tables.sysctls.values[name]
        for prefix, attribute in (("net.ipv4.conf.", "inet_conf"), ("net.ipv6.conf.", "inet6_conf")):
            if name.startswith(prefix):
                ifname, _, key = name[len(prefix) :].rpartition(".")
                link = self._index.stack.by_name.get(ifname)
                value = getattr(link, attribute).get(key) if link else None
                return None if value is None else str(value)
        return None

    def sysctl_int(self, name: str) -> int | None:
        """The same as a number; None also where the text is not one number."""
        text = self.sysctl(name)
        try:
            return None if text is None else int(text)
        except ValueError:
            return None


def views_of(snapshot: Snapshot) -> HostIndex:
    """The index over a snapshot's own namespace."""
    return HostIndex(snapshot.tables)
