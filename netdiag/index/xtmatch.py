"""Extensions of iptables inside nftables rules (``xt match``, ``xt target``), as iptables-nft leaves them.

C structs from include/uapi/linux/netfilter/xt_*.h and nf_nat.h, in the byte order of the host. What is not decoded may
match. Pure; nothing can fail: a struct that is too short counts as not decoded.
"""

import ipaddress
from dataclasses import dataclass
from struct import error as StructError
from struct import unpack_from
from typing import NamedTuple

from netdiag.index.nftmatch import Truth, inverted, of
from netdiag.index.nftpacket import ADDRTYPES, CT_BITS, Packet
from netdiag.model.nft import NftExpression

CONTINUE = frozenset(
    {
        *("LOG", "NFLOG", "TRACE", "AUDIT", "LED", "IDLETIMER", "RATEEST", "TEE", "SET"),
        *("TCPMSS", "TCPOPTSTRIP", "CHECKSUM", "CLASSIFY", "SECMARK", "CONNSECMARK", "TTL", "HL", "DSCP", "TOS", "ECN"),
    }
)
"""Targets after which the next rule comes, and that change nothing that rules here ask for."""
XT_STATES = {**CT_BITS, "untracked": 256}
DNAT_BIT = 128
EVERY_PORT = (0, 0xFFFF)
LOOSE, VALID_MARK, INVERT = 1, 2, 8
"""Flags of struct xt_rpfilter_info (linux/netfilter/xt_rpfilter.h)."""
OLD_RANGE = 24
"""Bytes of struct nf_nat_ipv4_multi_range_compat, padded: it is known by them where no revision is told."""


@dataclass(frozen=True)
class Target:
    """What a target does."""

    verdict: str | None
    """``accept``, ``reject``, ``queue``; None: goes on; ``unknown``."""
    nat: str | None = None
    """``snat``, ``dnat``, ``masquerade``, ``redirect``."""
    addr: str | None = None
    port: int | None = None
    mark: tuple[int, int] | None = None
    """Value and mask."""
    notrack: bool = False
    connmark: tuple[int, int, int, int] | None = None
    """Mode, value, mask of the connection's mark, mask of the packet's."""


CONNMARK_SET, CONNMARK_SAVE, CONNMARK_RESTORE, CONNMARK_LOST = range(4)
"""The kernel's three, and what cannot be followed."""


def match(one: NftExpression, packet: Packet) -> Truth:
    """Whether an extension matches."""
    info = bytes.fromhex(one.value or "")
    try:
        if one.key == "comment":
            return Truth.YES
        if one.key in ("tcp", "udp"):
            return _ports(info, packet, 6 if one.key == "tcp" else 17)
        if one.key in ("icmp", "icmp6"):
            return _icmp(info, packet, 1 if one.key == "icmp" else 58)
        if one.key == "multiport":
            return _multiport(info, packet)
        if one.key == "conntrack":
            return _conntrack(info, packet)
        if one.key == "state":
            return _state(unpack_from("=I", info)[0], packet, CT_BITS)
        if one.key == "addrtype":
            return _addrtype(info, packet)
        if one.key == "rpfilter":
            return _rpfilter(info[0], packet)
        if one.key in ("mark", "connmark"):
            mark, mask, invert = unpack_from("=IIB", info)
            held = packet.mark if one.key == "mark" else packet.ct_mark
            answer = Truth.MAYBE if held is None else of(held & mask == mark)
            return inverted(answer) if invert else answer
    except (StructError, IndexError):
        pass
    return Truth.MAYBE


def _rpfilter(flags: int, packet: Packet) -> Truth:
    """struct xt_rpfilter_info: it matches where the way back to the source is found, as ``Packet.fib`` tells."""
    asked = ("saddr", *(() if flags & LOOSE else ("iif",)), *(("mark",) if flags & VALID_MARK else ()))
    found = packet.fib(asked, "oif", packet) if packet.fib is not None else None
    answer = Truth.MAYBE if found is None else of(any(found))
    return inverted(answer) if flags & INVERT else answer


def _span(value: int | None, low: int, high: int, invert: bool) -> Truth:
    if (low, high) == EVERY_PORT:
        return of(not invert)
    answer = Truth.MAYBE if value is None else of(low <= value <= high)
    return inverted(answer) if invert else answer


class Asked(NamedTuple):
    """What an extension asks of one port."""

    field: str
    """``sport`` or ``dport``."""
    spans: tuple[tuple[int, int], ...]
    invert: bool


def ports(one: NftExpression) -> tuple[list[Asked], bool]:
    """What tcp, udp and multiport ask of the ports, and whether that is all they ask."""
    info = bytes.fromhex(one.value or "")
    try:
        if one.key == "multiport":
            which, spans, invert = _spans(info)
            return ([Asked("sport" if which == 0 else "dport", spans, invert)], True) if which < 2 else ([], False)
        if one.key not in ("tcp", "udp"):
            return [], False
        first, last, low, high = unpack_from("=HHHH", info)
        option, mask, _, invert = unpack_from("=BBBB", info, 8) if one.key == "tcp" else (0, 0, 0, info[8])
    except (StructError, IndexError):
        return [], False
    rows = [Asked("sport", ((first, last),), bool(invert & 1)), Asked("dport", ((low, high),), bool(invert & 2))]
    return [row for row in rows if row.invert or row.spans != (EVERY_PORT,)], not option and not mask


def _all(*answers: Truth) -> Truth:
    if Truth.NO in answers:
        return Truth.NO
    return Truth.MAYBE if Truth.MAYBE in answers else Truth.YES


def _ports(info: bytes, packet: Packet, proto: int) -> Truth:
    """struct xt_tcp, xt_udp: both begin with the two ranges of ports."""
    first, last, low, high = unpack_from("=HHHH", info)
    flags = Truth.YES
    if proto == 6:
        option, mask, wanted, invert = unpack_from("=BBBB", info, 8)
        if mask:
            known = packet.tcp_flags
            flags = Truth.MAYBE if known is None else of(known & mask == wanted)
            flags = inverted(flags) if invert & 4 else flags
        if option:
            flags = _all(flags, Truth.MAYBE)
    else:
        (invert,) = unpack_from("=B", info, 8)
    same = Truth.MAYBE if packet.proto is None else of(packet.proto == proto)
    return _all(
        same,
        flags,
        _span(packet.sport, first, last, bool(invert & 1)),
        _span(packet.dport, low, high, bool(invert & 2)),
    )


def _icmp(info: bytes, packet: Packet, proto: int) -> Truth:
    """struct ipt_icmp and ip6t_icmp: a type, the first and last code, and a bit for "not"; type 255 of IPv4 is any."""
    kind, first, last, invert = unpack_from("=BBBB", info)
    same = Truth.MAYBE if packet.proto is None else of(packet.proto == proto)
    if proto == 1 and kind == 255:
        return _all(same, of(not invert & 1))
    answer = Truth.MAYBE if packet.icmp_type is None else of(packet.icmp_type == kind)
    answer = _all(answer, _span(packet.icmp_code, first, last, False) if (first, last) != (0, 255) else Truth.YES)
    return _all(same, inverted(answer) if invert & 1 else answer)


def _spans(info: bytes) -> tuple[int, tuple[tuple[int, int], ...], bool]:
    """struct xt_multiport_v1: 0 source, 1 destination, 2 either; the ports; whether it is none of them."""
    which, count = unpack_from("=BB", info)
    listed = unpack_from("=15H", info, 2)
    continued = unpack_from("=15B", info, 32)
    (invert,) = unpack_from("=B", info, 47)
    spans, position = [], 0
    while position < count:
        low = listed[position]
        position += 1 if not continued[position] else 2
        spans.append((low, listed[position - 1]))
    return which, tuple(spans), bool(invert)


def _multiport(info: bytes, packet: Packet) -> Truth:
    which, spans, invert = _spans(info)
    looked = {0: (packet.sport,), 1: (packet.dport,)}.get(which, (packet.sport, packet.dport))
    if any(value is not None and any(low <= value <= high for low, high in spans) for value in looked):
        answer = Truth.YES
    else:
        answer = Truth.MAYBE if None in looked else Truth.NO
    return inverted(answer) if invert else answer


def _state(mask: int, packet: Packet, bits: dict[str, int]) -> Truth:
    return Truth.MAYBE if packet.ct_state is None else of(bool(mask & bits[packet.ct_state]))


def _conntrack(info: bytes, packet: Packet) -> Truth:
    """struct xt_conntrack_mtinfo3 (and 2): only the state is decoded."""
    asked, invert, mask = unpack_from("=HHH", info, 146)
    if asked != 1:
        return Truth.MAYBE
    answer = _state(mask, packet, XT_STATES)
    if mask & DNAT_BIT and answer is Truth.NO:
        answer = Truth.MAYBE if packet.dnatted is None else of(packet.dnatted)
    if mask & 64 and answer is Truth.NO:
        answer = Truth.MAYBE  # SNAT
    return inverted(answer) if invert & 1 else answer


def _addrtype(info: bytes, packet: Packet) -> Truth:
    """struct xt_addrtype_info_v1: masks of 1 << RTN_*."""
    source, dest, flags = unpack_from("=HHI", info)

    def one(mask: int, known: str | None, invert: bool) -> Truth:
        if not mask:
            return Truth.YES
        answer = Truth.MAYBE if known is None else of(bool(mask & (1 << ADDRTYPES.get(known, 0))))
        return inverted(answer) if invert else answer

    answer = _all(one(source, packet.saddr_type, bool(flags & 1)), one(dest, packet.daddr_type, bool(flags & 2)))
    return _all(answer, Truth.MAYBE) if flags & 12 else answer


def target(one: NftExpression, family: str) -> Target:
    """What a target does with the packet."""
    info = bytes.fromhex(one.value or "")
    name = one.key or ""
    if name in CONTINUE:
        return Target(None)
    try:
        if name == "REJECT":
            return Target("reject")
        if name == "MASQUERADE":
            return Target("accept", nat="masquerade")
        if name in ("SNAT", "DNAT", "REDIRECT", "NETMAP"):
            return _translation(one, name, info, family)
        if name == "MARK":
            mark, mask = unpack_from("=II", info)
            return Target(None, mark=(mark, mask))
        if name == "CONNMARK":
            return Target(None, connmark=_connmark(one, info))
        if name in ("CT", "NOTRACK"):
            return Target(None, notrack=name == "NOTRACK" or bool(unpack_from("=H", info)[0] & 1))
    except StructError:
        pass
    return Target({"NFQUEUE": "queue", "TPROXY": "accept", "DROP": "drop", "ACCEPT": "accept"}.get(name, "unknown"))


def _connmark(one: NftExpression, info: bytes) -> tuple[int, int, int, int]:
    """struct xt_connmark_tginfo1; the second revision has a shift ahead of the mode."""
    ctmark, ctmask, nfmask = unpack_from("=III", info)
    mode, shift = (unpack_from("=B", info, 12)[0], 0) if one.number == 1 else unpack_from("=xBB", info, 12)[::-1]
    known = one.number in (1, 2) and not shift and mode <= CONNMARK_RESTORE
    return mode if known else CONNMARK_LOST, ctmark, ctmask, nfmask


def _translation(one: NftExpression, name: str, info: bytes, family: str) -> Target:
    """struct nf_nat_range2, nf_nat_range (32-bit flags, two addresses, two ports) or the older one of IPv4."""
    nat = {"SNAT": "snat", "DNAT": "dnat", "REDIRECT": "redirect"}.get(name)
    if nat is None:
        return Target("accept", nat="snat")
    if family == "inet" and (one.number == 0 or (one.number is None and len(info) <= OLD_RANGE)):
        flags, low, high, first, last = unpack_from("!I4s4sHH", info, 4)
        flags = unpack_from("=I", info, 4)[0]
    else:
        flags = unpack_from("=I", info)[0]
        low, high, first, last = unpack_from("!16s16sHH", info, 4)
    length = 4 if family == "inet" else 16
    addr = str(ipaddress.ip_address(low[:length])) if flags & 1 and low == high else None
    return Target("accept", nat=nat, addr=addr, port=first if flags & 2 and first == last else None)
