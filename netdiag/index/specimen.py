"""A few addresses out of a prefix, to put routing questions about the whole of it.

A prefix cannot be asked for, an address can; and the first address of a prefix may belong to a longer one. So several
are given, spread over the prefix and always the same ones. Pure; ValueError for text that is no prefix.
"""

import ipaddress

_ANYWHERE = {
    4: ("198.51.100.1", "203.0.113.1", "192.0.2.1", "9.9.9.9", "45.0.0.1", "150.0.0.1", "210.0.0.1"),
    6: ("2001:db8:ffff::1", "2620:fe::fe", "2400::1", "2a00::1", "2600::1"),
}
"""Public unicast addresses, spread over what is in use; the first ones are for documentation (RFC 5737, RFC 3849)."""


def specimens(prefix: str) -> tuple[str, ...]:
    """Addresses of the prefix: one for a host route, up to four otherwise, public ones all over for a default route."""
    network = ipaddress.ip_network(prefix, strict=False)
    if network.prefixlen == 0:
        return _ANYWHERE[network.version]
    size = network.num_addresses
    offsets = sorted({min(1, size - 1), size // 3, 2 * size // 3, max(0, size - 2)})
    return tuple(str(network.network_address + offset) for offset in offsets)
