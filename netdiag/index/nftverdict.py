"""What netfilter can do with a packet at a hook, and where it is decided. Pure."""

from dataclasses import dataclass

from netdiag.index.nftpacket import Packet
from netdiag.model.nft import NftChain, NftRule, NftTable, XtTable

Verdict = str
"""``accept``, ``drop``, ``reject``, ``queue`` (a program decides), ``stolen``, ``unknown``."""


@dataclass(frozen=True)
class Place:
    """A rule, or with ``rule`` None the policy of a base chain."""

    table: NftTable
    chain: NftChain
    rule: NftRule | None


@dataclass(frozen=True)
class Possible:
    """One verdict that the packet gets, or may get."""

    verdict: Verdict
    at: Place
    certain: bool


@dataclass(frozen=True)
class Translation:
    """A rewriting of addresses or ports."""

    kind: str
    """``snat``, ``dnat``, ``masquerade``, ``redirect``, ``tproxy``."""
    addr: str | None
    """New address where it is one and known."""
    port: int | None
    at: Place
    certain: bool


@dataclass(frozen=True)
class HookVerdict:
    """What the hook does."""

    hook: str
    possible: tuple[Possible, ...]
    """Ways in which the packet is stopped, and last ``accept`` if it can get through."""
    passes: str
    """``yes``, ``no``, ``maybe``."""
    packet: Packet
    """The packet behind the hook: marks and addresses that it got; None where they are not known."""
    translations: tuple[Translation, ...] = ()
    unseen: tuple[XtTable, ...] = ()
    """Tables of iptables-legacy that have this hook and were not read, or hold rules: nobody knows what they decide."""

    @property
    def verdict(self) -> str:
        """``accept``, ``drop``, ``reject``, or ``may``."""
        if self.passes == "yes":
            return "may" if self.unseen else "accept"
        verdicts = {one.verdict for one in self.possible}
        return (
            verdicts.pop()
            if self.passes == "no" and len(verdicts) == 1
            else "may"
            if self.passes == "maybe"
            else "drop"
        )

    @property
    def blocker(self) -> Possible | None:
        """What stops the packet for certain; else what stops the rest of a packet that never passes, or what may."""
        stops = [one for one in self.possible if one.verdict != "accept"]
        return next((one for one in stops if one.certain), stops[-1 if self.passes == "no" else 0] if stops else None)
