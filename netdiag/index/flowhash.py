"""Which next hop of several an IPv4 flow takes, where the key of the kernel's hash is known.

The key is random at every boot, unless net.ipv4.fib_multipath_hash_seed is set (Linux 6.11). Mirrors
fib_multipath_hash() of net/ipv4/route.c for the policies 0 and 1, flow_hash_from_keys() of net/core/flow_dissector.c
(SipHash-2-4 over struct flow_keys from ``basic`` on), fib_rebalance() and fib_select_multipath() of
net/ipv4/fib_semantics.c, and the hash-threshold groups of net/ipv4/nexthop.c. Of machines whose lowest byte comes
first. Pure; ValueError for an address that is none.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address
from struct import pack, unpack

MASK = 2**64 - 1
BEFORE_PORTS = 28
"""Bytes of struct flow_keys from ``basic`` to ``ports``: basic 4, tags 4, vlan 8, cvlan 8, keyid 4."""
LENGTH = 48
"""Bytes that are hashed for IPv4: flow_keys_hash_length()."""


def _rotated(number: int, bits: int) -> int:
    return (number << bits | number >> (64 - bits)) & MASK


def siphash(key: tuple[int, int], octets: bytes) -> int:
    """SipHash-2-4 (Aumasson and Bernstein, 2012): 64 bits."""
    a, b = key[0] ^ 0x736F6D6570736575, key[1] ^ 0x646F72616E646F6D
    c, d = key[0] ^ 0x6C7967656E657261, key[1] ^ 0x7465646279746573

    def rounds(count: int) -> None:
        nonlocal a, b, c, d
        for _ in range(count):
            a = (a + b) & MASK
            b = _rotated(b, 13) ^ a
            a = _rotated(a, 32)
            c = (c + d) & MASK
            d = _rotated(d, 16) ^ c
            a = (a + d) & MASK
            d = _rotated(d, 21) ^ a
            c = (c + b) & MASK
            b = _rotated(b, 17) ^ c
            c = _rotated(c, 32)

    whole = len(octets) // 8 * 8
    last = octets[whole:].ljust(7, b"\0") + bytes([len(octets) & 0xFF])
    for word in unpack(f"<{whole // 8 + 1}Q", octets[:whole] + last):
        d ^= word
        rounds(2)
        a ^= word
    c ^= 0xFF
    rounds(4)
    return a ^ b ^ c ^ d


def flow_hash(seed: int, src: str | None, dst: str, *, ports: tuple[int, int] | None = None, proto: int = 0) -> int:
    """fib_multipath_hash(): 31 bits. Without a source it is zero; ``ports`` and ``proto`` count for policy 1 only."""
    ends = [IPv4Address(src or "0.0.0.0").packed, IPv4Address(dst).packed]
    given = [pack(">H", port) for port in ports or (0, 0)]
    # __flow_hash_consistentify(): both directions of a flow hash alike, as the machine's numbers compare.
    ends.sort(key=lambda octets: int.from_bytes(octets, "little"))
    given.sort(key=lambda octets: int.from_bytes(octets, "little"))
    keys = (bytes([0, 0, proto, 0]).ljust(BEFORE_PORTS, b"\0") + b"".join(given) + bytes(4) + b"".join(ends)).ljust(
        LENGTH, b"\0"
    )
    seed &= 0xFFFFFFFF
    half = seed << 32 | seed
    return (siphash((half, half), keys) & 0xFFFFFFFF or 1) >> 1


def chosen(value: int, weights: Sequence[int]) -> int:
    """Position of the next hop whose share of the hash's range holds the value. A weight below 1 counts as 1."""
    weights = [max(1, weight) for weight in weights]
    total, upto = sum(weights), 0
    for position, weight in enumerate(weights):
        upto += weight
        if value <= ((upto << 31) + total // 2) // total - 1:
            return position
    return len(weights) - 1
