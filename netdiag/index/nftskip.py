"""Which rules of a long chain one look at the packet rules out, so that they need not be asked one by one.

Rules begin with comparisons that change nothing (``ip daddr 192.0.2.1``, ``tcp dport 80``, ``iifname "tap7"``); the
kernel breaks a rule off at the first that does not hold (nft_do_chain() of net/netfilter/nf_tables_core.c). Of the
field that tells most rules of a chain apart, those with another value than the packet's are left out. Pure.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from netdiag.index.nftmatch import Registers, bitwise, load
from netdiag.index.nftpacket import Bytes, Packet
from netdiag.model.nft import NftChain, NftExpression, NftRule

FEWEST = 16
"""Rules of a chain that are just asked in turn."""


class Field(NamedTuple):
    """What is loaded and compared, and how many octets of it."""

    load: NftExpression
    mask: NftExpression | None
    octets: int

    def of(self, packet: Packet) -> Bytes:
        """Its octets in a packet, each known or not."""
        registers = Registers()
        load(self.load, packet, registers)
        if self.mask is not None:
            bitwise(self.mask, registers)
        return registers.read((self.mask or self.load).dreg, self.octets)


def compared(rule: NftRule) -> Iterator[tuple[Field, bytes]]:
    """Fields that must have a value, as far as nothing else comes before."""
    steps = list(rule.expressions)
    while len(steps) > 1 and steps[0].name in ("meta", "payload") and steps[0].dreg is not None:
        first, second = steps[0], steps[1]
        masked = second.name == "bitwise" and second.op == "mask" and second.sreg == first.dreg and len(steps) > 2
        last, mask = (steps[2], second) if masked else (second, None)
        if last.name != "cmp" or last.op not in ("eq", None) or last.sreg != (mask or first).dreg or last.opaque:
            return
        value = bytes.fromhex(last.value or "")
        yield Field(first, mask, len(value)), value
        steps = steps[3 if masked else 2 :]


class Shortcut:
    """The rules of a chain by the value of the field that tells most of them apart."""

    def __init__(self, chain: NftChain) -> None:
        self._all = range(len(chain.rules))
        found = [dict(reversed(list(compared(rule)))) for rule in chain.rules]
        values: dict[Field, Counter[bytes]] = defaultdict(Counter)
        for fields in found:
            for field, value in fields.items():
                values[field][value] += 1
        spared = {field: counts.total() - max(counts.values()) for field, counts in values.items()}
        self._field = max(spared, key=lambda field: spared[field], default=None)
        self._rest: list[int] = []
        self._having: dict[bytes, list[int]] = defaultdict(list)
        for number, fields in enumerate(found):
            wanted = None if self._field is None else fields.get(self._field)
            (self._rest if wanted is None else self._having[wanted]).append(number)

    def positions(self, packet: Packet) -> Sequence[int]:
        """Positions of the rules that are left, ascending."""
        octets = [None] if self._field is None else self._field.of(packet)
        if None in octets:
            return self._all
        having = self._having.get(bytes(octet or 0 for octet in octets), [])
        return sorted([*self._rest, *having]) if having else self._rest
