"""nftables for the examples of rules: expressions as nft writes them into the kernel, put together by small functions.

``table(chain("c", rule(iifname("tap0"), verdict("accept")), hook="forward", policy="drop"))``.
"""

import ipaddress

from netdiag.model.nft import NftChain, NftElement, NftExpression, NftRule, NftSet, NftTable

Expressions = tuple[NftExpression, ...]
STATES = {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}
PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "srcnat": 100}

IIFNAME = NftExpression(name="meta", key="iifname", dreg=0)
L4PROTO = NftExpression(name="meta", key="l4proto", dreg=0)
CT_STATE = NftExpression(name="ct", key="state", dreg=0)
CT_MARK = NftExpression(name="ct", key="mark", dreg=0)
CT_DIRECTION = NftExpression(name="ct", key="direction", dreg=0)
DADDR = NftExpression(name="payload", key="network", dreg=0, offset=16, length=4)
SPORT = NftExpression(name="payload", key="transport", dreg=0, offset=0, length=2)
DPORT = NftExpression(name="payload", key="transport", dreg=0, offset=2, length=2)


def same(value: str, op: str = "eq") -> NftExpression:
    """What was loaded is compared with octets in hexadecimal."""
    return NftExpression(name="cmp", op=op, sreg=0, value=value)


def differs(value: str) -> NftExpression:
    """What was loaded is none of this."""
    return same(value, "neq")


def _compared(loaded: NftExpression, value: bytes, op: str = "eq") -> Expressions:
    return loaded, same(value.hex(), op)


def meta(key: str, value: bytes, op: str = "eq", mask: bytes | None = None) -> Expressions:
    """A property of the packet, or those bits of it, compared with octets."""
    loaded, compared = _compared(NftExpression(name="meta", key=key, dreg=0), value, op)
    if mask is None:
        return loaded, compared
    bits = {"length": len(mask), "mask": mask.hex(), "xor": bytes(len(mask)).hex()}
    return loaded, NftExpression(name="bitwise", op="mask", sreg=0, dreg=0, **bits), compared  # type: ignore[arg-type]


IPV4 = meta("nfproto", b"\2")
"""``meta nfproto ipv4``."""


def iifname(name: str, op: str = "eq") -> Expressions:
    """``iifname "tap0"``; a star at the end is a wildcard."""
    return meta("iifname", _name(name), op)


def iif(index: int, op: str = "eq") -> Expressions:
    """``iif lo``: the number of the interface."""
    return meta("iif", index.to_bytes(4, "little"), op)


def oifname(name: str, op: str = "eq") -> Expressions:
    """``oifname "tap0"``."""
    return meta("oifname", _name(name), op)


def _name(name: str) -> bytes:
    return name[:-1].encode() if name.endswith("*") else name.encode().ljust(16, b"\0")


def mark(value: int) -> Expressions:
    """``meta mark 0x1``."""
    return meta("mark", value.to_bytes(4, "little"))


def l4proto(number: int) -> Expressions:
    """``meta l4proto udp``."""
    return meta("l4proto", bytes([number]))


def _addr(prefix: str, v4: int, v6: int, op: str) -> Expressions:
    network = ipaddress.ip_network(prefix, strict=False)
    octets = (network.prefixlen + 7) // 8
    inet = network.version == 4
    loaded = NftExpression(name="payload", key="network", dreg=0, offset=v4 if inet else v6, length=octets)
    return *meta("nfproto", bytes([2 if inet else 10])), *_compared(loaded, network.network_address.packed[:octets], op)


def saddr(prefix: str, op: str = "eq") -> Expressions:
    """``ip saddr 10.0.0.0/24``; whole octets only."""
    return _addr(prefix, 12, 8, op)


def daddr(prefix: str, op: str = "eq") -> Expressions:
    """``ip daddr 10.0.0.0/24``."""
    return _addr(prefix, 16, 24, op)


def port(proto: int, number: int, *, source: bool = False) -> Expressions:
    """``udp dport 53``."""
    loaded = NftExpression(name="payload", key="transport", dreg=0, offset=0 if source else 2, length=2)
    return *l4proto(proto), *_compared(loaded, number.to_bytes(2, "big"))


def high_port(number: int) -> Expressions:
    """``udp dport >= 1024``; the protocol stands before it."""
    return _compared(DPORT, number.to_bytes(2, "big"), "gte")


def protocol(number: int) -> Expressions:
    """``ip protocol gre``."""
    return *IPV4, *_compared(NftExpression(name="payload", key="network", dreg=0, offset=9, length=1), bytes([number]))


def icmp(proto: int, kind: int) -> Expressions:
    """``icmp type 3``, ``icmpv6 type 2``."""
    loaded = NftExpression(name="payload", key="transport", dreg=0, offset=0, length=1)
    return *l4proto(proto), *_compared(loaded, bytes([kind]))


def state(*names: str, op: str = "neq") -> Expressions:
    """``ct state established,related``; with ``eq`` none of them."""
    mask = sum(STATES[name] for name in names).to_bytes(4, "little")
    return (
        CT_STATE,
        NftExpression(name="bitwise", op="mask", sreg=0, dreg=0, length=4, mask=mask.hex(), xor="00000000"),
        same("00000000", op),
    )


def verdict(word: str, chain: str | None = None) -> Expressions:
    """``accept``, ``drop``, ``jump other``."""
    return (NftExpression(name="immediate", verdict=word, chain=chain),)


def nat(kind: str, addr: str, to_port: int | None = None) -> Expressions:
    """``dnat to 10.0.0.2:80``."""
    packed = ipaddress.ip_address(addr)
    family = "ip" if packed.version == 4 else "ip6"
    first = NftExpression(name="immediate", dreg=0, value=packed.packed.hex())
    if to_port is None:
        return first, NftExpression(name="nat", key=kind, family=family, sreg=0, sreg_max=0)
    second = NftExpression(name="immediate", dreg=4, value=to_port.to_bytes(2, "big").hex())
    return first, second, NftExpression(name="nat", key=kind, family=family, sreg=0, sreg_max=0, sreg_port=4)


def plain(name: str, **fields: object) -> Expressions:
    """An expression that needs little: ``masq``, ``notrack``, ``reject``, ``counter``."""
    return (NftExpression(name=name, **fields),)  # type: ignore[arg-type]


def rule(*parts: Expressions, comment: str | None = None, compat: bool = False) -> NftRule:
    """A rule of these parts."""
    whole = tuple(one for part in parts for one in part)
    return NftRule(handle=1, expressions=whole, comment=comment, compat=compat)


def chain(
    name: str,
    *rules: NftRule,
    hook: str | None = None,
    policy: str = "accept",
    priority: int | str = "filter",
    type: str = "filter",
) -> NftChain:
    """A base chain where ``hook`` is given."""
    numbered = tuple(
        NftRule(handle=number, expressions=one.expressions, comment=one.comment, compat=one.compat)
        for number, one in enumerate(rules, 2)
    )
    if hook is None:
        return NftChain(name=name, handle=1, rules=numbered)
    place = PRIORITIES[priority] if isinstance(priority, str) else priority
    return NftChain(name=name, handle=1, rules=numbered, hook=hook, policy=policy, priority=place, type=type)


def table(
    *chains: NftChain, name: str = "filter", family: str = "inet", sets: tuple[NftSet, ...] = (), dormant: bool = False
) -> NftTable:
    """A table."""
    return NftTable(family=family, name=name, handle=1, chains=chains, sets=sets, flags=("dormant",) if dormant else ())


def port_set(name: str, *ports: int) -> NftSet:
    """A named set of ports."""
    elements = tuple(NftElement(key=number.to_bytes(2, "big").hex()) for number in sorted(ports))
    return NftSet(name=name, handle=1, key_type=13, key_len=2, elements=elements)


def plain_set(name: str, *keys: str, fields: tuple[int, ...] = ()) -> NftSet:
    """A set of these keys, octets in hexadecimal; ``fields`` of a concatenation are their lengths."""
    length = max([len(key) // 2 for key in keys], default=2)
    flags = ("concat",) if fields else ()
    elements = tuple(NftElement(key=key) for key in keys)
    return NftSet(name=name, handle=1, key_len=length, fields=fields, flags=flags, elements=elements)


def looked_up(name: str, *loaded: NftExpression, invert: bool = False) -> Expressions:
    """``iifname . udp dport @name``: loads into registers that follow each other, and a lookup of the first."""
    return *loaded, NftExpression(name="lookup", sreg=0, set=name, invert=invert)


def in_set(proto: int, name: str) -> Expressions:
    """``udp dport @name``."""
    loaded = NftExpression(name="payload", key="transport", dreg=0, offset=2, length=2)
    return *l4proto(proto), loaded, NftExpression(name="lookup", sreg=0, set=name)
