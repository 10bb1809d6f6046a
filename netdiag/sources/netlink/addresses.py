"""RTM_NEWADDR into model.Address.

Formats: include/uapi/linux/if_addr.h (struct ifaddrmsg, 8 bytes; IFA_*), inet_fill_ifaddr() in net/ipv4/devinet.c and
inet6_fill_ifaddr() in net/ipv6/addrconf.c. IPv4 sends IFA_LOCAL always and IFA_ADDRESS as the far end, the same where
there is none; IPv6 sends IFA_LOCAL only together with a peer. Damaged attributes are left out and counted in
``malformed``, a message without an address is dropped and counted there too; unknown attributes are counted in
``unknown``.
"""

from struct import Struct
from typing import Any

from netdiag.model.address import Address
from netdiag.model.text import kernel_text
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.attributes import DecodeError, address, u8, u32, walk
from netdiag.sources.netlink.messages import walk_messages

_IFADDRMSG = Struct("=BBBBi")
"""struct ifaddrmsg: family, prefixlen, flags (its low byte), scope, ifindex."""
_CACHEINFO = Struct("=IIII")
"""struct ifa_cacheinfo: preferred, valid (seconds), created, updated (hundredths of a second since boot)."""
FOREVER = 0xFFFFFFFF
"""INFINITY_LIFE_TIME."""
FAMILIES = {nl.AF_INET: "inet", nl.AF_INET6: "inet6"}


_READERS = {
    nl.IFA_ADDRESS: ("address", address),
    nl.IFA_LOCAL: ("local", address),
    nl.IFA_BROADCAST: ("broadcast", address),
    nl.IFA_ANYCAST: ("anycast", address),
    nl.IFA_FLAGS: ("flags", u32),
    nl.IFA_RT_PRIORITY: ("rt_priority", u32),
    nl.IFA_PROTO: ("proto", u8),
    nl.IFA_LABEL: ("label", kernel_text),
}
_IGNORED = {nl.IFA_MULTICAST, nl.IFA_TARGET_NETNSID}


class AddressSink:
    """Sink for a dump of addresses of one family or of all; ``addresses`` has them in dump order."""

    def __init__(self) -> None:
        self.addresses: list[Address] = []
        self.unknown: dict[int, int] = {}
        self.malformed = 0

    def reset(self) -> None:
        """Forget everything."""
        self.addresses.clear()
        self.unknown.clear()
        self.malformed = 0

    def feed(self, buffer: memoryview) -> None:
        """Whole messages, as the transport has them."""
        octets = bytes(buffer)
        for message in walk_messages(octets):
            if message.type == nl.RTM_NEWADDR:
                self._message(octets, message.start, message.end)

    def _message(self, octets: bytes, start: int, end: int) -> None:
        if end - start < _IFADDRMSG.size:
            self.malformed += 1
            return
        family, prefixlen, flags, scope, ifindex = _IFADDRMSG.unpack_from(octets, start)
        if family not in FAMILIES:
            return
        fields: dict[str, Any] = {"flags": flags}
        position = start + _IFADDRMSG.size
        for kind, first, stop in walk(octets, position, end):
            position = (stop + 3) & ~3
            try:
                self._attribute(fields, kind, octets[first:stop])
            except DecodeError:
                self.malformed += 1
        self.malformed += position < end
        far = fields.pop("address", None)
        local = fields.pop("local", None) or far
        if local is None:
            self.malformed += 1
            return
        name = FAMILIES[family]
        peer = far if far != local else None
        row = Address(ifindex=ifindex, family=name, local=local, peer=peer, prefixlen=prefixlen, scope=scope, **fields)
        self.addresses.append(row)

    def _attribute(self, fields: dict[str, Any], kind: int, payload: bytes) -> None:
        known = _READERS.get(kind)
        if known is not None:
            fields[known[0]] = known[1](payload)
        elif kind == nl.IFA_CACHEINFO:
            if len(payload) < _CACHEINFO.size:
                raise DecodeError("struct ifa_cacheinfo is cut short")
            preferred, valid, created, _ = _CACHEINFO.unpack_from(payload)
            fields["preferred_lft"] = None if preferred == FOREVER else preferred
            fields["valid_lft"] = None if valid == FOREVER else valid
            fields["created"] = created / 100
        elif kind not in _IGNORED:
            self.unknown[kind] = self.unknown.get(kind, 0) + 1
