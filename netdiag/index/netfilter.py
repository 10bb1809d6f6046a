"""What netfilter does with a packet at one hook: accept, drop, reject, or it may be either.

``Netfilter(nft).hook("input", packet)`` walks the base chains of the hook in the order of their priorities as
net/netfilter/core.c and nf_tables_core.c do: accept ends one base chain only, drop ends everything, chains of type nat
see the first packet of a connection only and stand where nf_nat has its hook whatever their own priority says. What is
not known of the packet, and what an expression asks that is not understood, makes a rule "may match": then both ways
are followed and the answer names every verdict that is possible. Pure; work is bounded.
"""

import ipaddress
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from netdiag.index import xtmatch
from netdiag.index.nftmatch import Registers, SetIndex, Truth, bitwise, byteorder, compare, inverted, load, of
from netdiag.index.nftpacket import Packet
from netdiag.index.nftskip import FEWEST, Shortcut
from netdiag.index.nftverdict import HookVerdict, Place, Possible, Translation
from netdiag.model.nft import Nft, NftChain, NftExpression, NftRule, NftTable, XtTable

FAMILIES = {"inet": ("ip", "inet"), "inet6": ("ip6", "inet")}
NAT_PRIORITY = {"prerouting": -100, "output": -100, "postrouting": 100, "input": 100}
CONNTRACK_PRIORITY = -200
XT_HOOKS = {
    "filter": ("input", "forward", "output"),
    "nat": ("prerouting", "input", "output", "postrouting"),
    "mangle": ("prerouting", "input", "forward", "output", "postrouting"),
    "raw": ("prerouting", "output"),
    "security": ("input", "forward", "output"),
}
DEPTH = 16
"""NFT_JUMP_STACK_SIZE."""
WORK = 200_000
"""Rules looked at for one packet; beyond that the answer is that it is not known."""


@dataclass
class _Walk:
    """What is known while one packet goes through one hook."""

    packet: Packet
    possible: list[Possible] = field(default_factory=list)
    translations: list[Translation] = field(default_factory=list)
    accepted: bool = False
    """Whether a way was found that ends the present base chain with accept."""
    sure: bool = True
    """Whether every packet of the kind gets to where the walk is."""
    work: int = WORK


class Netfilter:
    """One namespace's ruleset, made quick to ask. ``nft`` must have been read whole for a certain answer.

    ``ifindexes``: the namespace's interfaces by name, for rules that compare the index (``iif lo``), which nft writes
    where no quotes ask for the name.
    """

    def __init__(self, nft: Nft, ifindexes: Mapping[str, int] | None = None) -> None:
        self.nft = nft
        self.ifindexes = ifindexes or {}
        self._sets: dict[tuple[str, str, str], SetIndex] = {}
        self._shortcuts: dict[int, Shortcut] = {}
        self.tables = (*nft.tables, *nft.legacy)
        self._chains = {(t.family, t.name, t.legacy, chain.name): chain for t in self.tables for chain in t.chains}

    def base_chains(self, hook: str, family: str, device: str | None = None) -> list[tuple[NftTable, NftChain]]:
        """The base chains that a packet of the family meets at a hook, in order. ``family``: ``inet``, ``inet6``,
        ``bridge``, ``arp``, or ``netdev`` for ingress and egress of ``device``."""
        families = FAMILIES.get(family, (family,))
        if family == "netdev" and hook == "ingress":
            families = ("netdev", "inet")
        found: list[tuple[int, int, int, NftTable, NftChain]] = []
        for table in self.tables:
            if table.family not in families or table.dormant:
                continue
            for chain in table.chains:
                if chain.hook == hook and (device is None or not chain.devices or device in chain.devices):
                    place = NAT_PRIORITY.get(hook, 0) if chain.type == "nat" else chain.priority or 0
                    # Among equals the one that came last runs first (nf_hook_entries_grow() of net/netfilter/core.c).
                    found.append((place, chain.priority or 0, -len(found), table, chain))
        return [(table, chain) for _, _, _, table, chain in sorted(found, key=lambda row: row[:3])]

    def hook(self, hook: str, packet: Packet, family: str | None = None, *, nat: bool = True) -> HookVerdict:
        """What happens to the packet at ``prerouting``, ``input``, ``forward``, ``output``, ``postrouting``,
        ``ingress`` or ``egress``. ``nat``: whether its connection may still be rewritten there."""
        family = family or ("netdev" if hook in ("ingress", "egress") else packet.family)
        walk = _Walk(self._with_indexes(packet))
        device = (packet.iif if hook == "ingress" else packet.oif) if family == "netdev" else None
        passes = "yes"
        nat_done = False
        for table, chain in self.base_chains(hook, family, device):
            if chain.type == "nat":
                if nat_done or not nat or walk.packet.ct_state in ("established", "related", "invalid", "untracked"):
                    continue
                before = len(walk.translations)
            alive = self._base(table, chain, walk)
            if chain.type == "nat":
                nat_done = any(one.certain for one in walk.translations[before:])
            if alive == "no":
                passes = "no"
                break
            if alive == "maybe":
                passes = "maybe"
        if passes != "no":
            last = self.base_chains(hook, family, device)
            if last:
                walk.possible.append(Possible("accept", Place(*last[-1], None), passes == "yes"))
        return HookVerdict(
            hook, tuple(walk.possible), passes, walk.packet, tuple(walk.translations), tuple(self.unseen(hook, family))
        )

    def _with_indexes(self, packet: Packet) -> Packet:
        """The packet with the numbers of the interfaces that it names."""
        iif, oif = (self.ifindexes.get(name) if name else None for name in (packet.iif, packet.oif))
        return replace(packet, iifindex=packet.iifindex or iif, oifindex=packet.oifindex or oif)

    def unseen(self, hook: str, family: str) -> Iterator[XtTable]:
        """Tables of iptables-legacy at the hook that may have something to say."""
        wanted = {"inet": "ip", "inet6": "ip6"}.get(family, family)
        for table in self.nft.xtables:
            if table.family == wanted and hook in XT_HOOKS.get(table.name, ()) and table.rules is None:
                yield table

    def _base(self, table: NftTable, chain: NftChain, walk: _Walk) -> str:
        """One base chain: whether the packet gets past it."""
        walk.accepted = False
        before, stops, sure = walk.packet, len(walk.possible), walk.sure
        early = chain.hook in ("prerouting", "output") and (chain.priority or 0) < CONNTRACK_PRIORITY
        if early and chain.type != "nat" and before.ct_state != "untracked":
            walk.packet = replace(walk.packet, ct_state="invalid")  # nobody has looked the connection up yet
        falls = self._chain(table, chain, walk, 0)
        if walk.packet.ct_state == "invalid":
            walk.packet = replace(walk.packet, ct_state=before.ct_state)
        if falls != "no" and chain.policy == "drop":
            walk.possible.append(Possible("drop", Place(table, chain, None), sure and falls == "yes"))
            falls = "no"
        gets_through = falls != "no" or walk.accepted
        stopped = len(walk.possible) > stops
        walk.sure = sure and not stopped
        if not gets_through:
            return "no"
        return "maybe" if stopped else "yes"

    def _chain(self, table: NftTable, chain: NftChain, walk: _Walk, depth: int) -> str:
        """Rules in turn. Of the packets that come in, do some fall off the end or return: ``yes`` (all), ``maybe``,
        ``no``."""
        entered, left, ended = walk.sure, False, False
        for rule in self._left(chain, walk):
            walk.work -= 1
            if walk.work < 0:
                walk.possible.append(Possible("unknown", Place(table, chain, rule), False))
                return "maybe"
            fate = _Rule(self, Place(table, chain, rule), walk, depth).run()
            left, ended = left or fate.leaves, ended or fate.ends
            walk.sure = entered and not left and not ended
            if not fate.stays:
                break
        else:
            left = True
        walk.sure = entered and not ended
        return "no" if not left else "maybe" if ended else "yes"

    def _left(self, chain: NftChain, walk: _Walk) -> Iterator[NftRule]:
        """Its rules in turn, without those that cannot match what the packet is when they would be asked."""
        if len(chain.rules) < FEWEST:
            yield from chain.rules
            return
        shortcut = self._shortcuts.get(id(chain))
        if shortcut is None:
            shortcut = self._shortcuts[id(chain)] = Shortcut(chain)
        following, changed = 0, True
        while changed:
            packet, changed = walk.packet, False
            positions = shortcut.positions(packet)
            for position in positions[bisect_left(positions, following) :]:
                yield chain.rules[position]
                following, changed = position + 1, walk.packet is not packet
                if changed:
                    break

    def jump(self, table: NftTable, name: str, walk: _Walk, depth: int) -> str:
        """Go through another chain."""
        chain = self._chains.get((table.family, table.name, table.legacy, name))
        if chain is None or depth >= DEPTH:
            return "maybe"
        return self._chain(table, chain, walk, depth + 1)

    def set(self, table: NftTable, name: str) -> SetIndex | None:
        """A set of a table, indexed once."""
        key = (table.family, table.name, name)
        if key not in self._sets:
            found = table.set(name)
            if found is None:
                return None
            self._sets[key] = SetIndex(found)
        return self._sets[key]


@dataclass(frozen=True)
class _Fate:
    """What becomes of the packets that reach a rule; more than one can be true."""

    stays: bool = False
    """The next rule of the chain is asked."""
    leaves: bool = False
    """They leave the chain and live on."""
    ends: bool = False
    """They got a verdict."""

    def __or__(self, other: "_Fate") -> "_Fate":
        return _Fate(self.stays or other.stays, self.leaves or other.leaves, self.ends or other.ends)


NEXT = _Fate(stays=True)


class _Rule:
    """One rule on one packet."""

    def __init__(self, owner: Netfilter, at: Place, walk: _Walk, depth: int) -> None:
        self.owner, self.at, self.table = owner, at, at.table
        self.walk, self.depth = walk, depth
        self.registers = Registers()
        self.truth = Truth.YES

    def run(self) -> _Fate:
        """Every expression in turn, until one does not match or a verdict is reached."""
        for one in self.at.rule.expressions if self.at.rule else ():
            verdict = self._verdict_of(one)
            if verdict is not None:
                return self._act(*verdict)
            answer = self._ask(one)
            if isinstance(answer, _Fate):
                return answer
            if answer is Truth.NO:
                return NEXT
            if answer is Truth.MAYBE:
                self.truth = Truth.MAYBE
        return NEXT

    def _verdict_of(self, one: NftExpression) -> tuple[str, str | None] | None:
        """A verdict that the expression gives for certain once it is reached."""
        if one.name == "immediate" and one.verdict is not None:
            return one.verdict, one.chain
        if one.name in ("reject", "queue"):
            return one.name, None
        if one.name == "fwd":
            return "stolen", None
        if one.name in ("nat", "masq", "redir", "tproxy"):
            self._translate(one)
            return "accept", None
        if one.name == "target":
            done = xtmatch.target(one, self.walk.packet.family)
            self._apply(done)
            return None if done.verdict is None else (done.verdict, None)
        return None

    def _ask(self, one: NftExpression) -> Truth | _Fate:
        """Does the expression match; a fate where a verdict map decided."""
        registers, packet = self.registers, self.walk.packet
        if one.opaque:
            if one.dreg is not None:
                registers.forget(one.dreg, 16)
            return Truth.MAYBE
        if one.name == "cmp":
            value = bytes.fromhex(one.value or "")
            return compare(registers.read(one.sreg, len(value)), one.op or "eq", value)
        if one.name == "range":
            low, high = bytes.fromhex(one.value or ""), bytes.fromhex(one.value_max or "")
            octets = registers.read(one.sreg, len(low))
            answer = _inside(compare(octets, "gte", low), compare(octets, "lte", high))
            return inverted(answer) if one.op == "neq" else answer
        if one.name == "bitwise":
            bitwise(one, registers)
        elif one.name == "byteorder":
            byteorder(one, registers)
        elif one.name == "lookup":
            return self._lookup(one)
        elif one.name == "match":
            return xtmatch.match(one, packet)
        elif one.name in ("meta", "ct", "payload", "exthdr") and one.dreg is None:
            self._write(one)
        elif one.name in ("meta", "ct", "payload", "exthdr", "fib", "rt", "socket", "numgen", "hash", "immediate"):
            return load(one, packet, registers)
        elif one.name in ("limit", "quota", "connlimit", "objref", "synproxy") or (one.name == "dynset" and one.inner):
            return (
                Truth.YES if one.name == "objref" and one.key in ("counter", "ct helper", "ct timeout") else Truth.MAYBE
            )
        elif one.name == "notrack":
            self._change(ct_state="untracked")
        return Truth.YES

    def _lookup(self, one: NftExpression) -> Truth | _Fate:
        index = self.owner.set(self.table, one.set or "")
        if index is None:
            if one.dreg is not None:
                self.registers.forget(one.dreg, 16)
            return Truth.MAYBE
        answer, found = index.find(self.registers.read(one.sreg, index.one.key_len))
        if "verdict" in one.flags:
            return self._verdict_map(answer, [(e.verdict or "continue", e.chain) for e in found])
        if one.dreg is not None:
            if answer is Truth.YES and found[0].value is not None:
                self.registers.load(one.dreg, list(bytes.fromhex(found[0].value)))
            else:
                self.registers.forget(one.dreg, index.one.data_len or 4)
        return inverted(answer) if one.invert else answer

    def _verdict_map(self, answer: Truth, verdicts: list[tuple[str, str | None]]) -> Truth | _Fate:
        """A verdict map: the rule ends with it, whichever element it is."""
        if answer is Truth.NO:
            return Truth.NO
        if answer is Truth.YES:
            return self._act(*verdicts[0])
        self.truth = Truth.MAYBE
        fate = NEXT
        for verdict, chain in dict.fromkeys(verdicts):
            fate |= self._act(verdict, chain)
        return fate

    def _act(self, verdict: str, chain: str | None) -> _Fate:
        """A verdict was reached, for certain or perhaps."""
        perhaps, walk = self.truth is not Truth.YES, self.walk
        if verdict in ("continue", "break"):
            return NEXT
        if verdict in ("jump", "goto"):
            walk.sure = walk.sure and not perhaps
            alive = self.owner.jump(self.table, chain or "", walk, self.depth)
            if verdict == "jump":
                return _Fate(stays=perhaps or alive != "no", ends=alive != "yes")
            return _Fate(stays=perhaps, leaves=alive != "no", ends=alive != "yes")
        if verdict == "return":
            return _Fate(stays=perhaps, leaves=True)
        if verdict == "unknown":  # a target that is not known here may stop, accept and let the next rule decide
            perhaps = walk.accepted = True
            walk.packet = replace(walk.packet, mark=None, ct_mark=None)
        if verdict == "accept":
            walk.accepted = True
        else:
            walk.possible.append(Possible(verdict, self.at, not perhaps and walk.sure))
        return _Fate(stays=perhaps, ends=True)

    def _change(self, **fields: object) -> None:
        """Change the packet; where it is not certain that the rule applies, the field is not known any more."""
        walk = self.walk
        sure = self.truth is Truth.YES and walk.sure
        now = {key: value if sure or getattr(walk.packet, key) == value else None for key, value in fields.items()}
        walk.packet = replace(walk.packet, **now)  # type: ignore[arg-type]

    def _write(self, one: NftExpression) -> None:
        octets = self.registers.read(one.sreg, 4)
        value = None if None in octets else int.from_bytes(bytes(o or 0 for o in octets), "little")
        if one.key == "mark" and one.name == "meta":
            self._change(mark=value)
        elif one.key == "mark" and one.name == "ct":
            self._change(ct_mark=value)
        elif one.name == "payload":
            self._change_header(one)

    def _change_header(self, one: NftExpression) -> None:
        """A header field is written: what it was is not known any more."""
        if one.key == "transport":
            self._change(sport=None, dport=None)
        elif one.key == "network" and (one.length or 0) >= 4:
            self._change(saddr=None, daddr=None)

    def _address(self, slot: int | None, family: str) -> str | None:
        if slot is None:
            return None
        octets = self.registers.read(slot, 4 if family == "inet" else 16)
        return None if None in octets else str(ipaddress.ip_address(bytes(o or 0 for o in octets)))

    def _port(self, slot: int | None) -> int | None:
        octets = self.registers.read(slot, 2) if slot is not None else [None]
        return None if None in octets else int.from_bytes(bytes(o or 0 for o in octets), "big")

    def _translate(self, one: NftExpression) -> None:
        family = self.walk.packet.family
        addr = self._address(one.sreg, family)
        if one.sreg_max is not None and self._address(one.sreg_max, family) != addr:
            addr = None
        port = self._port(one.sreg_port)
        if one.sreg_port_max is not None and self._port(one.sreg_port_max) != port:
            port = None
        kind = {"masq": "masquerade", "redir": "redirect", "tproxy": "tproxy"}.get(one.name, one.key or "snat")
        self._record(kind, addr, port, has_addr=one.sreg is not None, has_port=one.sreg_port is not None)

    def _apply(self, done: xtmatch.Target) -> None:
        if done.nat is not None:
            self._record(done.nat, done.addr, done.port, has_addr=True, has_port=done.port is not None)
        if done.mark is not None:
            value, mask = done.mark
            old = self.walk.packet.mark
            self._change(mark=None if old is None else (old & ~mask) ^ value)
        if done.notrack:
            self._change(ct_state="untracked")
        if done.connmark is not None:
            self._connmark(*done.connmark)

    def _connmark(self, mode: int, value: int, ctmask: int, nfmask: int) -> None:
        """net/netfilter/xt_connmark.c, connmark_tg_shift()."""
        mark, ct_mark = self.walk.packet.mark, self.walk.packet.ct_mark
        if mode == xtmatch.CONNMARK_LOST:
            self._change(mark=None, ct_mark=None)
        elif mode == xtmatch.CONNMARK_RESTORE:
            self._change(mark=None if mark is None or ct_mark is None else (mark & ~nfmask) ^ (ct_mark & ctmask))
        else:
            taken = value if mode == xtmatch.CONNMARK_SET else None if mark is None else mark & nfmask
            self._change(ct_mark=None if taken is None or ct_mark is None else (ct_mark & ~ctmask) ^ taken)

    def _record(self, kind: str, addr: str | None, port: int | None, *, has_addr: bool, has_port: bool) -> None:
        sure = self.truth is Truth.YES and self.walk.sure
        self.walk.translations.append(Translation(kind, addr, port, self.at, sure))
        if kind == "tproxy":
            return
        side = ("daddr", "dport") if kind in ("dnat", "redirect") else ("saddr", "sport")
        if has_addr or kind in ("masquerade", "redirect"):
            self._change(**{side[0]: addr, f"{side[0]}_type": None})
        if has_port:
            self._change(**{side[1]: port})
        self._change(**{"dnatted" if kind in ("dnat", "redirect") else "snatted": True})


def _inside(above: Truth, below: Truth) -> Truth:
    if Truth.NO in (above, below):
        return Truth.NO
    return of(True) if above is below is Truth.YES else Truth.MAYBE
