"""Tables of iptables-legacy, by getsockopt(2): the kernel's own blob of rules, read and taken apart.

``fetch("ip filter")`` asks IPT_SO_GET_INFO and IPT_SO_GET_ENTRIES (include/uapi/linux/netfilter_ipv4/ip_tables.h,
netfilter_ipv6/ip6_tables.h, netfilter/x_tables.h); needs CAP_NET_ADMIN. A name that is no table yet would load its
module: only names from /proc/net/ip_tables_names may be asked for. ``parse`` turns the blob into the expressions that
nftables has for the same, extensions as ``match`` and ``target``; ValueError where it does not hold together.
"""

import ctypes
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct, unpack_from
from struct import error as StructError

from netdiag.model.nft import NftChain, NftExpression, NftRule, NftTable
from netdiag.model.text import kernel_text

GET_INFO, GET_ENTRIES = 64, 65
INFO = Struct("=32sI5I5III")
"""struct ipt_getinfo: name, valid_hooks, hook_entry[5], underflow[5], num_entries, size."""
LEVELS = {"ip": (socket.AF_INET, 0), "ip6": (socket.AF_INET6, 41)}
"""SOL_IP, SOL_IPV6."""
SIZE_LIMIT = 64 << 20
HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
INV_IIF, INV_OIF, INV_SRC, INV_DST, INV_FRAG, INV_PROTO = 0x01, 0x02, 0x08, 0x10, 0x20, 0x40
INFO_LIMIT = 512


@dataclass(frozen=True)
class Shape:
    """Where things stand in an entry of a family."""

    width: int
    """Bytes of an address."""
    proto: int
    flags: int
    invert: int
    target: int
    """Offset of target_offset; next_offset follows."""
    counters: int
    elements: int
    """Where matches begin."""
    src: int
    """Offset of the source in an IP header."""


SHAPES = {
    "ip": Shape(4, 80, 82, 83, 88, 96, 112, 12),
    "ip6": Shape(16, 128, 131, 132, 140, 152, 168, 8),
}


def fetch(key: str, deadline: float | None) -> bytes:
    """struct ipt_getinfo and the entries of ``FAMILY TABLE``. Raises OSError."""
    family, _, table = key.partition(" ")
    domain, level = LEVELS[family]
    libc = ctypes.CDLL(None, use_errno=True)
    with socket.socket(domain, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as raw:

        def ask(option: int, octets: bytes, room: int) -> bytes:
            buffer = ctypes.create_string_buffer(octets, room)
            length = ctypes.c_uint(room)
            if libc.getsockopt(raw.fileno(), level, option, buffer, ctypes.byref(length)) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            return buffer.raw[: length.value]

        name = table.encode()[:31].ljust(32, b"\0")
        info = ask(GET_INFO, name, INFO.size)
        size = INFO.unpack(info)[-1]
        if size > SIZE_LIMIT:
            raise OSError(7, os.strerror(7))
        entries = ask(GET_ENTRIES, name + size.to_bytes(4, "little") + bytes(4), 40 + size)
    return info + entries[40:]


@dataclass(frozen=True)
class _Entry:
    offset: int
    after: int
    target: str
    revision: int
    data: bytes
    rule: tuple[NftExpression, ...]
    packets: int
    octets: int
    goto: bool


def parse(family: str, octets: bytes) -> NftTable:
    """The table of one blob. Raises ValueError."""
    try:
        return _parse(family, octets)
    except (StructError, IndexError, KeyError) as error:
        raise ValueError(f"a table of iptables-legacy that does not hold together: {error}") from error


def _parse(family: str, octets: bytes) -> NftTable:
    head = INFO.unpack_from(octets)
    name, valid, entries, ends = kernel_text(head[0]), head[1], head[2:7], head[7:12]
    blob = octets[INFO.size :]
    rows = list(_entries(SHAPES[family], blob))
    hooks = {entries[hook]: hook for hook in range(5) if valid >> hook & 1}
    policies = {ends[hook] for hook in range(5) if valid >> hook & 1}
    names = {row.after: kernel_text(row.data[:30]) for row in rows if row.target == "ERROR"}
    chains: list[NftChain] = []
    rules: list[NftRule] = []
    begun: tuple[str, int | None] | None = None

    def close(policy: _Entry | None = None) -> None:
        if begun is None:
            return
        title, hook = begun
        if hook is None:
            body = rules[:-1]  # what was added last is the return at the end of a chain
            chains.append(NftChain(name=title, handle=0, rules=tuple(body)))
            return
        verdict = _standard(policy.data)[0] if policy else "accept"
        late = 100 if hook in (1, 4) else -100
        chains.append(
            NftChain(
                name=title,
                handle=0,
                type="nat" if name == "nat" else "filter",
                hook=HOOKS[hook],
                priority=late if name == "nat" else PRIORITIES.get(name, 0),
                policy="drop" if verdict == "drop" else "accept",
                packets=policy.packets if policy else None,
                octets=policy.octets if policy else None,
                rules=tuple(rules),
            )
        )

    for row in rows:
        if row.target == "ERROR":
            close() if begun is not None and begun[1] is None else None
            rules, begun = [], (names[row.after], None)
            continue
        if row.offset in hooks:
            rules, begun = [], (HOOKS[hooks[row.offset]].upper(), hooks[row.offset])
        if row.offset in policies:
            close(row)
            rules, begun = [], None
            continue
        rules.append(NftRule(handle=len(rules) + 1, expressions=_finished(row, names), compat=True))
    return NftTable(family=family, name=name, handle=0, flags=("legacy",), chains=tuple(chains))


def _entries(shape: Shape, blob: bytes) -> Iterator[_Entry]:
    offset = 0
    while offset + shape.elements <= len(blob):
        target, after = unpack_from("=HH", blob, offset + shape.target)
        if not shape.elements <= target < after or offset + after > len(blob):
            raise ValueError("a table of iptables-legacy with an entry of impossible size")
        packets, octets = unpack_from("=QQ", blob, offset + shape.counters)
        size, raw, revision = unpack_from("=H29sB", blob, offset + target)
        data = blob[offset + target + 32 : offset + target + size]
        goto = bool(blob[offset + shape.flags] & 2)
        rule = tuple(_conditions(shape, blob[offset : offset + target]))
        yield _Entry(offset, offset + after, kernel_text(raw), revision, data, rule, packets, octets, goto)
        offset += after


def _compare(loaded: NftExpression, value: bytes, *, invert: bool) -> Iterator[NftExpression]:
    yield loaded
    yield NftExpression(name="cmp", op="neq" if invert else "eq", sreg=0, value=value.hex())


def _conditions(shape: Shape, entry: bytes) -> Iterator[NftExpression]:
    invert, width = entry[shape.invert], shape.width
    for number, bit in ((0, INV_SRC), (1, INV_DST)):
        value = entry[number * width : (number + 1) * width]
        mask = entry[(number + 2) * width : (number + 3) * width]
        if any(mask):
            offset = shape.src + number * width
            yield NftExpression(name="payload", key="network", dreg=0, offset=offset, length=width)
            if mask != b"\xff" * width:
                zero = bytes(width).hex()
                yield NftExpression(name="bitwise", op="mask", sreg=0, dreg=0, length=width, mask=mask.hex(), xor=zero)
            yield NftExpression(name="cmp", op="neq" if invert & bit else "eq", sreg=0, value=value.hex())
    for number, (key, bit) in enumerate((("iifname", INV_IIF), ("oifname", INV_OIF))):
        start = 4 * width + number * 16
        mask = entry[start + 32 : start + 48]
        name = entry[start : start + mask.count(0xFF)]
        if name:
            value = name if b"\0" not in name else name.ljust(16, b"\0")
            yield from _compare(NftExpression(name="meta", key=key, dreg=0), value, invert=bool(invert & bit))
    (proto,) = unpack_from("=H", entry, shape.proto)
    if proto:
        loaded = NftExpression(name="meta", key="l4proto", dreg=0)
        yield from _compare(loaded, bytes([proto & 0xFF]), invert=bool(invert & INV_PROTO))
    if entry[shape.flags] & 1 and width == 4:
        yield NftExpression(name="match", key="fragment")
    offset = shape.elements
    while offset + 32 <= len(entry):
        size, raw, revision = unpack_from("=H29sB", entry, offset)
        if size < 32:
            raise ValueError("a match of iptables-legacy without a size")
        info = entry[offset + 32 : offset + size][:INFO_LIMIT]
        yield NftExpression(name="match", key=kernel_text(raw), number=revision, value=info.hex())
        offset += size


def _standard(data: bytes) -> tuple[str, int]:
    """The verdict of a standard target, and for a jump its offset."""
    (verdict,) = unpack_from("=i", data)
    words = {-1: "drop", -2: "accept", -4: "queue", -5: "return"}
    return words.get(verdict, "jump"), verdict


def _finished(row: _Entry, names: dict[int, str]) -> tuple[NftExpression, ...]:
    counter = NftExpression(name="counter", packets=row.packets, octets=row.octets)
    if row.target:
        last = NftExpression(name="target", key=row.target, number=row.revision, value=row.data[:INFO_LIMIT].hex())
        return *row.rule, counter, last
    verdict, where = _standard(row.data)
    if verdict != "jump":
        return *row.rule, counter, NftExpression(name="immediate", verdict=verdict)
    if where == row.after:
        return *row.rule, counter  # a rule without a target: it only counts
    return (
        *row.rule,
        counter,
        NftExpression(name="immediate", verdict="goto" if row.goto else "jump", chain=names[where]),
    )
