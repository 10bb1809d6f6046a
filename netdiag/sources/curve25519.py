"""The public key that belongs to a Curve25519 private key (RFC 7748, sections 4.1 and 5), in twenty lines of integers.

WireGuard's userspace protocol tells a device's private key but not its public one, which is the name that the rest of
the mesh knows the host by. The Python standard library has no X25519, and a cryptography package for one multiplication
a device would be the heaviest thing netdiag installs. Not constant in time: the result is public, and whoever could
measure us here can ask the daemon for the key itself. Pure; nothing can fail.
"""

P = 2**255 - 19
A24 = 121665
BASE_POINT = 9


def public_key(private_key: bytes) -> bytes:
    """32 bytes of public key for 32 bytes of private key: X25519(private_key, 9)."""
    scalar = int.from_bytes(private_key, "little")
    scalar = scalar & ~7 & ((1 << 254) - 1) | (1 << 254)
    x1, x2, z2, x3, z3 = BASE_POINT, 1, 0, BASE_POINT, 1
    swap = 0
    for position in range(254, -1, -1):
        bit = scalar >> position & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b = x2 + z2, x2 - z2
        aa, bb = a * a % P, b * b % P
        e = aa - bb
        da, cb = (x3 - z3) * a, (x3 + z3) * b
        x3 = (da + cb) ** 2 % P
        z3 = x1 * (da - cb) ** 2 % P
        x2 = aa * bb % P
        z2 = e * (aa + A24 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")
