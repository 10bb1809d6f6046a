"""Routes of every table as columns, one table per family (include/uapi/linux/rtnetlink.h).

A full Internet table has a million rows, so a route is a position in NumPy arrays, not an object. What few routes have
(several next hops, metrics, encapsulation, a gateway of the other family, a source prefix) stands in ``extras``, a
short
list of distinct values that the ``extra`` column points into. ``Route`` is one row made readable, for printing and for
rules that look at a handful.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

RTNH_F_DEAD = 0x01
RTNH_F_PERVASIVE = 0x02
RTNH_F_ONLINK = 0x04
RTNH_F_OFFLOAD = 0x08
RTNH_F_LINKDOWN = 0x10
RTNH_F_UNRESOLVED = 0x20
RTM_F_CLONED = 0x200

RT_TABLE_DEFAULT = 253
RT_TABLE_MAIN = 254
RT_TABLE_LOCAL = 255

RTN_NAMES = {
    0: "unspec",
    1: "unicast",
    2: "local",
    3: "broadcast",
    4: "anycast",
    5: "multicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
    9: "throw",
    10: "nat",
}
RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST = 1, 2, 3, 4, 5
RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW = 6, 7, 8, 9

RTPROT_NAMES = {
    0: "unspec",
    1: "redirect",
    2: "kernel",
    3: "boot",
    4: "static",
    8: "gated",
    9: "ra",
    10: "mrt",
    11: "zebra",
    12: "bird",
    13: "dnrouted",
    14: "xorp",
    15: "ntk",
    16: "dhcp",
    17: "mrouted",
    18: "keepalived",
    42: "babel",
    84: "ovn",
    99: "openr",
    186: "bgp",
    187: "isis",
    188: "ospf",
    189: "rip",
    192: "eigrp",
}
RT_SCOPE_NAMES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}


class RouteHop(msgspec.Struct, frozen=True, kw_only=True):
    """One next hop of a multipath route (struct rtnexthop)."""

    oif: int = 0
    """ifindex; 0 is none."""
    gateway: str | None = None
    """Address of the gateway; its family may differ from the route's (RTA_VIA)."""
    weight: int = 1
    """rtnh_hops + 1, as ``ip route`` prints it."""
    flags: int = 0
    """RTNH_F_* bits."""
    encap: str | None = None
    """Kind of lightweight tunnel: mpls, ip, ip6, seg6, bpf, ...; None: none."""
    programs: tuple[str, ...] = ()
    """Of a tunnel of kind bpf: ``out classify.o:[lwt_out]`` and the like, the place and the name that it was given."""


class RouteExtra(msgspec.Struct, frozen=True, kw_only=True):
    """What only few routes have."""

    metrics: dict[str, int] = {}
    """RTAX_* in iproute2's spelling: mtu, advmss, hoplimit, initcwnd ...; ``lock`` is the bit mask of locked ones."""
    multipath: tuple[RouteHop, ...] = ()
    via: str | None = None
    """RTA_VIA: a gateway of the other family."""
    encap: str | None = None
    programs: tuple[str, ...] = ()
    """As in ``RouteHop``."""
    src: str | None = None
    """RTA_SRC of IPv6 subtrees, with ``src_len``."""
    src_len: int = 0
    pref: int = 0
    """RTA_PREF of IPv6, router preference (RFC 4191): 0 medium, 1 high, 3 low."""
    unknown: int = 0
    """How many attributes netdiag did not know."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One route made readable. Numbers keep the kernel's numbering; texts are canonical."""

    family: str
    dst: str
    """``192.0.2.0/24``; the default route is ``0.0.0.0/0`` or ``::/0``."""
    table: int
    type: str
    protocol: int
    scope: int
    priority: int
    """RTA_PRIORITY, ``metric`` in iproute2."""
    tos: int
    flags: int
    oif: int | None
    gateway: str | None
    prefsrc: str | None
    nh_id: int | None
    expires: int | None
    """Seconds left (router advertisements); None: does not expire."""
    extra: RouteExtra | None

    @property
    def hops(self) -> tuple[RouteHop, ...]:
        """Every next hop that the route itself names; a route over a nexthop object keeps the kernel's expansion of
        it."""
        if self.extra is not None and self.extra.multipath:
            return self.extra.multipath
        if self.oif is None and self.gateway is None:
            return ()
        extra = self.extra or RouteExtra()
        return (
            RouteHop(
                oif=self.oif or 0,
                gateway=self.gateway,
                flags=self.flags & 0xFF,
                encap=extra.encap,
                programs=extra.programs,
            ),
        )

    @property
    def default(self) -> bool:
        """True for a prefix of length zero."""
        return self.dst.endswith("/0")


U1 = npt.NDArray[np.uint8]
U4 = npt.NDArray[np.uint32]
I4 = npt.NDArray[np.int32]
Addresses = npt.NDArray[Any]
"""IPv4: shape (n,) uint32, host order. IPv6: shape (n, 16) uint8, network order."""


def address_text(value: Any) -> str:
    """Text of one IPv4 (integer) or IPv6 (16 bytes) column value."""
    if isinstance(value, (int, np.integer)):
        return str(ipaddress.IPv4Address(int(value)))
    return str(ipaddress.IPv6Address(bytes(value)))


@dataclass(frozen=True, kw_only=True)
class Routes:
    """Every route of one family. All columns have the same length n."""

    family: str
    """``inet`` or ``inet6``."""
    dst: Addresses
    dst_len: U1
    """Bits of the prefix."""
    tos: U1
    table: U4
    protocol: U1
    scope: U1
    type: U1
    """RTN_*."""
    flags: U4
    """rtm_flags: RTNH_F_* bits of a single hop in the low byte, RTM_F_* above."""
    priority: U4
    oif: I4
    """ifindex of a single next hop; 0: none (multipath, blackhole ...)."""
    gateway: Addresses
    """All-zero: none."""
    prefsrc: Addresses
    """All-zero: none."""
    nh_id: U4
    """Nexthop object; 0: none."""
    extra: I4
    """Position in ``extras``; -1: nothing unusual."""
    expires: I4
    """Seconds; -1: does not expire (IPv4 never does)."""
    extras: tuple[RouteExtra, ...] = ()

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "dst",
        "dst_len",
        "tos",
        "table",
        "protocol",
        "scope",
        "type",
        "flags",
        "priority",
        "oif",
        "gateway",
        "prefsrc",
        "nh_id",
        "extra",
        "expires",
    )

    def __len__(self) -> int:
        return len(self.dst_len)

    def row(self, position: int) -> Route:
        """The route at one position (0 to n-1), made readable."""
        index = int(self.extra[position])
        extra = self.extras[index] if index >= 0 else None
        gateway, prefsrc = self.gateway[position], self.prefsrc[position]
        expires, oif, nh_id = int(self.expires[position]), int(self.oif[position]), int(self.nh_id[position])
        via = extra.via if extra else None
        return Route(
            family=self.family,
            dst=f"{address_text(self.dst[position])}/{int(self.dst_len[position])}",
            table=int(self.table[position]),
            type=RTN_NAMES.get(int(self.type[position]), str(int(self.type[position]))),
            protocol=int(self.protocol[position]),
            scope=int(self.scope[position]),
            priority=int(self.priority[position]),
            tos=int(self.tos[position]),
            flags=int(self.flags[position]),
            oif=oif or None,
            gateway=via or (address_text(gateway) if np.any(gateway) else None),
            prefsrc=address_text(prefsrc) if np.any(prefsrc) else None,
            nh_id=nh_id or None,
            expires=expires if expires >= 0 else None,
            extra=extra,
        )

    def rows(self, positions: "npt.ArrayLike | None" = None) -> Iterator[Route]:
        """Readable routes at the given positions, or all of them, in dump order."""
        chosen = range(len(self)) if positions is None else np.asarray(positions).tolist()
        return (self.row(position) for position in chosen)

    @classmethod
    def empty(cls, family: str) -> "Routes":
        """A table without rows."""
        return routes_from_rows(family, [])


def routes_from_rows(family: str, rows: list[Route]) -> Routes:
    """Columns from readable rows: for examples, tests and snapshots written by hand. Raises ValueError on a bad
    address."""
    v4 = family == "inet"

    def addresses(texts: list[str | None]) -> Addresses:
        if v4:
            return np.array([int(ipaddress.IPv4Address(t)) if t else 0 for t in texts], np.uint32)
        packed = b"".join(ipaddress.IPv6Address(t).packed if t else bytes(16) for t in texts)
        return np.frombuffer(packed, np.uint8).reshape(len(texts), 16)

    extras: list[RouteExtra] = []
    pointers: list[int] = []
    gateways: list[str | None] = []
    for row in rows:
        extra = row.extra
        other_family = row.gateway is not None and (":" in row.gateway) == v4
        if other_family:
            extra = msgspec.structs.replace(extra or RouteExtra(), via=row.gateway)
        gateways.append(None if other_family else row.gateway)
        if extra is None:
            pointers.append(-1)
        else:
            pointers.append(len(extras))
            extras.append(extra)
    numbers = {name: number for number, name in RTN_NAMES.items()}
    return Routes(
        family=family,
        dst=addresses([row.dst.partition("/")[0] for row in rows]),
        dst_len=np.array([int(row.dst.partition("/")[2]) for row in rows], np.uint8),
        tos=np.array([row.tos for row in rows], np.uint8),
        table=np.array([row.table for row in rows], np.uint32),
        protocol=np.array([row.protocol for row in rows], np.uint8),
        scope=np.array([row.scope for row in rows], np.uint8),
        type=np.array([numbers[row.type] for row in rows], np.uint8),
        flags=np.array([row.flags for row in rows], np.uint32),
        priority=np.array([row.priority for row in rows], np.uint32),
        oif=np.array([row.oif or 0 for row in rows], np.int32),
        gateway=addresses(gateways),
        prefsrc=addresses([row.prefsrc for row in rows]),
        nh_id=np.array([row.nh_id or 0 for row in rows], np.uint32),
        extra=np.array(pointers, np.int32),
        expires=np.array([-1 if row.expires is None else row.expires for row in rows], np.int32),
        extras=tuple(extras),
    )
