"""The words of a routing question and of its answer: the packet asked about, next hops, rules tried, the decision.

Numbers keep the kernel's numbering: errno of include/uapi/asm-generic/errno.h, RTN_* by name. Pure; nothing can fail.
"""

import errno as errors

import msgspec

from netdiag.model.policyrule import PolicyRule


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One packet, as ``ip route get`` asks about it. What is not given is zero for the kernel, not a wildcard."""

    family: str
    """``inet`` or ``inet6``."""
    dst: str
    src: str | None = None
    """``from``. Without ``iif`` it must be an address of this host for IPv4; None: the kernel may still choose one."""
    iif: str | int | None = None
    """The packet arrives here (name or ifindex); None: this host sends it."""
    oif: str | int | None = None
    """The sender is bound to this interface. Packets that arrive have none: it is then ignored, as by the kernel."""
    mark: int = 0
    uid: int | None = None
    """Owner of the sending socket; None is the kernel itself, uid 0. Packets that arrive have no owner but uid 0."""
    tos: int = 0
    """The whole DS field, 8 bits; the two of ECN never matter."""
    ip_proto: int | None = None
    sport: int | None = None
    dport: int | None = None
    tun_id: int = 0
    """Key of the tunnel that the packet came through (collect_md devices)."""


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One next hop that the packet can take."""

    route: int | None = None
    """Position of the route it belongs to; None where no route was asked."""
    oif: int = 0
    """ifindex."""
    gateway: str | None = None
    """None: the destination is on the link itself, or the host's own."""
    own_gateway: str | None = None
    """IPv4: a gateway that the route names but that is this host's own address, so that it is not used as one."""
    src: str | None = None
    """IPv4, of what this host sends: the source address that the packet gets; None: not known here, or none."""
    weight: int = 1
    flags: int = 0
    """RTNH_F_* bits."""
    why: str = ""
    """For a hop that is left out: the reason."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One policy rule that was tried, and what came of it."""

    rule: PolicyRule
    matched: bool
    outcome: str
    """What it did (``lookup 100: no route``), or which selector did not fit (``fwmark``)."""
    decisive: bool = False

    @property
    def text(self) -> str:
        """One phrase: ``not matched: fwmark``, ``lookup 254: route found``."""
        return self.outcome if self.matched else f"not matched: {self.outcome}"


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel decides for one packet."""

    query: Query
    type: str | None = None
    """RTN_* by name, as the packet is treated: unicast, local, broadcast, multicast, blackhole, unreachable, prohibit;
    None where no route was found or a rule refused."""
    errno: int = 0
    """0, or what the sender gets: ENETUNREACH no route, EHOSTUNREACH unreachable, EACCES prohibit, EINVAL blackhole."""
    route: int | None = None
    """Position of the deciding route in the family's ``Routes``; None where a rule or no route decided."""
    table: int | None = None
    prefixlen: int | None = None
    rule: PolicyRule | None = None
    """The deciding rule; None where no rule was asked."""
    hops: tuple[Hop, ...] = ()
    """Every next hop that this packet can take. More than one: the kernel spreads flows by a hash that cannot be known
    from outside, or chooses by which neighbour answers."""
    left_out: tuple[Hop, ...] = ()
    """Next hops of the same route that it cannot take now, with the reason."""
    prefsrc: str | None = None
    """Source address that the route asks for. The siblings of an IPv6 multipath route can each ask for another; the
    kernel tells only that of the first."""
    steps: tuple[Step, ...] = ()
    """Every rule that was tried, in order."""
    notes: tuple[str, ...] = ()
    """What cannot be known from outside, or what surprises; one sentence each."""
    alternatives: tuple["Lookup", ...] = ()
    """Other possible answers, where what decides cannot be known."""

    @property
    def ok(self) -> bool:
        """A way was found: no error."""
        return self.errno == 0

    @property
    def certain(self) -> bool:
        """There is one answer with one next hop."""
        return not self.alternatives and len(self.hops) <= 1

    @property
    def oif(self) -> int | None:
        """ifindex that the packet leaves by, where all next hops agree on it."""
        indexes = {hop.oif for hop in self.hops}
        return indexes.pop() if len(indexes) == 1 else None

    @property
    def gateway(self) -> str | None:
        """Address of the gateway, where there is one next hop."""
        return self.hops[0].gateway if len(self.hops) == 1 else None

    @property
    def error(self) -> str | None:
        """``ENETUNREACH`` and the like; None without an error."""
        return errors.errorcode.get(self.errno, str(self.errno)) if self.errno else None


class Flow(msgspec.Struct):
    """A query with its names resolved: struct flowi4 and flowi6 of include/net/flow.h. Changed on the way."""

    query: Query
    dst: int | bytes
    dst_number: int
    src: int | bytes = 0
    """All zero where none was given."""
    src_number: int = 0
    iif: int = 1
    """ifindex; 1 (loopback) for what this host sends."""
    oif: int = 0
    """ifindex; 0: none."""
    arriving: bool = False
    mark: int = 0
    uid: int = 0
    tos: int = 0
    """DSCP in the upper six bits."""
    ip_proto: int = 0
    sport: int = 0
    dport: int = 0
    tun_id: int = 0
    l3mdev: int = 0
    """ifindex of the VRF that the packet belongs to; 0: none."""
    l3mdev_oif: bool = False
    """The VRF came from the outgoing interface (FLOWI_FLAG_L3MDEV_OIF)."""
    skip_doubtful: bool = False
    """IPv6: leave out what the kernel may have overlooked, see ``Found.doubtful``."""
    strict: bool = False
    """IPv6, RT6_LOOKUP_F_IFACE: only routes through ``oif``."""
    ignore_linkstate: bool = False
    """IPv4, FIB_LOOKUP_IGNORE_LINKSTATE: a next hop without carrier counts, as the loose reverse path filter has it."""
    scope: int = 0
    """IPv4, flowi4_scope: only routes of this scope or narrower ones."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one table answered: a route with its next hops, or an error that a route asks for."""

    position: int
    table: int
    prefixlen: int
    type: int
    """RTN_*."""
    errno: int = 0
    hops: tuple[Hop, ...] = ()
    left_out: tuple[Hop, ...] = ()
    doubtful: bool = False
    """IPv6: the kernel may have overlooked this route, see netdiag.index.select6."""
    other_prefixlens: tuple[int, ...] = ()
    """IPv6: prefix lengths of the routes that share its nexthop object, see netdiag.index.rulewalk."""
    trie: int | None = None
    """IPv4: main, where it held table local as well."""
    devices: tuple[int, ...] = ()
    """ifindexes whose group a rule's suppress_ifgroup looks at. IPv4: that of the first next hop, whichever is taken;
    IPv6: those of ``hops``, one by one (of local routes the interface that has the address)."""
    notes: tuple[str, ...] = ()
