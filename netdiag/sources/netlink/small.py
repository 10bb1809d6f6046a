"""Policy rules, nexthop objects, neighbour tables and namespace ids: tables of a few rows, decoded message by message.

Formats: include/uapi/linux/{fib_rules,nexthop,neighbour,net_namespace}.h; net/core/fib_rules.c (fib_nl_fill_rule()),
net/ipv4/nexthop.c (nh_fill_node()), net/core/neighbour.c (neightbl_fill_info()). pyroute2's message classes could do
this as well, but their import alone takes half as long as a whole check, a rule takes them ten times as long, and they
do not know the selectors of newer kernels. Damaged attributes are left out and counted in ``malformed``, unknown ones
counted in ``unknown``; nothing is raised.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from netdiag.model.nexthop import Nexthop, NexthopMember
from netdiag.model.policyrule import PolicyRule
from netdiag.model.sysctl import NeighTable
from netdiag.model.text import kernel_text
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.attributes import Buffer, DecodeError, address, s32, u8, u16, u32, u64, walk
from netdiag.sources.netlink.encapsulation import encap_name
from netdiag.sources.netlink.messages import walk_messages

FAMILY_NAMES = {nl.AF_INET: "inet", nl.AF_INET6: "inet6"}
_FIB_RULE_HDR = Struct("=BBBBBxxBI")
"""struct fib_rule_hdr: family, dst_len, src_len, tos, table, action, flags."""
_NHMSG = Struct("=BBBxI")
"""struct nhmsg: nh_family, nh_scope, nh_protocol, nh_flags."""
_NEXTHOP_GRP = Struct("=IBBH")
"""struct nexthop_grp: id, weight less one, its upper byte since Linux 6.12 (weight_high), reserved."""
_NDTMSG = Struct("=BxH")
_RTGENMSG = Struct("=Bxxx")
_NDT_CONFIG = Struct("=HHIIIIIII")
_NDT_STATS = Struct("=11Q")
_TWO_U16 = Struct("=HH")
_TWO_U32 = Struct("=II")
_BE64 = Struct("!Q")
_NETNSA_NSID = 1

ACTIONS = {1: "lookup", 2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
"""FR_ACT_*, as ``ip rule`` spells them."""
_OFF = 0xFFFFFFFF
"""-1: suppress_prefixlength and suppress_ifgroup are not set."""


class _Sink:
    """What the sinks for small tables share: one message after the other, and two counters."""

    message_type = 0
    header = Struct("=")

    def __init__(self) -> None:
        self.unknown: dict[int, int] = {}
        """Attribute type to how often it was met, for types that nobody here knows."""
        self.malformed = 0
        self.cut = False
        """Whether the message in hand held something behind its last readable attribute."""

    def reset(self) -> None:
        """Forget everything."""
        self.unknown.clear()
        self.malformed = 0
        self.forget()

    def feed(self, buffer: memoryview) -> None:
        """Whole messages, as the transport has them."""
        octets = bytes(buffer)
        for message in walk_messages(octets):
            if message.type != self.message_type:
                continue
            if message.end - message.start < self.header.size:
                self.malformed += 1
                continue
            payload = octets[message.start : message.end]
            attributes: dict[int, bytes] = {}
            position = self.header.size
            for kind, start, end in walk(payload, position):
                attributes[kind] = payload[start:end]
                position = (end + 3) & ~3
            self.cut = position < len(payload)
            self.malformed += self.cut
            self.take(self.header.unpack_from(payload), attributes)

    def forget(self) -> None:
        """Drop the rows."""
        raise NotImplementedError

    def take(self, head: tuple[int, ...], attributes: dict[int, bytes]) -> None:
        """Decode one message."""
        raise NotImplementedError

    def count_unknown(self, kind: int) -> None:
        """Note an attribute type that the decoder does not know."""
        self.unknown[kind] = self.unknown.get(kind, 0) + 1


def _be64(payload: Buffer) -> int:
    if len(payload) < _BE64.size:
        raise DecodeError(f"{len(payload)} bytes where 8 were expected")
    value: int = _BE64.unpack_from(payload)[0]
    return value


def _pair(form: Struct, payload: Buffer) -> tuple[int, int]:
    if len(payload) < form.size:
        raise DecodeError(f"{len(payload)} bytes where {form.size} were expected")
    first, second = form.unpack_from(payload)
    return first, second


_RULE_VALUES: dict[int, tuple[str, Callable[[Buffer], Any]]] = {
    nl.FRA_PRIORITY: ("priority", u32),
    nl.FRA_TABLE: ("table", u32),
    nl.FRA_SRC: ("src", address),
    nl.FRA_DST: ("dst", address),
    nl.FRA_IIFNAME: ("iif", kernel_text),
    nl.FRA_OIFNAME: ("oif", kernel_text),
    nl.FRA_FWMARK: ("fwmark", u32),
    nl.FRA_FWMASK: ("fwmask", u32),
    nl.FRA_GOTO: ("goto", u32),
    nl.FRA_TUN_ID: ("tun_id", _be64),
    nl.FRA_SUPPRESS_PREFIXLEN: ("suppress_prefixlength", u32),
    nl.FRA_SUPPRESS_IFGROUP: ("suppress_ifgroup", u32),
    nl.FRA_L3MDEV: ("l3mdev", lambda payload: u8(payload) != 0),
    nl.FRA_PROTOCOL: ("protocol", u8),
    nl.FRA_IP_PROTO: ("ip_proto", u8),
    nl.FRA_DSCP: ("dscp", u8),
}
_RULE_RANGES = {
    nl.FRA_UID_RANGE: ("uid_start", "uid_end", _TWO_U32),
    nl.FRA_SPORT_RANGE: ("sport_start", "sport_end", _TWO_U16),
    nl.FRA_DPORT_RANGE: ("dport_start", "dport_end", _TWO_U16),
}
_RULE_FULL_MASKS = {nl.FRA_SPORT_MASK: 0xFFFF, nl.FRA_DPORT_MASK: 0xFFFF, nl.FRA_DSCP_MASK: 0x3F}
"""Masks of newer kernels that say nothing when they are full; otherwise they count as unknown."""
_RULE_IGNORED = {nl.FRA_FLOW, 18}
"""Realms do not choose a route; 18 is FRA_PAD."""


class RuleSink(_Sink):
    """Sink for a dump of policy rules; ``rules`` has them in the order in which they are tried."""

    message_type = nl.RTM_NEWRULE
    header = _FIB_RULE_HDR

    def __init__(self) -> None:
        super().__init__()
        self.rules: list[PolicyRule] = []

    def forget(self) -> None:
        self.rules.clear()

    def take(self, head: tuple[int, ...], attributes: dict[int, bytes]) -> None:
        family, dst_len, src_len, tos, table, action, flags = head
        if family not in FAMILY_NAMES:
            return
        fields: dict[str, Any] = {"priority": 0, "table": table}  # the kernel leaves out a priority of 0
        unknown = int(self.cut)
        for kind, payload in attributes.items():
            try:
                if kind in _RULE_VALUES:
                    name, read = _RULE_VALUES[kind]
                    fields[name] = read(payload)
                elif kind in _RULE_RANGES:
                    first, last, form = _RULE_RANGES[kind]
                    fields[first], fields[last] = _pair(form, payload)
                elif kind in _RULE_FULL_MASKS:
                    unknown += self._mask(kind, payload)
                elif kind not in _RULE_IGNORED:
                    self.count_unknown(kind)
                    unknown += 1
            except DecodeError:
                self.malformed += 1
                unknown += 1  # a selector that could not be read narrows the rule all the same
        self.rules.append(
            PolicyRule(
                family=FAMILY_NAMES[family],
                action=ACTIONS.get(action, f"act{action}"),
                src_len=src_len,
                dst_len=dst_len,
                tos=tos,
                iif_detached=bool(flags & nl.FIB_RULE_IIF_DETACHED),
                oif_detached=bool(flags & nl.FIB_RULE_OIF_DETACHED),
                goto_unresolved=bool(flags & nl.FIB_RULE_UNRESOLVED),
                invert=bool(flags & nl.FIB_RULE_INVERT),
                unknown=unknown,
                **_settled(fields),
            )
        )

    def _mask(self, kind: int, payload: bytes) -> int:
        """1 where a mask narrows its selector in a way that has no place in the model, else 0."""
        value = u8(payload) if kind == nl.FRA_DSCP_MASK else u16(payload)
        if value == _RULE_FULL_MASKS[kind]:
            return 0
        self.count_unknown(kind)
        return 1


def _settled(fields: dict[str, Any]) -> dict[str, Any]:
    """The kernel's ways of saying "not set", as None."""
    for name in ("suppress_prefixlength", "suppress_ifgroup"):
        if fields.get(name) == _OFF:
            fields[name] = None
    if not fields["table"]:
        fields["table"] = None  # RT_TABLE_UNSPEC: l3mdev, goto, blackhole ...
    if "fwmask" in fields:
        fields.setdefault("fwmark", 0)  # a mark of 0 is left out, but with a mask it selects
    if fields.get("fwmark") == 0 and not fields.get("fwmask"):
        fields["fwmark"] = fields["fwmask"] = None
    return fields


class NexthopSink(_Sink):
    """Sink for a dump of nexthop objects; ``nexthops`` has them by id, ascending, as the kernel sends them."""

    message_type = nl.RTM_NEWNEXTHOP
    header = _NHMSG

    def __init__(self) -> None:
        super().__init__()
        self.nexthops: list[Nexthop] = []

    def forget(self) -> None:
        self.nexthops.clear()

    def take(self, head: tuple[int, ...], attributes: dict[int, bytes]) -> None:
        family, scope, protocol, flags = head
        fields: dict[str, Any] = {
            "family": FAMILY_NAMES.get(family),
            "scope": scope,
            "protocol": protocol,
            "flags": flags,
        }
        for kind, payload in attributes.items():
            try:
                self._attribute(fields, kind, payload)
            except DecodeError:
                self.malformed += 1
        if "id" in fields:
            self.nexthops.append(Nexthop(**fields))
        else:
            self.malformed += 1

    def _attribute(self, fields: dict[str, Any], kind: int, payload: bytes) -> None:
        if kind in _NEXTHOP_VALUES:
            name, read = _NEXTHOP_VALUES[kind]
            fields[name] = read(payload)
        elif kind not in _NEXTHOP_IGNORED:
            self.count_unknown(kind)


def decode_group(payload: Buffer) -> tuple[NexthopMember, ...]:
    """NHA_GROUP: an array of struct nexthop_grp. Raises DecodeError."""
    if len(payload) % _NEXTHOP_GRP.size:
        raise DecodeError(f"a group of {len(payload)} bytes")
    return tuple(
        NexthopMember(id=number, weight=(low | high << 8) + 1)
        for number, low, high, _ in _NEXTHOP_GRP.iter_unpack(payload)
    )


_NEXTHOP_VALUES: dict[int, tuple[str, Callable[[Buffer], Any]]] = {
    nl.NHA_ID: ("id", u32),
    nl.NHA_OIF: ("oif", u32),
    nl.NHA_GATEWAY: ("gateway", address),
    nl.NHA_MASTER: ("master", u32),
    nl.NHA_BLACKHOLE: ("blackhole", lambda payload: True),
    nl.NHA_FDB: ("fdb", lambda payload: True),
    nl.NHA_GROUP: ("group", decode_group),
    nl.NHA_GROUP_TYPE: ("resilient", lambda payload: u16(payload) == 1),  # NEXTHOP_GRP_TYPE_RES
    nl.NHA_ENCAP_TYPE: ("encap", lambda payload: encap_name(u16(payload))),
}
_NEXTHOP_IGNORED = {
    nl.NHA_ENCAP,
    nl.NHA_RES_GROUP,
    nl.NHA_OP_FLAGS,
    nl.NHA_GROUP_STATS,
    nl.NHA_HW_STATS_ENABLE,
    nl.NHA_HW_STATS_USED,
}

NDTPA_NAMES: dict[int, tuple[str, Callable[[Buffer], int]]] = {
    nl.NDTPA_IFINDEX: ("ifindex", u32),
    nl.NDTPA_REFCNT: ("refcnt", u32),
    nl.NDTPA_REACHABLE_TIME: ("reachable_time_ms", u64),
    nl.NDTPA_BASE_REACHABLE_TIME: ("base_reachable_time_ms", u64),
    nl.NDTPA_RETRANS_TIME: ("retrans_time_ms", u64),
    nl.NDTPA_GC_STALETIME: ("gc_stale_time_ms", u64),
    nl.NDTPA_DELAY_PROBE_TIME: ("delay_first_probe_time_ms", u64),
    nl.NDTPA_QUEUE_LEN: ("unres_qlen", u32),
    nl.NDTPA_APP_PROBES: ("app_solicit", u32),
    nl.NDTPA_UCAST_PROBES: ("ucast_solicit", u32),
    nl.NDTPA_MCAST_PROBES: ("mcast_solicit", u32),
    nl.NDTPA_ANYCAST_DELAY: ("anycast_delay_ms", u64),
    nl.NDTPA_PROXY_DELAY: ("proxy_delay_ms", u64),
    nl.NDTPA_PROXY_QLEN: ("proxy_qlen", u32),
    nl.NDTPA_LOCKTIME: ("locktime_ms", u64),
    nl.NDTPA_QUEUE_LENBYTES: ("unres_qlen_bytes", u32),
    nl.NDTPA_MCAST_REPROBES: ("mcast_resolicit", u32),
    nl.NDTPA_INTERVAL_PROBE_TIME_MS: ("interval_probe_time_ms", u64),
}
"""NDTPA_* by the names of net.ipv4.neigh.*; every time is in milliseconds and says so."""


@dataclass(frozen=True)
class NeighParms:
    """Settings of one neighbour table on one interface (NDTA_PARMS)."""

    family: str
    ifindex: int
    """0: the defaults for new interfaces."""
    values: dict[str, int] = field(default_factory=dict)
    """By the names of net.ipv4.neigh.*, times with ``_ms`` behind them."""


class NeighTableSink(_Sink):
    """Sink for a dump of neighbour tables: ``tables``, and ``parms`` per interface of this namespace.

    Thresholds and counters are those of the whole kernel, and netlink tells them in every namespace, also where
    /proc/sys/net/ipv4/neigh/default does not exist.
    """

    message_type = nl.RTM_NEWNEIGHTBL
    header = _NDTMSG

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[NeighTable] = []
        self.parms: list[NeighParms] = []

    def forget(self) -> None:
        self.tables.clear()
        self.parms.clear()

    def take(self, head: tuple[int, ...], attributes: dict[int, bytes]) -> None:
        family = FAMILY_NAMES.get(head[0], str(head[0]))
        fields: dict[str, Any] = {"name": "", "family": family}
        for kind, payload in attributes.items():
            try:
                if kind in _TABLE_VALUES:
                    name, read = _TABLE_VALUES[kind]
                    fields[name] = read(payload)
                elif kind == nl.NDTA_CONFIG:
                    fields["entries"] = _fixed(_NDT_CONFIG, payload)[2]
                elif kind == nl.NDTA_STATS:
                    stats = _fixed(_NDT_STATS, payload)
                    fields |= {"allocs": stats[0], "res_failed": stats[3]}
                    fields |= {"forced_gc_runs": stats[9], "table_fulls": stats[10]}
                elif kind == nl.NDTA_PARMS:
                    self._parms(family, payload)
                elif kind != 9:  # NDTA_PAD
                    self.count_unknown(kind)
            except DecodeError:
                self.malformed += 1
        if nl.NDTA_CONFIG in attributes:  # only the first message of a table has it; the others are interfaces
            self.tables.append(NeighTable(**fields))

    def _parms(self, family: str, payload: bytes) -> None:
        values: dict[str, int] = {}
        for kind, start, end in walk(payload):
            if kind in NDTPA_NAMES:
                name, read = NDTPA_NAMES[kind]
                values[name] = read(payload[start:end])
        self.parms.append(NeighParms(family, values.pop("ifindex", 0), values))


def _fixed(form: Struct, payload: Buffer) -> tuple[int, ...]:
    """A C struct; a newer kernel's may be longer. Raises DecodeError."""
    if len(payload) < form.size:
        raise DecodeError(f"{len(payload)} bytes where {form.size} were expected")
    values: tuple[int, ...] = form.unpack_from(payload)
    return values


_TABLE_VALUES: dict[int, tuple[str, Callable[[Buffer], Any]]] = {
    nl.NDTA_NAME: ("name", kernel_text),
    nl.NDTA_THRESH1: ("thresh1", u32),
    nl.NDTA_THRESH2: ("thresh2", u32),
    nl.NDTA_THRESH3: ("thresh3", u32),
    nl.NDTA_GC_INTERVAL: ("gc_interval_ms", u64),
}


class NetnsIdSink(_Sink):
    """Sink for a dump of namespace ids; ``ids`` has the numbers by which this namespace knows its peers."""

    message_type = nl.RTM_NEWNSID
    header = _RTGENMSG

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[int] = []

    def forget(self) -> None:
        self.ids.clear()

    def take(self, head: tuple[int, ...], attributes: dict[int, bytes]) -> None:
        try:
            number = s32(attributes.get(_NETNSA_NSID, b""))
        except DecodeError:
            self.malformed += 1
            return
        if number >= 0:
            self.ids.append(number)
