"""What an nftables expression puts into a register, in nft's words and with its type: ``tcp dport``, a port.

The header fields of ip, ip6, tcp, udp, icmp and Ethernet that rules look at (RFC 791, 8200, 9293, 768); everything else
is spelled as nft's raw payload ``@th,16,16``. Pure; nothing can fail.
"""

from dataclasses import dataclass

from netdiag.model.nft import NftExpression

IP_FIELDS = {
    (12, 4): ("saddr", "ipv4"),
    (16, 4): ("daddr", "ipv4"),
    (9, 1): ("protocol", "l4proto"),
    (8, 1): ("ttl", "int"),
    (2, 2): ("length", "int"),
    (4, 2): ("id", "int"),
    (6, 2): ("frag-off", "int"),
    (1, 1): ("dscp", "int"),
    (0, 1): ("version", "int"),
}
IP6_FIELDS = {
    (8, 16): ("saddr", "ipv6"),
    (24, 16): ("daddr", "ipv6"),
    (6, 1): ("nexthdr", "l4proto"),
    (7, 1): ("hoplimit", "int"),
    (4, 2): ("length", "int"),
}
LINK_FIELDS = {(0, 6): ("daddr", "ether"), (6, 6): ("saddr", "ether"), (12, 2): ("type", "ethertype")}
TCP_FIELDS = {
    (0, 2): ("sport", "port"),
    (2, 2): ("dport", "port"),
    (4, 4): ("sequence", "int"),
    (13, 1): ("flags", "tcpflags"),
}
PORT_FIELDS = {(0, 2): ("sport", "port"), (2, 2): ("dport", "port")}
TRANSPORTS = {
    "tcp": TCP_FIELDS,
    "udp": {**PORT_FIELDS, (4, 2): ("length", "int")},
    "udplite": PORT_FIELDS,
    "sctp": PORT_FIELDS,
    "dccp": PORT_FIELDS,
    "icmp": {(0, 1): ("type", "icmp"), (1, 1): ("code", "int"), (4, 2): ("id", "int"), (4, 4): ("gateway", "int")},
    "icmpv6": {(0, 1): ("type", "icmpv6"), (1, 1): ("code", "int"), (4, 4): ("mtu", "int")},
    "th": PORT_FIELDS,
}
META_TYPES = {
    "iifname": "ifname",
    "oifname": "ifname",
    "ibrname": "ifname",
    "obrname": "ifname",
    "sdifname": "ifname",
    "iifkind": "text",
    "oifkind": "text",
    "iif": "ifindex",
    "oif": "ifindex",
    "mark": "mark",
    "l4proto": "l4proto",
    "nfproto": "nfproto",
    "protocol": "ethertype",
    "pkttype": "pkttype",
}
META_BARE = {"iifname", "oifname", "iif", "oif", "mark", "skuid", "skgid", "iiftype", "oiftype", "iifgroup", "oifgroup"}
META_WITH_META = {"mark", "skuid", "skgid"}
"""Keys that nft prints with ``meta`` before them though it would read them without."""
CT_TYPES = {"state": "ctstate", "status": "ctstatus", "mark": "mark", "direction": "ctdir", "helper": "text"}
BASES = {"link": "ll", "network": "nh", "transport": "th", "inner": "ih"}


@dataclass(frozen=True)
class Load:
    """What stands in a register."""

    text: str
    """``ip saddr``; of a value, its own spelling."""
    kind: str
    """Type, for netdiag.index.nftwords.value_word."""
    length: int
    """Octets."""
    mask: bytes | None = None
    """What a bitwise expression left of it."""
    value: bytes | None = None
    """Where it is a constant."""
    needs: str = ""
    """``network`` or ``transport``: which protocol nft implies by naming it."""


@dataclass
class Context:
    """Which protocols earlier expressions of the rule have tied down."""

    family: str
    """Of the table."""
    nfproto: int | None = None
    l4proto: int | None = None

    @property
    def v6(self) -> bool:
        """Whether the network header is that of IPv6."""
        return self.family == "ip6" or self.nfproto == 10


def _field(fields: dict[tuple[int, int], tuple[str, str]], offset: int, length: int) -> tuple[str, str] | None:
    if (offset, length) in fields:
        return fields[offset, length]
    for (start, size), (name, kind) in fields.items():
        if start == offset and length < size and kind in ("ipv4", "ipv6"):
            return name, kind  # only the leading octets: a prefix of eight bits or a multiple
    return None


def payload(one: NftExpression, at: Context, l4_names: dict[int, str]) -> Load:
    """A field of a header."""
    offset, length = one.offset or 0, one.length or 0
    found: tuple[str, str] | None = None
    name = ""
    needs = ""
    if one.key == "network" and at.family == "arp":
        pass
    elif one.key == "network":
        v6 = at.v6 or (
            at.nfproto is None and at.family not in ("ip", "arp") and (offset, length) in ((8, 16), (24, 16))
        )
        name, needs = ("ip6", "network") if v6 else ("ip", "network")
        found = _field(IP6_FIELDS if v6 else IP_FIELDS, offset, length)
    elif one.key == "transport":
        name = l4_names.get(at.l4proto or 0, "th")
        needs = "transport" if name != "th" else ""
        found = _field(TRANSPORTS.get(name, PORT_FIELDS), offset, length)
    elif one.key == "link":
        name, found = "ether", _field(LINK_FIELDS, offset, length)
    if found is None:
        return Load(f"@{BASES.get(one.key or '', '?')},{offset * 8},{length * 8}", "int", length)
    return Load(f"{name} {found[0]}", found[1], length, needs=needs)


def meta(one: NftExpression) -> Load:
    """A property of the packet."""
    key = one.key or "?"
    bare = key in META_BARE and key not in META_WITH_META
    kind = META_TYPES.get(key, "host")
    length = (
        16
        if kind in ("ifname", "text")
        else 1
        if key in ("l4proto", "nfproto", "pkttype")
        else 2
        if kind == "ethertype"
        else 4
    )
    return Load(key if bare else f"meta {key}", kind, length)


def ct(one: NftExpression) -> Load:
    """A property of the packet's connection."""
    key = one.key or "?"
    way = f"{one.flags[0]} " if one.flags else ""
    kind, length = CT_TYPES.get(key, "host"), 4
    if key in ("src", "saddr", "dst", "daddr"):
        kind, key = "ipv4", f"ip {'saddr' if key in ('src', 'saddr') else 'daddr'}"
    elif key in ("saddr6", "daddr6"):
        kind, length, key = "ipv6", 16, f"ip6 {key[:5]}"
    elif key in ("proto-src", "proto-dst"):
        kind, length = "port", 2
    elif key == "protocol":
        kind, length = "l4proto", 1
    elif key == "direction":
        length = 1
    return Load(f"ct {way}{key}", kind, length)


def other(one: NftExpression) -> Load:
    """fib, rt, socket, numgen, hash, exthdr."""
    if one.name == "fib":
        flags = " . ".join(flag for flag in one.flags if flag != "present")
        present = "present" in one.flags
        kind = "present" if present else {"type": "addrtype", "oifname": "ifname"}.get(one.key or "", "host")
        length = 1 if present else 16 if kind == "ifname" else 4
        return Load(f"fib {flags} {one.key}", kind, length)
    if one.name == "exthdr":
        if one.key == "tcpopt":
            name = {2: "maxseg", 3: "window", 4: "sack-perm", 8: "timestamp"}.get(one.number or 0, str(one.number))
            part = "" if "present" in one.flags else " size" if name == "maxseg" else f" @{one.offset},{one.length}"
            return Load(f"tcp option {name}{part}", "present" if "present" in one.flags else "int", one.length or 1)
        return Load(f"exthdr {one.number}", "present" if "present" in one.flags else "int", one.length or 1)
    if one.name == "numgen":
        return Load(f"numgen {one.key} mod {one.number}" + (f" offset {one.offset}" if one.offset else ""), "host", 4)
    if one.name == "hash":
        return Load(f"{one.key} mod {one.number}", "host", 4)
    return Load(f"{one.name} {one.key}", "mark" if one.key == "mark" else "host", 1 if one.name == "socket" else 4)
