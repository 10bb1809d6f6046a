"""RTM_NEWROUTE into model.Routes: columns for what every route has, ``extras`` for what few have.

Formats: include/uapi/linux/rtnetlink.h (struct rtmsg, 12 bytes; RTA_*), net/ipv4/fib_semantics.c (fib_dump_info()) and
net/ipv6/route.c (rt6_fill_node()). Dumps with strict checking hold no cached routes (RTM_F_CLONED). Damaged attributes
are left out and counted, never raised.
"""

import os
from struct import Struct, unpack_from

import numpy as np

from netdiag.model.route import RouteExtra, RouteHop, Routes
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.attributes import Buffer, DecodeError, address, u16, u32, walk
from netdiag.sources.netlink.columns import At, Attribute, Columns, ColumnSink, Matrix, Words, distinct
from netdiag.sources.netlink.encapsulation import encap_name, lwt_programs

USER_HZ = os.sysconf("SC_CLK_TCK")
"""Clock ticks a second in which the kernel counts lifetimes for user space."""

_RTNEXTHOP = Struct("=HBBi")
"""struct rtnexthop: rtnh_len, rtnh_flags, rtnh_hops, rtnh_ifindex."""

RTAX_NAMES = {
    1: "lock",
    2: "mtu",
    3: "window",
    4: "rtt",
    5: "rttvar",
    6: "ssthresh",
    7: "cwnd",
    8: "advmss",
    9: "reordering",
    10: "hoplimit",
    11: "initcwnd",
    12: "features",
    13: "rto_min",
    14: "initrwnd",
    15: "quickack",
    17: "fastopen_no_cookie",
}
"""RTAX_* as iproute2 spells them; ``lock`` is a mask by these numbers. RTAX_CC_ALGO (16) is a name, not a number."""
_RTAX_CC_ALGO = 16

_EXOTIC = {nl.RTA_METRICS, nl.RTA_MULTIPATH, nl.RTA_ENCAP, nl.RTA_ENCAP_TYPE, nl.RTA_VIA, nl.RTA_SRC}
"""Attributes that only few routes have; decoded once for each distinct value."""
_IGNORED = {nl.RTA_FLOW, nl.RTA_IIF, nl.RTA_UID, nl.RTA_MARK, nl.RTA_EXPIRES, nl.RTA_TTL_PROPAGATE, 26}
_IGNORED |= {nl.RTA_IP_PROTO, nl.RTA_SPORT, nl.RTA_DPORT}
"""Known, and without a column: realms do not choose a route, the others answer a lookup. 26 is RTA_PAD."""

_NOTHING = RouteExtra()
_U1, _U4, _I4 = (np.uint8, 0), (np.uint32, 0), (np.int32, 0)


class RouteColumns(ColumnSink):
    """Sink for a dump of routes of one family; finish() is the table."""

    def __init__(self, family: str) -> None:
        """``family``: ``inet`` or ``inet6``."""
        number = nl.AF_INET if family == "inet" else nl.AF_INET6
        super().__init__(nl.RTM_NEWROUTE, frozenset({number}), 12)
        self.family = family
        self.size = 4 if family == "inet" else 16
        self.extras: list[RouteExtra] = []
        self.numbers: dict[bytes, int] = {}
        self.columns = self._fresh()

    def _fresh(self) -> Columns:
        wide = _U4 if self.size == 4 else (np.uint8, 16)
        return Columns(
            {
                **{"dst": wide, "dst_len": _U1, "tos": _U1, "table": _U4, "protocol": _U1, "scope": _U1, "type": _U1},
                **{"flags": _U4, "priority": _U4, "oif": _I4, "gateway": wide, "prefsrc": wide, "nh_id": _U4},
                **{"extra": _I4, "expires": _I4},
            }
        )

    def forget(self) -> None:
        self.extras.clear()
        self.numbers.clear()
        self.columns = self._fresh()

    def take_rows(self, count: int) -> int:
        first = self.columns.take(count)
        for name in ("extra", "expires"):
            self.columns.arrays[name][first : first + count] = -1
        return first

    def finish(self) -> Routes:
        """The routes, in dump order. The sink is used up."""
        self.flush()
        self.columns.resize(self.columns.rows)
        return Routes(family=self.family, extras=tuple(self.extras), **self.columns.arrays)

    def store(self, matrix: Matrix, at: At) -> None:
        arrays, octets = self.columns.arrays, matrix.octets
        for position, name in (
            (17, "dst_len"),
            (19, "tos"),
            (20, "table"),
            (21, "protocol"),
            (22, "scope"),
            (23, "type"),
        ):
            arrays[name][at] = octets[:, position]
        arrays["flags"][at] = matrix.words[:, 6]
        exotic: list[Attribute] = []
        for attribute in matrix.attributes:
            kind = attribute.type
            if kind in _EXOTIC:
                exotic.append(attribute)
            elif kind == nl.RTA_PREF:
                if attribute.size >= 1 and matrix.payload(attribute, 1).any():
                    exotic.append(attribute)
            elif kind == nl.RTA_CACHEINFO:
                self._expires(matrix, attribute, at)
            elif not self._plain(matrix, attribute, at) and kind not in _IGNORED:
                self.count_unknown(kind, len(matrix))
                exotic.append(attribute)
        if exotic:
            self._exotic(matrix, exotic, at)

    def _plain(self, matrix: Matrix, attribute: Attribute, at: At) -> bool:
        """An attribute with a column of its own. False: it has none."""
        name = _ADDRESSES.get(attribute.type)
        if name is not None:
            if attribute.size != self.size:
                self.malformed += len(matrix)
            elif self.size == 4:
                self.columns.arrays[name][at] = matrix.network[:, attribute.word]
            else:
                self.columns.arrays[name][at] = matrix.payload(attribute, 16)
            return True
        name = _NUMBERS.get(attribute.type)
        if name is None:
            return False
        if attribute.size != 4:
            self.malformed += len(matrix)
        else:
            self.columns.arrays[name][at] = matrix.words[:, attribute.word].view(self.columns.arrays[name].dtype)
        return True

    def _expires(self, matrix: Matrix, attribute: Attribute, at: At) -> None:
        """rta_expires, third word of struct rta_cacheinfo: ticks left; 0: for ever; negative: over, still there."""
        if attribute.size < 12:
            self.malformed += len(matrix)
            return
        ticks = matrix.words[:, attribute.word + 2].view(np.int32)
        if ticks.any():
            self.columns.arrays["expires"][at] = np.where(ticks == 0, -1, np.maximum(ticks, 0) // USER_HZ)

    def _exotic(self, matrix: Matrix, attributes: list[Attribute], at: At) -> None:
        """Point the rows to an extra; routes with the same bytes share one."""
        parts: list[Words] = [matrix.words[:, attribute.words] for attribute in attributes]
        # src_len stands in the header: keep the word with it beside the attributes, without dst_len and tos.
        parts.append(matrix.octets[:, 18:19].astype(np.uint32))

        def number_of(key: bytes) -> int:
            number = self.numbers.get(key)
            if number is None:
                extra, bad = decode_extra(key[:-4], unpack_from("=I", key, len(key) - 4)[0])
                self.malformed += bad
                number = self.numbers[key] = -1 if extra == _NOTHING else len(self.extras)
                if number >= 0:
                    self.extras.append(extra)
            return number

        self.columns.arrays["extra"][at] = distinct(np.concatenate(parts, axis=1), number_of)


_ADDRESSES = {nl.RTA_DST: "dst", nl.RTA_GATEWAY: "gateway", nl.RTA_PREFSRC: "prefsrc"}
_NUMBERS = {nl.RTA_TABLE: "table", nl.RTA_PRIORITY: "priority", nl.RTA_OIF: "oif", nl.RTA_NH_ID: "nh_id"}


def decode_extra(attributes: Buffer, src_len: int) -> tuple[RouteExtra, int]:
    """Decode what few routes have; the extra, and how many attributes were damaged."""
    fields: dict[str, object] = {}
    encap_payload: Buffer = b""
    bad = unknown = 0
    for kind, start, end in walk(attributes):
        payload = attributes[start:end]
        try:
            if kind == nl.RTA_METRICS:
                fields["metrics"] = decode_metrics(payload)
            elif kind == nl.RTA_MULTIPATH:
                fields["multipath"] = decode_multipath(payload)
            elif kind == nl.RTA_VIA:
                fields["via"] = decode_via(payload)
            elif kind == nl.RTA_ENCAP_TYPE:
                fields["encap"] = encap_name(u16(payload))
            elif kind == nl.RTA_ENCAP:
                encap_payload = payload
            elif kind == nl.RTA_SRC:
                fields["src"], fields["src_len"] = address(payload), src_len
            elif kind == nl.RTA_PREF:
                fields["pref"] = payload[0]
            else:
                unknown += 1
        except DecodeError:
            bad += 1
    if fields.get("encap") == "bpf":
        fields["programs"] = lwt_programs(encap_payload)
    return RouteExtra(unknown=unknown, **fields), bad  # type: ignore[arg-type]


def decode_metrics(payload: Buffer) -> dict[str, int]:
    """RTA_METRICS: RTAX_* numbers by iproute2's names; unnamed ones as ``metricN``. Raises DecodeError."""
    return {
        RTAX_NAMES.get(kind, f"metric{kind}"): u32(payload[start:end])
        for kind, start, end in walk(payload)
        if kind != _RTAX_CC_ALGO
    }


def decode_via(payload: Buffer) -> str:
    """RTA_VIA: struct rtvia, a family of 16 bits and an address. Raises DecodeError."""
    return address(payload[2:])


def decode_multipath(payload: Buffer) -> tuple[RouteHop, ...]:
    """RTA_MULTIPATH: struct rtnexthop after struct rtnexthop, each with attributes of its own. Raises DecodeError."""
    hops: list[RouteHop] = []
    position = 0
    while position + _RTNEXTHOP.size <= len(payload):
        length, flags, less_one, oif = _RTNEXTHOP.unpack_from(payload, position)
        if length < _RTNEXTHOP.size or position + length > len(payload):
            raise DecodeError(f"a next hop of {length} bytes")
        gateway = encap = None
        inside: Buffer = b""
        for kind, start, end in walk(payload, position + _RTNEXTHOP.size, position + length):
            if kind == nl.RTA_GATEWAY:
                gateway = address(payload[start:end])
            elif kind == nl.RTA_VIA:
                gateway = decode_via(payload[start:end])
            elif kind == nl.RTA_ENCAP_TYPE:
                encap = encap_name(u16(payload[start:end]))
            elif kind == nl.RTA_ENCAP:
                inside = payload[start:end]
        programs = lwt_programs(inside) if encap == "bpf" else ()
        hops.append(
            RouteHop(oif=oif, gateway=gateway, weight=less_one + 1, flags=flags, encap=encap, programs=programs)
        )
        position += (length + 3) & ~3
    return tuple(hops)
