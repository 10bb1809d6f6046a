"""An nftables rule as ``nft list ruleset`` spells it, closely enough for a person to find it again.

A rule is steps over registers (model.nft); nft's language is read back from them: what was loaded stands before what it
is compared with, and a check of the protocol that the next field implies is left out. Extensions of iptables are shown
as ``xt match "name"``, but for the ports of tcp, udp and multiport. Pure; nothing can fail.
"""

from collections.abc import Callable

from netdiag.index import nftloads, nftwords, xtmatch
from netdiag.index.nftloads import Context, Load
from netdiag.index.nftwords import range_word, value_word
from netdiag.model.nft import NftChain, NftElement, NftExpression, NftRule, NftSet, NftTable

OPS = {"eq": "", "neq": "!= ", "lt": "< ", "lte": "<= ", "gt": "> ", "gte": ">= "}
SHOWN_ELEMENTS = 64
"""Elements spelled of a set in one line of text."""


def rule_text(table: NftTable, rule: NftRule) -> str:
    """One rule in one line, its comment included."""
    words = _Speller(table).spell(rule.expressions)
    if rule.comment is not None:
        words.append(f'comment "{rule.comment}"')
    return " ".join(words)


def chain_text(table: NftTable, chain: NftChain) -> str:
    """``type filter hook input priority filter; policy drop;``; empty for a chain that is none of the base chains."""
    if chain.hook is None or chain.priority is None:
        return ""
    devices = f" devices = {{ {', '.join(chain.devices)} }}" if chain.devices else ""
    priority = nftwords.priority_word(table.family, chain.priority)
    return f"type {chain.type} hook {chain.hook}{devices} priority {priority}; policy {chain.policy};"


def verdict_text(verdict: str | None, chain: str | None) -> str:
    """``accept``, ``jump docker``."""
    return f"{verdict} {chain}" if chain else str(verdict)


def split_key(key: bytes, loads: list[Load]) -> list[bytes]:
    """The fields of a concatenation, without their padding to four octets."""
    parts, position = [], 0
    for load in loads:
        parts.append(key[position : position + load.length])
        position += (load.length + 3) & ~3
    return parts


def element_text(one: NftElement, loads: list[Load], data: list[Load] | None = None) -> str:
    """One element, ``10.0.0.0/8 . 80 : accept``; the types come from what is looked up, those of a map's ``data`` from
    the map."""
    if not one.key:
        text = "*"
    else:
        first, last = bytes.fromhex(one.key), bytes.fromhex(one.key_end or one.key)
        pairs = zip(loads, split_key(first, loads), split_key(last, loads), strict=True)
        text = " . ".join(range_word(load.kind, low, high) for load, low, high in pairs)
    if one.verdict is not None:
        return f"{text} : {verdict_text(one.verdict, one.chain)}"
    if one.value is not None:
        value = bytes.fromhex(one.value)
        data = data or [Load("", "int", len(value))]
        words = (value_word(load.kind, part) for load, part in zip(data, split_key(value, data), strict=True))
        return f"{text} : {' . '.join(words)}"
    return f"{text} : {one.object}" if one.object else text


DATATYPES = {
    4: ("nfproto", 1),
    5: ("int", 4),
    7: ("ipv4", 4),
    8: ("ipv6", 16),
    9: ("ether", 6),
    10: ("ethertype", 2),
    12: ("l4proto", 1),
    13: ("port", 2),
    14: ("icmp", 1),
    15: ("tcpflags", 1),
    19: ("mark", 4),
    20: ("ifindex", 4),
    26: ("ctstate", 4),
    29: ("icmpv6", 1),
    41: ("ifname", 16),
}
"""nft's numbers of types (enum datatypes in its include/datatype.h): kind and octets."""


def set_loads(one: NftSet) -> list[Load]:
    """What the keys of a set are, from the number that nft left with it."""
    return _loads(one.key_type, one.key_len)


def data_loads(one: NftSet) -> list[Load]:
    """What the values of a map are."""
    return _loads(one.data_type or 0, one.data_len or 4)


def _loads(datatype: int, length: int) -> list[Load]:
    numbers, rest = [], datatype & 0xFFFFFFFF  # __be32 on the wire; a file may say anything
    while rest:
        numbers.append(rest & 0x3F)
        rest >>= 6
    known = [DATATYPES.get(number) for number in reversed(numbers)]
    loads = [Load("", kind, size) for kind, size in filter(None, known)]
    if len(loads) != len(numbers) or sum((load.length + 3) & ~3 for load in loads) < length:
        return [Load("", "int", length)]
    return loads


class _Speller:
    """State of one rule while it is spelled."""

    def __init__(self, table: NftTable) -> None:
        self.table = table
        self.at = Context(table.family)
        self.registers: dict[int, Load] = {}
        self.words: list[str] = []
        self.implied: dict[str, int] = {}
        """Where in ``words`` a check of the protocol stands that a later field may imply."""

    def spell(self, expressions: tuple[NftExpression, ...]) -> list[str]:
        """Every expression in turn."""
        for one in expressions:
            method: Callable[[NftExpression], None] | None = getattr(self, f"_{one.name}", None)
            if method is None or one.opaque:
                self.words.append(f"({one.name})")
            else:
                method(one)
        return [word for word in self.words if word]

    def _name_of(self, slot: int | None) -> Load:
        return self.registers.get(-1 if slot is None else slot, Load("?", "int", 4))

    def _put(self, slot: int | None, load: Load) -> None:
        if slot is not None:
            self.registers[slot] = load

    def _use(self, load: Load) -> None:
        """A field was named: nft implies the protocols below it."""
        if load.needs == "transport" and "l4proto" in self.implied:
            self.words[self.implied.pop("l4proto")] = ""
            if load.text.split()[0] in ("icmp", "icmpv6") and "nfproto" in self.implied:
                self.words[self.implied.pop("nfproto")] = ""
        if load.needs == "network" and "nfproto" in self.implied:
            self.words[self.implied.pop("nfproto")] = ""

    def _run(self, slot: int | None, size: int) -> list[Load]:
        """The loads that together are the key of a set."""
        loads, at = [], slot or 0
        while size > 0:
            load = self._name_of(at)
            loads.append(load)
            step = max(load.length + 3 & ~3, 4)
            at, size = at + step // 4, size - step
        return loads

    def _meta(self, one: NftExpression) -> None:
        if one.dreg is not None:
            self._put(one.dreg, nftloads.meta(one))
        else:
            self.words.append(f"meta {one.key} set {self._operand(one.sreg, nftloads.meta(one).kind)}")

    def _operand(self, slot: int | None, kind: str) -> str:
        load = self._name_of(slot)
        return value_word(kind, load.value) if load.value is not None else load.text

    def _ct(self, one: NftExpression) -> None:
        if one.dreg is not None:
            self._put(one.dreg, nftloads.ct(one))
        else:
            self.words.append(f"ct {one.key} set {self._operand(one.sreg, nftloads.ct(one).kind)}")

    def _payload(self, one: NftExpression) -> None:
        load = nftloads.payload(one, self.at, nftwords.L4)
        if one.dreg is not None:
            self._put(one.dreg, load)
        else:
            self._use(load)
            self.words.append(f"{load.text} set {self._operand(one.sreg, load.kind)}")

    def _loaded(self, one: NftExpression) -> None:
        if one.dreg is not None:
            self._put(one.dreg, nftloads.other(one))
        else:
            value = self._name_of(one.sreg)
            text = str(int.from_bytes(value.value, "big")) if value.value is not None else value.text
            self.words.append(f"{nftloads.other(one).text} set {text}")

    _fib = _rt = _socket = _numgen = _hash = _exthdr = _loaded

    def _immediate(self, one: NftExpression) -> None:
        if one.verdict is not None:
            self.words.append(verdict_text(one.verdict, one.chain))
        else:
            value = bytes.fromhex(one.value or "")
            self._put(one.dreg, Load(value.hex(), "int", len(value), value=value))

    def _bitwise(self, one: NftExpression) -> None:
        load = self._name_of(one.sreg)
        if one.op != "mask":
            shift = int.from_bytes(bytes.fromhex(one.value or "00000000"), "little")
            text = f"{load.text} {'<<' if one.op == 'lshift' else '>>'} {shift}"
            self._put(one.dreg, Load(text, load.kind, load.length))
            return
        mask, xor = bytes.fromhex(one.mask or ""), bytes.fromhex(one.xor or "")
        if any(xor):
            text = f"{load.text} & {value_word('mark', mask)} ^ {value_word('mark', xor)}"
            self._put(one.dreg, Load(text, load.kind, load.length))
        else:
            self._put(one.dreg, Load(load.text, load.kind, load.length, mask=mask, needs=load.needs))

    def _byteorder(self, one: NftExpression) -> None:
        self._put(one.dreg, self._name_of(one.sreg))

    def _cmp(self, one: NftExpression) -> None:
        load = self._name_of(one.sreg)
        value = bytes.fromhex(one.value or "")
        self._use(load)
        if load.text in ("meta l4proto", "meta nfproto") and one.op == "eq":
            key = load.text.removeprefix("meta ")
            setattr(self.at, key, value[0] if value else None)
            if key not in self.implied:
                self.implied[key] = len(self.words)
        self.words.append(self._comparison(load, one.op or "eq", value))

    def _comparison(self, load: Load, op: str, value: bytes) -> str:
        mask = load.mask
        if mask is None:
            if op == "lte" and self.words and self.words[-1].startswith(f"{load.text} >= "):
                low = self.words.pop().removeprefix(f"{load.text} >= ")
                return f"{load.text} {low}-{value_word(load.kind, value)}"
            return f"{load.text} {OPS[op]}{value_word(load.kind, value)}"
        if load.kind in ("ipv4", "ipv6") and (bits := nftwords.prefix_length(mask)) is not None:
            return f"{load.text} {OPS[op]}{value_word(load.kind, value)}/{bits}"
        kind = load.kind
        if kind in nftwords.BITS:
            named = nftwords.bit_words(kind, nftwords.number_of(kind, mask), " | ")
            if not any(value):
                return f"{load.text} {'! ' if op == 'eq' else ''}{named.replace(' | ', ',')}"
            return f"{load.text} & ({named}) {OPS[op] or '== '}{value_word(kind, value).replace(',', ' | ')}"
        if load.text.endswith("dscp"):
            return f"{load.text} {OPS[op]}{value[0] >> 2:#04x}" if value else load.text
        return f"{load.text} & {value_word(kind, mask)} {OPS[op] or '== '}{value_word(kind, value)}"

    def _range(self, one: NftExpression) -> None:
        load = self._name_of(one.sreg)
        self._use(load)
        span = range_word(load.kind, bytes.fromhex(one.value or ""), bytes.fromhex(one.value_max or ""))
        self.words.append(f"{load.text} {OPS[one.op or 'eq']}{span}")

    def _lookup(self, one: NftExpression) -> None:
        found = self.table.set(one.set or "")
        size = found.key_len if found else 4
        loads = self._run(one.sreg, size)
        for load in loads:
            self._use(load)
        key = " . ".join(load.text for load in loads)
        if found is None or "anonymous" not in found.flags:
            content = f"@{one.set}"
        else:
            data = data_loads(found)
            shown = [element_text(element, loads, data) for element in found.elements[:SHOWN_ELEMENTS]]
            more = ["..."] if len(found.elements) > SHOWN_ELEMENTS or not found.complete else []
            content = f"{{ {', '.join(shown + more)} }}"
        if "verdict" in one.flags:
            self.words.append(f"{key} vmap {content}")
        elif one.dreg is not None:
            self._put(one.dreg, Load(f"{key} map {content}", "int", (found.data_len if found else 4) or 4))
        else:
            self.words.append(f"{key} {'!= ' if one.invert else ''}{content}")

    def _dynset(self, one: NftExpression) -> None:
        found = self.table.set(one.set or "")
        loads = self._run(one.sreg, found.key_len if found else 4)
        inner = " ".join(one.inner)
        key = " . ".join(load.text for load in loads)
        self.words.append(f"{one.op} @{one.set} {{ {key}{' ' + inner if inner else ''} }}")

    def _counter(self, one: NftExpression) -> None:
        self.words.append(f"counter packets {one.packets or 0} bytes {one.octets or 0}")

    def _limit(self, one: NftExpression) -> None:
        unit = nftwords.UNITS.get(one.code or 1, f"{one.code}s")
        over = "over " if one.invert else ""
        burst = f" burst {one.burst} {one.key}" if one.burst else ""
        octets = " bytes" if one.key == "bytes" else ""
        self.words.append(f"limit rate {over}{one.number}{octets}/{unit}{burst}")

    def _quota(self, one: NftExpression) -> None:
        self.words.append(f"quota {'over ' if one.invert else ''}{one.number} bytes used {one.octets or 0} bytes")

    def _connlimit(self, one: NftExpression) -> None:
        self.words.append(f"ct count {'over ' if one.invert else ''}{one.number}")

    def _log(self, one: NftExpression) -> None:
        self.words.append(f'log prefix "{one.text}"' if one.text else "log")

    def _reject(self, one: NftExpression) -> None:
        for key in list(self.implied):
            if (key, one.number) in (("nfproto", 0), ("l4proto", 1)):
                self.words[self.implied.pop(key)] = ""
        if one.number == 1:
            self.words.append("reject with tcp reset")
            return
        v6 = self.at.v6
        names = nftwords.REJECT_ICMPX if one.number == 2 else nftwords.REJECT_ICMPV6 if v6 else nftwords.REJECT_ICMP
        kind = "icmpx" if one.number == 2 else "icmpv6" if v6 else "icmp"
        word = names.get(one.code or 0, str(one.code))
        self.words.append("reject" if word == "port-unreachable" else f"reject with {kind} {word}")

    def _target_of(self, one: NftExpression, kind: str) -> str:
        """``10.0.0.2-10.0.0.9:80``, from the registers of a nat expression."""

        def span(first: int | None, last: int | None, kind: str) -> str:
            low = self._operand(first, kind)
            high = low if last is None else self._operand(last, kind)
            return low if low == high else f"{low}-{high}"

        text = span(one.sreg, one.sreg_max, kind) if one.sreg is not None else ""
        if kind == "ipv6" and one.sreg_port is not None and text:
            text = f"[{text}]"
        return text + (f":{span(one.sreg_port, one.sreg_port_max, 'port')}" if one.sreg_port is not None else "")

    def _translation(self, one: NftExpression, verb: str) -> None:
        kind = "ipv6" if one.family == "ip6" or self.at.v6 else "ipv4"
        to = self._target_of(one, kind)
        family = f" {one.family}" if self.table.family == "inet" and one.family in ("ip", "ip6") else ""
        flags = [flag for flag in one.flags if flag not in ("ips", "ports")]
        words = [f"{verb}{family if to else ''}", f"to {to}" if to else "", ",".join(flags)]
        self.words.append(" ".join(word for word in words if word))

    def _nat(self, one: NftExpression) -> None:
        if "nfproto" in self.implied:
            self.words[self.implied.pop("nfproto")] = ""
        self._translation(one, one.key or "nat")

    def _masq(self, one: NftExpression) -> None:
        self._translation(one, "masquerade")

    def _redir(self, one: NftExpression) -> None:
        self._translation(one, "redirect")

    def _tproxy(self, one: NftExpression) -> None:
        self._translation(one, "tproxy")

    def _queue(self, one: NftExpression) -> None:
        self.words.append(
            " ".join(["queue", *(["flags " + ",".join(one.flags)] if one.flags else []), f"to {one.number}"])
        )

    def _objref(self, one: NftExpression) -> None:
        if one.set is not None:
            self.words.append(f"{one.key or 'object'} name {self._name_of(one.sreg).text} map @{one.set}")
        elif (one.key or "").startswith("ct "):
            self.words.append(f'{one.key} set "{one.text}"')
        else:
            self.words.append(f'{one.key} name "{one.text}"')

    def _flow_offload(self, one: NftExpression) -> None:
        self.words.append(f"flow add @{one.set}")

    def _notrack(self, one: NftExpression) -> None:
        self.words.append("notrack")

    def _match(self, one: NftExpression) -> None:
        asked, whole = xtmatch.ports(one)
        if asked and one.key != "multiport" and "l4proto" in self.implied:
            self.words[self.implied.pop("l4proto")] = ""
        for field, spans, invert in asked:
            each = [str(low) if low == high else f"{low}-{high}" for low, high in spans]
            ports = each[0] if len(each) == 1 else f"{{ {', '.join(each)} }}"
            self.words.append(f"{'th' if one.key == 'multiport' else one.key} {field} {'!= ' * invert}{ports}")
        if not asked or not whole:
            self.words.append(f'xt match "{one.key}"')

    def _target(self, one: NftExpression) -> None:
        self.words.append(f'xt target "{one.key}"')
