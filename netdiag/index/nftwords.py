"""nft's words for numbers and octets: addresses, ports, flags, states, ICMP codes. Pure; nothing can fail.

Sources: the tables of nft's src/datatype.c, proto.c and ct.c as its manual page shows them; IANA's protocol numbers.
"""

import ipaddress
from collections.abc import Mapping

L4 = {
    1: "icmp",
    6: "tcp",
    17: "udp",
    33: "dccp",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "icmpv6",
    132: "sctp",
    136: "udplite",
}
NFPROTO = {2: "ipv4", 10: "ipv6", 3: "arp", 7: "bridge"}
CT_STATES = {0x1: "invalid", 0x2: "established", 0x4: "related", 0x8: "new", 0x40: "untracked"}
CT_STATUS = {
    0x1: "expected",
    0x2: "seen-reply",
    0x4: "assured",
    0x8: "confirmed",
    0x10: "snat",
    0x20: "dnat",
    0x200: "dying",
}
TCP_FLAGS = {1: "fin", 2: "syn", 4: "rst", 8: "psh", 16: "ack", 32: "urg", 64: "ecn", 128: "cwr"}
ICMP = {
    0: "echo-reply",
    3: "destination-unreachable",
    4: "source-quench",
    5: "redirect",
    8: "echo-request",
    9: "router-advertisement",
    10: "router-solicitation",
    11: "time-exceeded",
    12: "parameter-problem",
    13: "timestamp-request",
    14: "timestamp-reply",
}
ICMPV6 = {
    1: "destination-unreachable",
    2: "packet-too-big",
    3: "time-exceeded",
    4: "parameter-problem",
    128: "echo-request",
    129: "echo-reply",
    130: "mld-listener-query",
    131: "mld-listener-report",
    132: "mld-listener-done",
    133: "nd-router-solicit",
    134: "nd-router-advert",
    135: "nd-neighbor-solicit",
    136: "nd-neighbor-advert",
    137: "nd-redirect",
    143: "mld2-listener-report",
}
REJECT_ICMP = {
    0: "net-unreachable",
    1: "host-unreachable",
    2: "prot-unreachable",
    3: "port-unreachable",
    9: "net-prohibited",
    10: "host-prohibited",
    13: "admin-prohibited",
}
REJECT_ICMPV6 = {
    0: "no-route",
    1: "admin-prohibited",
    3: "addr-unreachable",
    4: "port-unreachable",
    5: "policy-fail",
    6: "reject-route",
}
REJECT_ICMPX = {0: "no-route", 1: "port-unreachable", 2: "host-unreachable", 3: "admin-prohibited"}
ADDRTYPES = {
    1: "unicast",
    2: "local",
    3: "broadcast",
    4: "anycast",
    5: "multicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
}
PKTTYPES = {0: "host", 1: "broadcast", 2: "multicast", 3: "other"}
ETHERTYPES = {0x0800: "ip", 0x86DD: "ip6", 0x0806: "arp", 0x8100: "8021q", 0x88A8: "8021ad"}
UNITS = {1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week"}
NAMES: Mapping[str, Mapping[int, str]] = {
    "l4proto": L4,
    "nfproto": NFPROTO,
    "icmp": ICMP,
    "icmpv6": ICMPV6,
    "addrtype": ADDRTYPES,
    "pkttype": PKTTYPES,
    "ethertype": ETHERTYPES,
    "ctdir": {0: "original", 1: "reply"},
    "present": {0: "missing", 1: "exists"},
}
BITS: Mapping[str, Mapping[int, str]] = {"ctstate": CT_STATES, "ctstatus": CT_STATUS, "tcpflags": TCP_FLAGS}
HOST_ORDER = frozenset({"ctstate", "ctstatus", "mark", "host", "addrtype", "ifindex"})
"""Types whose octets are a number in the byte order of the host; of everything else in network order."""
PRIORITIES = {-300: "raw", -150: "mangle", -100: "dstnat", 0: "filter", 50: "security", 100: "srcnat"}
BRIDGE_PRIORITIES = {-300: "dstnat", -200: "filter", 100: "out", 300: "srcnat"}


def number_of(kind: str, octets: bytes) -> int:
    """The number that octets in a register stand for."""
    return int.from_bytes(octets, "little" if kind in HOST_ORDER else "big")


def bit_words(kind: str, number: int, between: str = ",") -> str:
    """``new,established``; a hexadecimal number where a bit has no name."""
    names = BITS[kind]
    if number & ~sum(names):
        return hex(number)
    return between.join(name for bit, name in names.items() if number & bit) or hex(number)


def value_word(kind: str, octets: bytes) -> str:
    """One value as nft spells it. A prefix of an address or name (fewer octets) is marked as such."""
    if kind == "ipv4" and len(octets) <= 4:
        text = str(ipaddress.IPv4Address(octets.ljust(4, b"\0")))
        return text if len(octets) == 4 else f"{text}/{8 * len(octets)}"
    if kind == "ipv6" and len(octets) <= 16:
        text = str(ipaddress.IPv6Address(octets.ljust(16, b"\0")))
        return text if len(octets) == 16 else f"{text}/{8 * len(octets)}"
    if kind == "ifname":
        name = octets.rstrip(b"\0").decode("utf-8", "backslashreplace")
        return f'"{name}"' if b"\0" in octets or len(octets) == 16 else f'"{name}*"'
    if kind == "ether":
        return octets.hex(":")
    if kind == "text":
        name = octets.rstrip(b"\0").decode("utf-8", "backslashreplace")
        return f'"{name}"'
    number = number_of(kind, octets)
    if kind in BITS:
        return bit_words(kind, number)
    if kind in NAMES:
        return NAMES[kind].get(number, str(number))
    return f"0x{number:08x}" if kind == "mark" else str(number)


def range_word(kind: str, first: bytes, last: bytes) -> str:
    """An interval: a prefix where it is one, else ``first-last``."""
    if first == last:
        return value_word(kind, first)
    if kind in ("ipv4", "ipv6"):
        low, high = int.from_bytes(first, "big"), int.from_bytes(last, "big")
        host = (low ^ high).bit_length()
        if low & ((1 << host) - 1) == 0 and high & ((1 << host) - 1) == (1 << host) - 1:
            return f"{value_word(kind, first)}/{8 * len(first) - host}"
    return f"{value_word(kind, first)}-{value_word(kind, last)}"


def prefix_length(mask: bytes) -> int | None:
    """How many leading ones a mask has; None where it is not ones and then zeros."""
    number = int.from_bytes(mask, "big")
    inverse = number ^ ((1 << 8 * len(mask)) - 1)
    return None if inverse & (inverse + 1) else 8 * len(mask) - inverse.bit_length()


def priority_word(family: str, priority: int) -> str:
    """``filter``, ``dstnat + 5``, or the number."""
    named = BRIDGE_PRIORITIES if family == "bridge" else PRIORITIES
    if priority in named:
        return named[priority]
    for base in sorted(named, key=lambda one: abs(one - priority)):
        if abs(priority - base) <= 10:
            return f"{named[base]} {'+' if priority > base else '-'} {abs(priority - base)}"
    return str(priority)
