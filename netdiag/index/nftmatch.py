"""Do the expressions of one nftables rule match a packet: yes, no, or perhaps.

The registers of the kernel's machine (net/netfilter/nf_tables_core.c), octet by octet, each octet known or not. What is
not known makes a comparison "perhaps", never wrong: an expression that is not understood may match.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from enum import Enum

from netdiag.index.nftpacket import (
    ADDRTYPES,
    Bytes,
    Packet,
    ct_octets,
    meta_octets,
    network_header,
    transport_header,
)
from netdiag.model.nft import NftElement, NftExpression, NftSet

REGISTER_OCTETS = 64


class Truth(Enum):
    """Three-valued."""

    YES = "yes"
    NO = "no"
    MAYBE = "maybe"


def of(value: bool) -> Truth:
    """A certain answer."""
    return Truth.YES if value else Truth.NO


def inverted(value: Truth) -> Truth:
    """Not."""
    return {Truth.YES: Truth.NO, Truth.NO: Truth.YES, Truth.MAYBE: Truth.MAYBE}[value]


class Registers:
    """Sixteen registers of four octets."""

    def __init__(self) -> None:
        self.octets: Bytes = [None] * REGISTER_OCTETS

    def load(self, slot: int, value: Bytes) -> None:
        """Write octets, padded with zeros to whole registers as the kernel does."""
        padded = value + [0] * (-len(value) % 4)
        start = slot * 4
        self.octets[start : start + len(padded)] = padded[: REGISTER_OCTETS - start]

    def forget(self, slot: int, length: int) -> None:
        """Octets that nobody knows."""
        self.load(slot, [None] * max(length, 4))

    def read(self, slot: int | None, length: int) -> Bytes:
        """Octets from a register on."""
        start = (slot or 0) * 4
        return self.octets[start : start + length]


def compare(octets: Bytes, op: str, value: bytes) -> Truth:
    """One comparison, as memcmp sees it."""
    differs = any(known is not None and known != other for known, other in zip(octets, value, strict=False))
    if op in ("eq", "neq"):
        equal = Truth.NO if differs else Truth.MAYBE if None in octets else Truth.YES
        return equal if op == "eq" else inverted(equal)
    known = 0
    while known < len(octets) and octets[known] is not None and octets[known] == value[known : known + 1][0]:
        known += 1
    if known == len(octets):
        return of(op in ("lte", "gte"))
    first = octets[known]
    if first is None:
        return Truth.MAYBE
    return of(first < value[known] if op in ("lt", "lte") else first > value[known])


def between(octets: Bytes, low: bytes, high: bytes) -> Truth:
    """Whether low <= octets <= high."""
    above, below = compare(octets, "gte", low), compare(octets, "lte", high)
    if Truth.NO in (above, below):
        return Truth.NO
    return Truth.YES if above is below is Truth.YES else Truth.MAYBE


@dataclass
class SetIndex:
    """One set made quick to ask."""

    one: NftSet
    exact: dict[str, NftElement] = field(default_factory=dict)
    starts: list[str] = field(default_factory=list)
    ordered: list[NftElement] = field(default_factory=list)
    rest: NftElement | None = None

    def __post_init__(self) -> None:
        for element in self.one.elements:
            if not element.key:
                self.rest = element
            elif element.key_end is None:
                self.exact[element.key] = element
        if "concat" not in self.one.flags:
            self.ordered = sorted((one for one in self.one.elements if one.key), key=lambda one: one.key)
            self.starts = [element.key for element in self.ordered]

    def find(self, key: Bytes) -> tuple[Truth, list[NftElement]]:
        """Which elements hold the key: with YES one, with MAYBE those that could."""
        if None not in key:
            text = bytes(octet or 0 for octet in key).hex()
            found = self.exact.get(text)
            if found is None and self.starts:
                at = self.ordered[max(bisect_right(self.starts, text) - 1, 0)]
                found = at if at.key <= text <= (at.key_end or at.key) else None
            if found is None and "concat" in self.one.flags:
                found = next((e for e in self.one.elements if e.key and self._holds(e, key) is Truth.YES), None)
            if found is not None:
                return Truth.YES, [found]
            could: list[NftElement] = []
        else:
            could = [e for e in self.one.elements if e.key and self._holds(e, key) is not Truth.NO]
            sure = [e for e in could if self._holds(e, key) is Truth.YES]
            if sure:
                return Truth.YES, sure[:1]
        if self.rest is not None and not could:
            return (Truth.YES if self.one.complete else Truth.MAYBE), [self.rest]
        if self.rest is not None:
            could.append(self.rest)
        return (Truth.MAYBE if could or not self.one.complete else Truth.NO), could

    def _holds(self, element: NftElement, key: Bytes) -> Truth:
        low = bytes.fromhex(element.key)
        high = bytes.fromhex(element.key_end or element.key)
        answer, position = Truth.YES, 0
        for length in self.one.fields or (len(low),):
            part = slice(position, position + length)
            one = between(key[part], low[part], high[part])
            if one is Truth.NO:
                return Truth.NO
            if one is Truth.MAYBE:
                answer = Truth.MAYBE
            position += (length + 3) & ~3
        return answer


def load(one: NftExpression, packet: Packet, registers: Registers) -> Truth:
    """An expression that fills registers; NO where the kernel would break off the rule."""
    slot = one.dreg or 0
    value: Bytes | None = None
    if one.name == "meta":
        value = meta_octets(one.key or "", packet)
    elif one.name == "ct":
        value = ct_octets(one.key or "", packet)
        if packet.ct_state == "untracked" and one.key != "state":
            return Truth.NO  # nft_ct_get_eval(): no connection, nothing to load
    elif one.name == "payload":
        value = _header(one, packet)
    elif one.name == "fib":
        value = _fib(one, packet)
    elif one.name == "immediate":
        value = list(bytes.fromhex(one.value or ""))
    if value is None:
        registers.forget(slot, one.length or (16 if (one.key or "").endswith("name") else 4))
        return Truth.MAYBE if one.name in ("exthdr", "socket", "osf", "xfrm", "tunnel") else Truth.YES
    registers.load(slot, value)
    return Truth.YES


def _header(one: NftExpression, packet: Packet) -> Bytes:
    offset, length = one.offset or 0, one.length or 0
    header: Bytes = []
    if one.key == "network":
        header = network_header(packet)
    elif one.key == "transport":
        header = transport_header(packet)
    padded = header + [None] * (offset + length)
    return padded[offset : offset + length]


def _fib(one: NftExpression, packet: Packet) -> Bytes | None:
    if packet.fib is not None:
        answer = packet.fib(one.flags, one.key or "", packet)
        return None if answer is None else list(answer)
    if one.key == "type" and not {"iif", "oif"} & set(one.flags):
        known = packet.daddr_type if "daddr" in one.flags else packet.saddr_type
        return None if known is None else list(ADDRTYPES.get(known, 0).to_bytes(4, "little"))
    return [None] if "present" in one.flags else None


def bitwise(one: NftExpression, registers: Registers) -> None:
    """Mask and xor; a shift of something known."""
    length = one.length or 4
    value = registers.read(one.sreg, length)
    slot = one.dreg or 0
    if one.op == "mask":
        mask, xor = bytes.fromhex(one.mask or ""), bytes.fromhex(one.xor or "")
        registers.load(slot, [_masked(o, m, x) for o, m, x in zip(value, mask, xor, strict=False)])
    elif one.op in ("lshift", "rshift") and None not in value and length == 4:
        number = int.from_bytes(bytes(o or 0 for o in value), "little")
        shift = int.from_bytes(bytes.fromhex(one.value or "00"), "little")
        shift = min(shift, 32)  # a register has 32 bits; a longer shift would only fill memory
        number = number << shift if one.op == "lshift" else number >> shift
        registers.load(slot, list((number & 0xFFFFFFFF).to_bytes(4, "little")))
    else:
        registers.forget(slot, length)


def _masked(octet: int | None, mask: int, xor: int) -> int | None:
    if octet is None:
        return xor if mask == 0 else None
    return (octet & mask) ^ xor


def byteorder(one: NftExpression, registers: Registers) -> None:
    """Turn each element of ``number`` octets round."""
    size, length = one.number or 4, one.length or 4
    value = registers.read(one.sreg, length)
    turned: Bytes = []
    for start in range(0, length, size):
        turned += value[start : start + size][::-1]
    registers.load(one.dreg or 0, turned)
