"""Readers for payloads that only the attributes of interface kinds have; see linkkinds for their tables.

Formats from include/uapi/linux/{if_link,if_bridge,if_bonding}.h. Each raises DecodeError where the payload is too
short.
"""

from collections.abc import Callable
from typing import Any

from netdiag.sources.netlink.attributes import Buffer, DecodeError, address, be16, lladdr, u8, u16, u32, walk

Reader = Callable[[Buffer], Any]
Table = dict[int, tuple[str, Reader]]
"""Attribute number to its name and reader."""


def present(payload: Buffer) -> bool:
    """A flag: being there is all it says."""
    return True


def boolean(payload: Buffer) -> bool:
    """A byte that is zero or not."""
    return u8(payload) != 0


def named(read: Callable[[Buffer], int], *names: str) -> Reader:
    """A number that counts through ``names``; unknown ones stay numbers, as text."""

    def reader(payload: Buffer) -> str:
        value = read(payload)
        return names[value] if value < len(names) else str(value)

    return reader


def mapped(read: Callable[[Buffer], int], names: dict[int, str]) -> Reader:
    """A number with names for some of its values; others stay numbers, as text."""

    def reader(payload: Buffer) -> str:
        value = read(payload)
        return names.get(value, f"{value:#x}")

    return reader


def port_range(payload: Buffer) -> dict[str, int]:
    """struct ifla_vxlan_port_range, network order."""
    return {"low": be16(payload[:2]), "high": be16(payload[2:])}


def bridge_id(payload: Buffer) -> str:
    """struct ifla_bridge_id: priority and address, as ``ip`` prints it: 8000.52:54:0:0:0:1."""
    if len(payload) < 8:
        raise DecodeError("a bridge id of less than 8 bytes")
    raw = bytes(payload)
    return f"{raw[0]:02x}{raw[1]:02x}." + ":".join(f"{byte:x}" for byte in raw[2:8])


def sci(payload: Buffer) -> str:
    """A MACsec secure channel identifier: hardware address and port, as ``ip`` prints it."""
    if len(payload) < 8:
        raise DecodeError("a channel identifier of less than 8 bytes")
    return bytes(payload[:8]).hex()


def addresses(payload: Buffer) -> list[str]:
    """A nest of addresses (ARP or ND targets of a bond)."""
    return [address(payload[start:end]) for _, start, end in walk(payload)]


def masked_u32(payload: Buffer) -> int:
    """Bits, then a mask of those that count (struct ifla_vlan_flags, struct br_boolopt_multi)."""
    return u32(payload)


def aggregator(payload: Buffer) -> dict[str, Any]:
    """IFLA_BOND_AD_INFO: the active 802.3ad aggregator."""
    table: Table = {
        1: ("aggregator", u16),
        2: ("num_ports", u16),
        3: ("actor_key", u16),
        4: ("partner_key", u16),
        5: ("partner_mac", lladdr),
    }
    return {table[kind][0]: table[kind][1](payload[a:b]) for kind, a, b in walk(payload) if kind in table}


def u32_or_u16(payload: Buffer) -> int:
    """IFLA_IPTUN_FLAGS: 16 bits from sit, 32 from ip6_tunnel."""
    return u32(payload) if len(payload) >= 4 else u16(payload)
