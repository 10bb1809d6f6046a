"""A packet that a rule of nftables is meant for: what its own comparisons say, everything else left open.

``port 22 from eth0`` becomes a packet with that port and interface. What a rule excludes (``!=``, a negated set) and
what it asks of things that a packet here does not have stays open. Pure; nothing can fail.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from netdiag.index import xtmatch
from netdiag.index.nftloads import Context, Load, meta, other, payload
from netdiag.index.nftpacket import CT_BITS, Packet
from netdiag.index.nftwords import L4
from netdiag.model.nft import NftChain, NftElement, NftExpression, NftRule, NftTable

FAMILY_OF = {2: "inet", 10: "inet6"}
FIELDS = {
    "iifname": "iif",
    "oifname": "oif",
    "meta mark": "mark",
    "meta l4proto": "proto",
    "ip protocol": "proto",
    "ip6 nexthdr": "proto",
    "ct state": "ct_state",
    "icmp type": "icmp_type",
    "icmpv6 type": "icmp_type",
    "tcp flags": "tcp_flags",
}
"""What a load is called, and which field of a packet it is; addresses and ports apart."""


@dataclass
class Meant:
    """What a rule asks of a packet."""

    family: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    wild: dict[str, str] = field(default_factory=dict)
    """By ``iif`` or ``oif``: what a name has to begin with, of which the field has an example."""
    loads: dict[int, Load] = field(default_factory=dict)

    def packets(self, families: tuple[str, ...] = ("inet", "inet6"), **known: Any) -> Iterator[Packet]:
        """One packet for each family that it can be of."""
        base = Packet(iif=None, oif=None, mark=None, ct_mark=None, dnatted=None, ct_state="new")
        for family in families:
            if self.family in (None, family):
                yield replace(base, **({"family": family} | known | self.fields))


@dataclass(frozen=True)
class Step:
    """A rule, of which one element of a set is taken: what a packet met on its way into a chain."""

    rule: NftRule
    pick: int = 0


def verdicts(table: NftTable, rule: NftRule) -> Iterator[tuple[str, str | None, int]]:
    """Each verdict that a rule can end with, the chain that it leads to, and which element of a verdict map gives it
    (0 where the rule says it itself)."""
    for one in rule.expressions:
        if one.verdict is not None:
            yield one.verdict, one.chain, 0
        elif one.name == "lookup" and "verdict" in one.flags:
            for pick, element in enumerate(_elements(table, one)):
                if element.verdict is not None:
                    yield element.verdict, element.chain, pick


def below(table: NftTable, base: NftChain) -> Iterator[tuple[NftChain, tuple[Step, ...]]]:
    """A base chain and every chain that jumps and verdict maps lead to from it, each with one way down to it."""
    known = {base.name}
    waiting: list[tuple[NftChain, tuple[Step, ...]]] = [(base, ())]
    while waiting:
        chain, way = waiting.pop(0)
        yield chain, way
        for rule in chain.rules:
            for verdict, name, pick in verdicts(table, rule):
                under = table.chain(name or "") if verdict in ("jump", "goto") and name not in known else None
                if under is not None:
                    known.add(under.name)
                    waiting.append((under, (*way, Step(rule, pick))))


def hooks_of(table: NftTable, chain: NftChain) -> set[str]:
    """The hooks whose base chains lead to a chain, by jumps or by itself."""
    bases = (base for base in table.chains if base.base)
    return {base.hook or "" for base in bases if any(under is chain for under, _ in below(table, base))}


def _elements(table: NftTable, one: NftExpression) -> tuple[NftElement, ...]:
    known = table.set(one.set or "")
    return known.elements if known is not None else ()


def meant(table: NftTable, rule: NftRule, pick: int = 0, way: tuple[Step, ...] = ()) -> Meant:
    """Read a rule's comparisons, and those that lead to its chain; of a set that it asks, the element ``pick``, or the
    last one where it has fewer."""
    found = Meant(family={"ip": "inet", "ip6": "inet6"}.get(table.family))
    for step in (*way, Step(rule, pick)):
        _read(found, table, step)
    return found


def _read(found: Meant, table: NftTable, step: Step) -> None:
    found.loads, at, pick = {}, Context(table.family), step.pick
    for one in step.rule.expressions:
        if one.name == "bitwise" and one.sreg in found.loads:
            found.loads[one.dreg or 0] = replace(found.loads[one.sreg], mask=bytes.fromhex(one.mask or ""))
        elif one.name == "cmp" and one.sreg in found.loads:
            _compared(found, at, found.loads[one.sreg], one)
        elif one.name == "lookup" and not one.invert:
            _looked_up(found, at, table, one, pick)
        elif one.name == "match":
            asked, _ = xtmatch.ports(one)
            found.fields |= {field: spans[0][0] for field, spans, invert in asked if spans and not invert}
        elif one.dreg is not None:
            found.loads[one.dreg] = _loaded(one, at)


def _loaded(one: NftExpression, at: Context) -> Load:
    """What an expression puts into a register."""
    if one.name == "payload":
        return payload(one, at, L4)
    return meta(one) if one.name == "meta" else other(one)


def _compared(found: Meant, at: Context, load: Load, one: NftExpression) -> None:
    value = bytes.fromhex(one.value or "")
    if load.text == "ct state" and load.mask is not None and one.op == "neq":
        bits = int.from_bytes(load.mask, "little")
        states = [name for name in ("new", "established", "related", "invalid", "untracked") if CT_BITS[name] & bits]
        if states:
            found.fields["ct_state"] = states[0]
    elif one.op in ("eq", "gte"):
        _set(found, at, load, value)


def elements(table: NftTable, rule: NftRule) -> int:
    """How many elements the largest set has that a rule asks; 1 where it asks none."""
    asked = [table.set(one.set or "") for one in rule.expressions if one.name == "lookup" and not one.invert]
    return max((len(known.elements) for known in asked if known is not None), default=1)


def _looked_up(found: Meant, at: Context, table: NftTable, one: NftExpression, pick: int) -> None:
    known = table.set(one.set or "")
    if known is None or not known.elements:
        return
    key, slot = bytes.fromhex(known.elements[min(pick, len(known.elements) - 1)].key), one.sreg or 0
    while key and slot in found.loads:
        load = found.loads[slot]
        _set(found, at, load, key[: load.length])
        words = (load.length + 3) // 4 or 1
        key, slot = key[4 * words :], slot + words


def _set(found: Meant, at: Context, load: Load, value: bytes) -> None:
    """One field, from the octets that it must have; addresses are prefixes."""
    last = load.text.rpartition(" ")[2]
    if load.text == "meta nfproto":
        at.nfproto = int.from_bytes(value, "big")
        found.family = FAMILY_OF.get(at.nfproto, found.family)
    elif load.kind in ("ipv4", "ipv6"):
        width = 4 if load.kind == "ipv4" else 16
        found.family = "inet" if width == 4 else "inet6"
        address = ipaddress.ip_address(value[:width].ljust(width, b"\0"))
        bits = len(value) * 8 if load.mask is None else int.from_bytes(load.mask, "big").bit_count()
        found.fields[last] = f"{address}/{bits}"
    elif load.kind == "port":
        found.fields[last] = int.from_bytes(value[:2], "big")
    elif load.text in FIELDS:
        name = FIELDS[load.text]
        if name in ("iif", "oif"):
            text = value.rstrip(b"\0").decode("utf-8", "replace")
            if value.endswith(b"\0") or len(value) == 16:  # iptables-nft compares a name up to its NUL
                found.fields[name] = text
            else:
                found.fields[name], found.wild[name] = f"{text}0", text
        elif name == "ct_state":
            number = int.from_bytes(value, "little")
            found.fields[name] = next((word for word, bit in CT_BITS.items() if bit & number), "new")
        else:
            found.fields[name] = int.from_bytes(value, "little" if name == "mark" else "big")
            at.l4proto = found.fields[name] if name == "proto" else at.l4proto
