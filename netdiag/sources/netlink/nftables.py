"""The nftables ruleset over nfnetlink: what is asked, and the sinks that decode the answers.

Formats: include/uapi/linux/netfilter/nf_tables.h; nf_tables_fill_*_info() in net/netfilter/nf_tables_api.c. Every dump
carries NLM_F_DUMP_INTR when the ruleset changed meanwhile. Needs CAP_NET_ADMIN. Asking a kernel without nf_tables would
load the module: whether it is there is the caller's care. Nothing is raised; what cannot be decoded is counted.
"""

from dataclasses import dataclass, field
from typing import Any

from netdiag.model.nft import NftChain, NftElement, NftFlowtable, NftObject, NftRule, NftSet
from netdiag.model.text import kernel_text
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.attributes import DecodeError, be32, walk
from netdiag.sources.netlink.messages import NFNL_SUBSYS_NFTABLES, DumpRequest, Reply, walk_messages
from netdiag.sources.netlink.nftexpressions import (
    FAMILIES,
    OBJECTS,
    attributes_of,
    be64,
    datum,
    expression_of,
    expressions_of,
    flag_names,
    named,
    s32,
)
from netdiag.sources.netlink.requests import attribute

SUBSYSTEM = NFNL_SUBSYS_NFTABLES << 8
GETGEN = SUBSYSTEM | 16
AF_BY_NAME = {name: number for number, name in FAMILIES.items()}
TABLE_FLAGS = ("dormant", "owner", "persist")
SET_FLAGS = ("anonymous", "constant", "interval", "map", "timeout", "dynamic", "object", "concat", "expr")
INET_HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
NETDEV_HOOKS = ("ingress", "egress")
ARP_HOOKS = ("input", "output", "forward")
MAP_OF_VERDICTS = 0xFFFFFF00
ELEMENTS_OF_SET = 16384
"""Elements kept of one set."""


def _request(name: str, kind: int, family: int = 0, body: bytes = b"") -> DumpRequest:
    return DumpRequest(name, nl.NETLINK_NETFILTER, SUBSYSTEM | kind, bytes([family, 0, 0, 0]) + body)


def tables() -> DumpRequest:
    """NFT_MSG_GETTABLE: every table."""
    return _request("NFT_MSG_GETTABLE", 1)


def chains() -> DumpRequest:
    """NFT_MSG_GETCHAIN: every chain of every table."""
    return _request("NFT_MSG_GETCHAIN", 4)


def rules() -> DumpRequest:
    """NFT_MSG_GETRULE: every rule of every chain, in order."""
    return _request("NFT_MSG_GETRULE", 7)


def sets() -> DumpRequest:
    """NFT_MSG_GETSET: every set and map, without elements."""
    return _request("NFT_MSG_GETSET", 10)


def elements(family: str, table: str, name: str) -> DumpRequest:
    """NFT_MSG_GETSETELEM: the elements of one set."""
    body = attribute(1, table.encode() + b"\0") + attribute(2, name.encode() + b"\0")
    return _request("NFT_MSG_GETSETELEM", 13, AF_BY_NAME[family], body)


def objects() -> DumpRequest:
    """NFT_MSG_GETOBJ: every named stateful object."""
    return _request("NFT_MSG_GETOBJ", 19)


def flowtables() -> DumpRequest:
    """NFT_MSG_GETFLOWTABLE: every flowtable."""
    return _request("NFT_MSG_GETFLOWTABLE", 23)


def generation_of(reply: Reply) -> int | None:
    """NFTA_GEN_ID of the answer to GETGEN."""
    for message in walk_messages(reply.octets):
        found = attributes_of(reply.octets[message.start + 4 : message.end])
        if len(found.get(1, b"")) == 4:
            return be32(found[1])
    return None


@dataclass
class Row:
    """One message of a dump: its family, and its attributes by number."""

    family: str
    found: dict[int, bytes]


class RowSink:
    """Sink that keeps every message of one type as attributes; for tables, chains, rules, sets, objects, flowtables."""

    def __init__(self, kind: int) -> None:
        self.message_type = SUBSYSTEM | kind
        self.rows: list[Row] = []

    def feed(self, buffer: memoryview) -> None:
        """Whole messages, as the transport has them."""
        octets = bytes(buffer)
        for message in walk_messages(octets):
            if message.type == self.message_type and message.end - message.start >= 4:
                family = FAMILIES.get(octets[message.start], str(octets[message.start]))
                self.rows.append(Row(family, attributes_of(octets[message.start + 4 : message.end])))

    def reset(self) -> None:
        """Forget everything."""
        self.rows.clear()


def text(found: dict[int, bytes], kind: int) -> str:
    """An attribute as text; empty where it is missing."""
    return kernel_text(found.get(kind, b""))


def number(found: dict[int, bytes], kind: int) -> int:
    """An attribute of 32 bits; 0 where it is missing. Raises DecodeError."""
    return be32(found[kind]) if kind in found else 0


def wide(found: dict[int, bytes], kind: int) -> int:
    """An attribute of 64 bits; 0 where it is missing. Raises DecodeError."""
    return be64(found[kind]) if kind in found else 0


def comment_of(userdata: bytes) -> str | None:
    """libnftnl's type, length, value triples; type 0 is the comment."""
    position = 0
    while position + 2 <= len(userdata):
        kind, length = userdata[position], userdata[position + 1]
        if kind == 0:
            return kernel_text(userdata[position + 2 : position + 2 + length]) or None
        position += 2 + length
    return None


def _devices(nested: bytes, one: bytes = b"") -> tuple[str, ...]:
    names = [kernel_text(nested[start:end]) for _, start, end in walk(nested)]
    return tuple(names) or ((kernel_text(one),) if one else ())


def hook_name(family: str, hooknum: int) -> str:
    """What nft calls a hook of a family."""
    return named({"netdev": NETDEV_HOOKS, "arp": ARP_HOOKS}.get(family, INET_HOOKS), hooknum)


def chain_of(row: Row, rules: tuple[NftRule, ...]) -> NftChain:
    """NFTA_CHAIN_*. Raises DecodeError."""
    found = row.found
    fields: dict[str, Any] = {"name": text(found, 3), "handle": wide(found, 2), "rules": rules}
    if 4 in found:
        hook = attributes_of(found[4])
        fields["hook"] = hook_name(row.family, number(hook, 1))
        fields["priority"] = s32(hook.get(2, bytes(4)))
        fields["devices"] = _devices(hook.get(4, b""), hook.get(3, b""))
        fields["type"] = text(found, 7)
        fields["policy"] = "drop" if 5 in found and be32(found[5]) == 0 else "accept"
    if 8 in found:
        counted = attributes_of(found[8])
        fields["octets"], fields["packets"] = wide(counted, 1), wide(counted, 2)
    return NftChain(**fields)


def rule_of(row: Row) -> NftRule:
    """NFTA_RULE_*. Raises DecodeError."""
    found = row.found
    expressions = expressions_of(found.get(4, b""))
    return NftRule(
        handle=wide(found, 3),
        expressions=expressions,
        comment=comment_of(found.get(7, b"")),
        compat=5 in found or any(one.name in ("match", "target") for one in expressions),
    )


def set_of(row: Row) -> NftSet:
    """NFTA_SET_*, without elements. Raises DecodeError."""
    found = row.found
    desc = attributes_of(found.get(9, b""))
    nested = desc.get(2, b"")
    fields = tuple(number(attributes_of(nested[start:end]), 1) for _, start, end in walk(nested))
    return NftSet(
        name=text(found, 2),
        handle=wide(found, 16),
        flags=flag_names(SET_FLAGS, number(found, 3)),
        key_type=number(found, 4),
        key_len=number(found, 5),
        fields=fields,
        data_type=number(found, 6) if 6 in found else None,
        data_len=number(found, 7),
        size=number(desc, 1) or None,
        timeout_ms=wide(found, 11) or None,
        comment=comment_of(found.get(13, b"")),
    )


def flowtable_of(row: Row) -> NftFlowtable:
    """NFTA_FLOWTABLE_*. Raises DecodeError."""
    hook = attributes_of(row.found.get(3, b""))
    return NftFlowtable(
        name=text(row.found, 2),
        handle=wide(row.found, 5),
        priority=s32(hook.get(2, bytes(4))),
        devices=_devices(hook.get(3, b"")),
        flags=flag_names(("offload", "counter"), number(row.found, 7)),
    )


def object_of(row: Row) -> NftObject:
    """NFTA_OBJ_*. Raises DecodeError."""
    kind = named(OBJECTS, number(row.found, 3))
    counted = attributes_of(row.found.get(4, b""))
    fields: dict[str, Any] = {}
    if kind == "counter":
        fields = {"octets": wide(counted, 1), "packets": wide(counted, 2)}
    elif kind == "quota":
        fields = {"octets": wide(counted, 4)}
    return NftObject(name=text(row.found, 2), handle=wide(row.found, 6), type=kind, **fields)


@dataclass
class _Raw:
    """An element as it came."""

    key: bytes
    fields: dict[str, Any] = field(default_factory=dict)
    end: bool = False


class ElementSink:
    """Sink for the elements of one set, up to ELEMENTS_OF_SET."""

    def __init__(self, one: NftSet) -> None:
        self.one = one
        self.raw: list[_Raw] = []
        self.left = 0
        self.malformed = 0

    def reset(self) -> None:
        """Forget everything."""
        self.raw.clear()
        self.left = self.malformed = 0

    def feed(self, buffer: memoryview) -> None:
        """Whole messages, as the transport has them."""
        octets = bytes(buffer)
        for message in walk_messages(octets):
            if message.type != SUBSYSTEM | 12 or message.end - message.start < 4:
                continue
            listed = attributes_of(octets[message.start + 4 : message.end]).get(3, b"")
            for _, start, end in walk(listed):
                if len(self.raw) >= ELEMENTS_OF_SET:
                    self.left += 1
                    continue
                try:
                    self.raw.append(self._element(attributes_of(listed[start:end])))
                except DecodeError:
                    self.malformed += 1

    def _element(self, found: dict[int, bytes]) -> _Raw:
        flags = number(found, 3)
        fields: dict[str, Any] = {}
        key = attributes_of(found[1]).get(1, b"") if 1 in found else b""
        if 10 in found:
            fields["key_end"] = attributes_of(found[10]).get(1, b"").hex()
        if 2 in found:
            fields |= datum(found[2])
        if 9 in found:
            fields["object"] = text(found, 9)
        if 4 in found:
            fields["timeout_ms"] = be64(found[4])
        if 5 in found:
            fields["expires_ms"] = be64(found[5])
        inner = [expression_of(found[7])] if 7 in found else expressions_of(found[11]) if 11 in found else []
        for one in inner:
            if one.name == "counter":
                fields["packets"], fields["octets"] = one.packets, one.octets
        if 6 in found and (said := comment_of(found[6])):
            fields["comment"] = said
        return _Raw(b"" if flags & 2 else key, fields, bool(flags & 1))

    def finish(self) -> NftSet:
        """The set with its elements."""
        if "interval" in self.one.flags and "concat" not in self.one.flags:
            found = self._intervals()
        else:
            found = sorted((NftElement(key=raw.key.hex(), **raw.fields) for raw in self.raw), key=lambda one: one.key)
        fields = {name: getattr(self.one, name) for name in NftSet.__struct_fields__}
        return NftSet(**fields | {"elements": tuple(found), "complete": not self.left})

    def _intervals(self) -> list[NftElement]:
        """Pair the beginnings of intervals with the ends, which come as elements of their own and are not included."""
        length = self.one.key_len
        top = (1 << 8 * length) - 1
        found: list[NftElement] = [NftElement(**raw.fields) for raw in self.raw if not raw.key and not raw.end]
        begun: _Raw | None = None

        def close(last: int) -> None:
            if begun is None:
                return
            first = int.from_bytes(begun.key, "big")
            fields = dict(begun.fields)
            fields.setdefault("key_end", last.to_bytes(length, "big").hex())
            if fields["key_end"] == begun.key.hex():
                del fields["key_end"]
            if first <= last:
                found.append(NftElement(key=begun.key.hex(), **fields))

        for raw in sorted((raw for raw in self.raw if raw.key), key=lambda raw: (raw.key, not raw.end)):
            close(int.from_bytes(raw.key, "big") - 1)
            begun = None if raw.end else raw
        close(top)
        return found
