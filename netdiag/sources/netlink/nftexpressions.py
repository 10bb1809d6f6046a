"""Expressions of nftables rules, from their attributes into model.NftExpression.

Formats: include/uapi/linux/netfilter/nf_tables.h and nf_tables_compat.h; each expression's ``dump`` in net/netfilter/
nft_*.c. Numbers are in network order, values as they stand in the registers. An expression that is not known, or whose
attributes are damaged, is kept with its name as opaque; nothing is raised.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from netdiag.model.nft import NftExpression
from netdiag.model.text import kernel_text
from netdiag.sources.netlink.attributes import DecodeError, be32, walk

Attributes = Mapping[int, bytes]

VERDICTS = {
    0: "drop",
    1: "accept",
    2: "stolen",
    3: "queue",
    4: "repeat",
    -1: "continue",
    -2: "break",
    -3: "jump",
    -4: "goto",
    -5: "return",
}
META = [
    "length",
    "protocol",
    "priority",
    "mark",
    "iif",
    "oif",
    "iifname",
    "oifname",
    "iiftype",
    "oiftype",
    "skuid",
    "skgid",
    "nftrace",
    "rtclassid",
    "secmark",
    "nfproto",
    "l4proto",
    "ibrname",
    "obrname",
    "pkttype",
    "cpu",
    "iifgroup",
    "oifgroup",
    "cgroup",
    "random",
    "ipsec",
    "iifkind",
    "oifkind",
    "ibrpvid",
    "ibrvproto",
    "time",
    "day",
    "hour",
    "sdif",
    "sdifname",
    "broute",
]
CT = [
    "state",
    "direction",
    "status",
    "mark",
    "secmark",
    "expiration",
    "helper",
    "l3proto",
    "src",
    "dst",
    "protocol",
    "proto-src",
    "proto-dst",
    "label",
    "packets",
    "bytes",
    "avgpkt",
    "zone",
    "event",
    "saddr",
    "daddr",
    "saddr6",
    "daddr6",
    "id",
]
RT = ("classid", "nexthop", "nexthop6", "mtu", "ipsec")
SOCKET = ("transparent", "mark", "wildcard", "cgroupv2")
FIB_RESULTS = {1: "oif", 2: "oifname", 3: "type"}
FIB_FLAGS = ("saddr", "daddr", "mark", "iif", "oif", "present")
CMP_OPS = ("eq", "neq", "lt", "lte", "gt", "gte")
BITWISE_OPS = ("mask", "lshift", "rshift", "and", "or", "xor")
PAYLOAD_BASES = ("link", "network", "transport", "inner")
EXTHDR_OPS = ("ipv6", "tcpopt", "ipv4", "sctp", "dccp")
DYNSET_OPS = ("add", "update", "delete")
NAT_FLAGS = {0x4: "random", 0x10: "fully-random", 0x8: "persistent", 0x20: "netmap", 0x1: "ips", 0x2: "ports"}
"""NF_NAT_RANGE_* (include/uapi/linux/netfilter/nf_nat.h)."""
FAMILIES = {1: "inet", 2: "ip", 10: "ip6", 3: "arp", 7: "bridge", 5: "netdev"}
OBJECTS = {
    1: "counter",
    2: "quota",
    3: "ct helper",
    4: "limit",
    5: "ct count",
    6: "tunnel",
    7: "ct timeout",
    8: "secmark",
    9: "ct expectation",
    10: "synproxy",
}
XT_INFO_LIMIT = 512
"""Bytes kept of what an extension of iptables was given."""


def attributes_of(payload: bytes) -> dict[int, bytes]:
    """The attributes in a payload, by number."""
    return {kind: payload[start:end] for kind, start, end in walk(payload)}


def s32(payload: bytes) -> int:
    """A signed number of 32 bits in network order. Raises DecodeError."""
    value = be32(payload)
    return value - (1 << 32) if value & 0x80000000 else value


def be64(payload: bytes) -> int:
    """A number of 64 bits in network order. Raises DecodeError."""
    if len(payload) < 8:
        raise DecodeError(f"{len(payload)} bytes where 8 were expected")
    return int.from_bytes(payload[:8], "big")


def register(payload: bytes) -> int | None:
    """Which 32-bit register a number of enum nft_registers begins at; None for the verdict register."""
    number = be32(payload)
    if number == 0:
        return None
    return (number - 1) * 4 if number <= 4 else number - 8


def named(names: "Mapping[int, str] | tuple[str, ...] | list[str]", number: int) -> str:
    """The word for a number; the number itself where there is none."""
    table = names if isinstance(names, Mapping) else dict(enumerate(names))
    return table.get(number, str(number))


def flag_names(names: tuple[str, ...] | Mapping[int, str], flags: int) -> tuple[str, ...]:
    """Words for the bits that are set."""
    table = names if isinstance(names, Mapping) else {1 << n: name for n, name in enumerate(names)}
    return tuple(name for bit, name in table.items() if flags & bit)


def verdict_of(payload: bytes) -> dict[str, Any]:
    """NFTA_VERDICT_CODE and CHAIN. Raises DecodeError."""
    found = attributes_of(payload)
    fields: dict[str, Any] = {"verdict": named(VERDICTS, s32(found.get(1, b"")))}
    if 2 in found:
        fields["chain"] = kernel_text(found[2])
    return fields


def datum(payload: bytes) -> dict[str, Any]:
    """NFTA_DATA_VALUE or NFTA_DATA_VERDICT."""
    found = attributes_of(payload)
    if 2 in found:
        return verdict_of(found[2])
    return {"value": found.get(1, b"").hex()}


def _value(payload: bytes) -> str:
    return attributes_of(payload).get(1, b"").hex()


class _Fields:
    """Attributes of one expression, turned into fields of NftExpression as far as they are there."""

    def __init__(self, found: Attributes) -> None:
        self.found = found
        self.fields: dict[str, Any] = {}

    def take(self, field: str, kind: int, read: Callable[[bytes], Any]) -> "_Fields":
        """Read attribute ``kind`` into ``field`` where it is there."""
        if kind in self.found:
            value = read(self.found[kind])
            if value is not None:
                self.fields[field] = value
        return self

    def number(self, kind: int, default: int = 0) -> int:
        """An attribute of 32 bits."""
        return be32(self.found[kind]) if kind in self.found else default


def _loads(names: list[str] | tuple[str, ...], key: int, dreg: int, sreg: int) -> Callable[[_Fields], None]:
    def read(at: _Fields) -> None:
        at.take("key", key, lambda raw: named(names, be32(raw)))
        at.take("dreg", dreg, register).take("sreg", sreg, register)

    return read


def _ct(at: _Fields) -> None:
    _loads(CT, 2, 1, 4)(at)
    at.take("flags", 3, lambda raw: ("reply" if raw[:1] == b"\1" else "original",))


def _payload(at: _Fields) -> None:
    at.take("key", 2, lambda raw: named(PAYLOAD_BASES, be32(raw)))
    at.take("offset", 3, be32).take("length", 4, be32).take("dreg", 1, register).take("sreg", 5, register)


def _exthdr(at: _Fields) -> None:
    at.fields["key"] = named(EXTHDR_OPS, at.number(6))
    at.take("number", 2, lambda raw: raw[0]).take("offset", 3, be32).take("length", 4, be32)
    at.take("dreg", 1, register).take("sreg", 7, register)
    if at.number(5) & 1:
        at.fields["flags"] = ("present",)


def _cmp(at: _Fields) -> None:
    at.take("sreg", 1, register).take("op", 2, lambda raw: named(CMP_OPS, be32(raw))).take("value", 3, _value)


def _range(at: _Fields) -> None:
    at.take("sreg", 1, register).take("op", 2, lambda raw: named(CMP_OPS, be32(raw)))
    at.take("value", 3, _value).take("value_max", 4, _value)


def _bitwise(at: _Fields) -> None:
    at.take("sreg", 1, register).take("dreg", 2, register).take("length", 3, be32)
    at.take("mask", 4, _value).take("xor", 5, _value).take("value", 7, _value)
    at.fields["op"] = named(BITWISE_OPS, at.number(6))
    if at.number(6) > 2:  # Linux 6.13: and, or, xor of two registers
        at.fields["opaque"] = True


def _byteorder(at: _Fields) -> None:
    at.take("sreg", 1, register).take("dreg", 2, register).take("length", 4, be32).take("number", 5, be32)
    at.fields["op"] = named(("ntoh", "hton"), at.number(3))


def _immediate(at: _Fields) -> None:
    at.take("dreg", 1, register)
    at.fields |= datum(at.found.get(2, b""))


def _lookup(at: _Fields) -> None:
    at.take("set", 1, kernel_text).take("sreg", 2, register).take("dreg", 3, register)
    at.fields["invert"] = bool(at.number(5) & 1)
    if 3 in at.found and "dreg" not in at.fields:
        at.fields["flags"] = ("verdict",)


def _dynset(at: _Fields) -> None:
    at.take("set", 1, kernel_text).take("op", 3, lambda raw: named(DYNSET_OPS, be32(raw)))
    at.take("sreg", 4, register).take("sreg_max", 5, register)
    at.fields["invert"] = bool(at.number(9) & 1)
    inner = list(expressions_of(at.found[10])) if 10 in at.found else []
    if 7 in at.found and not inner:
        inner = [expression_of(at.found[7])]
    at.fields["inner"] = tuple(one.name for one in inner)


def _counter(at: _Fields) -> None:
    at.take("octets", 1, be64).take("packets", 2, be64)


def _limit(at: _Fields) -> None:
    at.take("number", 1, be64).take("code", 2, be64).take("burst", 3, be32)
    at.fields["key"] = named(("packets", "bytes"), at.number(4))
    at.fields["invert"] = bool(at.number(5) & 1)


def _nat(at: _Fields) -> None:
    at.fields["key"] = named(("snat", "dnat"), at.number(1))
    at.take("family", 2, lambda raw: named(FAMILIES, be32(raw))).take("sreg", 3, register).take("sreg_max", 4, register)
    at.take("sreg_port", 5, register).take("sreg_port_max", 6, register)
    at.fields["flags"] = flag_names(NAT_FLAGS, at.number(7))


def _masq(at: _Fields) -> None:
    at.take("sreg_port", 2, register).take("sreg_port_max", 3, register)
    at.fields["flags"] = flag_names(NAT_FLAGS, at.number(1))


def _redir(at: _Fields) -> None:
    at.take("sreg_port", 1, register).take("sreg_port_max", 2, register)
    at.fields["flags"] = flag_names(NAT_FLAGS, at.number(3))


def _tproxy(at: _Fields) -> None:
    at.take("family", 1, lambda raw: named(FAMILIES, be32(raw)))
    at.take("sreg", 2, register).take("sreg_port", 3, register)


def _reject(at: _Fields) -> None:
    at.fields["number"] = at.number(1)
    at.take("code", 2, lambda raw: raw[0])


def _log(at: _Fields) -> None:
    at.take("text", 2, kernel_text).take("number", 5, be32)


def _queue(at: _Fields) -> None:
    at.take("number", 1, lambda raw: int.from_bytes(raw[:2], "big"))
    flags = int.from_bytes(at.found.get(3, b"")[:2], "big")
    at.fields["flags"] = flag_names(("bypass", "fanout"), flags)


def _fib(at: _Fields) -> None:
    at.take("dreg", 1, register).take("key", 2, lambda raw: named(FIB_RESULTS, be32(raw)))
    at.fields["flags"] = flag_names(FIB_FLAGS, at.number(3))


def _quota(at: _Fields) -> None:
    at.take("number", 1, be64).take("octets", 4, be64)
    at.fields["invert"] = bool(at.number(2) & 1)


def _connlimit(at: _Fields) -> None:
    at.take("number", 1, be32)
    at.fields["invert"] = bool(at.number(2) & 1)


def _objref(at: _Fields) -> None:
    at.take("key", 1, lambda raw: named(OBJECTS, be32(raw))).take("text", 2, kernel_text)
    at.take("sreg", 3, register).take("set", 4, kernel_text)


def _flow(at: _Fields) -> None:
    at.take("set", 1, kernel_text)


def _numgen(at: _Fields) -> None:
    at.take("dreg", 1, register).take("number", 2, be32).take("offset", 4, be32)
    at.fields["key"] = named(("inc", "random"), at.number(3))


def _hash(at: _Fields) -> None:
    at.take("sreg", 1, register).take("dreg", 2, register).take("length", 3, be32).take("number", 4, be32)
    at.take("offset", 6, be32)
    at.fields["key"] = named(("jhash", "symhash"), at.number(7))


def _socket(at: _Fields) -> None:
    _loads(SOCKET, 1, 2, 99)(at)


def _xt(at: _Fields) -> None:
    """An extension of iptables: name, revision, and its own C struct."""
    at.take("key", 1, kernel_text).take("number", 2, be32)
    at.take("value", 3, lambda raw: raw[:XT_INFO_LIMIT].hex())


def _nothing(at: _Fields) -> None:
    """An expression without attributes, or whose attributes decide nothing here."""


READERS: dict[str, Callable[[_Fields], None]] = {
    "meta": _loads(META, 2, 1, 3),
    "ct": _ct,
    "rt": _loads(RT, 2, 1, 99),
    "socket": _socket,
    "payload": _payload,
    "exthdr": _exthdr,
    "cmp": _cmp,
    "range": _range,
    "bitwise": _bitwise,
    "byteorder": _byteorder,
    "immediate": _immediate,
    "lookup": _lookup,
    "dynset": _dynset,
    "counter": _counter,
    "limit": _limit,
    "nat": _nat,
    "masq": _masq,
    "redir": _redir,
    "tproxy": _tproxy,
    "reject": _reject,
    "log": _log,
    "queue": _queue,
    "fib": _fib,
    "quota": _quota,
    "connlimit": _connlimit,
    "objref": _objref,
    "flow_offload": _flow,
    "numgen": _numgen,
    "hash": _hash,
    "match": _xt,
    "target": _xt,
    "notrack": _nothing,
    "last": _nothing,
    "synproxy": _nothing,
    "dup": _nothing,
    "fwd": _nothing,
}


@lru_cache(maxsize=8192)
def expression_of(payload: bytes) -> NftExpression:
    """One expression from NFTA_EXPR_NAME and NFTA_EXPR_DATA. The same octets come again and again in a ruleset."""
    found = attributes_of(payload)
    name = kernel_text(found.get(1, b"")) or "?"
    read = READERS.get(name)
    if read is None:
        return NftExpression(name=name, opaque=True)
    at = _Fields(attributes_of(found.get(2, b"")))
    try:
        read(at)
    except (DecodeError, IndexError):
        return NftExpression(name=name, opaque=True)
    return NftExpression(name=name, **at.fields)


def expressions_of(payload: bytes) -> tuple[NftExpression, ...]:
    """Every expression of a list (NFTA_LIST_ELEM)."""
    return tuple(expression_of(payload[start:end]) for kind, start, end in walk(payload) if kind == 1)
