"""A packet as nftables rules look at it: what is known of it, and what is not.

Every field may be None: not known, so that a rule asking for it may match or not. Header bytes are laid out as on the
wire (RFC 791, 8200, 9293, 768, 792), unknown bytes as None. Pure; ValueError on an address that is none.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from netdiag.model.conntrack import IPS_DST_NAT, IPS_SRC_NAT

CT_BITS = {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}
ADDRTYPES = {"unicast": 1, "local": 2, "broadcast": 3, "anycast": 4, "multicast": 5, "blackhole": 6, "unreachable": 7}
Bytes = list[int | None]
"""Octets, each known or not."""


@dataclass(frozen=True, kw_only=True)
class Packet:
    """One packet, or a kind of packet where fields are None."""

    family: str = "inet"
    """``inet`` or ``inet6``."""
    iif: str | None = ""
    """Interface that it came in by; empty: none (made by this host); None: not known."""
    oif: str | None = ""
    """Interface that it leaves by; empty: none (yet)."""
    iifindex: int | None = None
    oifindex: int | None = None
    saddr: str | None = None
    """An address, or a prefix (``10.0.0.0/24``): some address of it."""
    daddr: str | None = None
    proto: int | None = None
    """IANA's number: 6 tcp, 17 udp, 1 icmp, 58 icmpv6."""
    sport: int | None = None
    dport: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    tcp_flags: int | None = None
    """Of a first packet: 2 (SYN)."""
    ct_state: str | None = "new"
    """``new``, ``established``, ``related``, ``invalid``, ``untracked``."""
    ct_reply: bool | None = False
    """Whether it goes against the direction of its connection's first packet."""
    ct_mark: int | None = 0
    dnatted: bool | None = False
    """Whether its connection's destination was rewritten (iptables' ctstate DNAT)."""
    snatted: bool | None = False
    """Whether its connection's source was."""
    mark: int | None = 0
    uid: int | None = None
    size: int | None = None
    """Bytes of the packet with its IP header."""
    saddr_type: str | None = None
    """What the routing tables call the source: ``unicast``, ``local`` ..."""
    daddr_type: str | None = None
    """What the routing tables call the destination."""
    fib: Callable[[tuple[str, ...], str, "Packet"], bytes | None] | None = None
    """Answers a fib expression from its flags and result: the octets that it would load, None where not known."""

    @property
    def nfproto(self) -> int:
        """NFPROTO_IPV4 2 or NFPROTO_IPV6 10."""
        return 2 if self.family == "inet" else 10


def _address(text: str | None, length: int) -> Bytes:
    if text is None:
        return [None] * length
    if "/" in text:
        network = ipaddress.ip_network(text, strict=False)
        whole = network.prefixlen // 8  # an octet that the prefix holds in part counts as not known
        return [*network.network_address.packed[:whole], *[None] * (length - whole)]
    return list(ipaddress.ip_address(text).packed)


def _number(value: int | None, length: int) -> Bytes:
    return [None] * length if value is None else list(value.to_bytes(length, "big"))


@lru_cache(maxsize=8)
def network_header(packet: Packet) -> Bytes:
    """The IP header: 20 or 40 octets. Not to be changed by the caller."""
    if packet.family == "inet":
        head: Bytes = [0x45, None, *_number(packet.size, 2), None, None, None, None, None]
        return [*head, packet.proto, None, None, *_address(packet.saddr, 4), *_address(packet.daddr, 4)]
    length = None if packet.size is None else max(packet.size - 40, 0)
    return [
        *(None, None, None, None),
        *_number(length, 2),
        packet.proto,
        None,
        *_address(packet.saddr, 16),
        *_address(packet.daddr, 16),
    ]


@lru_cache(maxsize=8)
def transport_header(packet: Packet) -> Bytes:
    """The first 20 octets behind the IP header, as far as they are known. Not to be changed by the caller."""
    head: Bytes = [None] * 20
    if packet.proto in (1, 58):
        head[0], head[1] = packet.icmp_type, packet.icmp_code
        return head
    head[0:2], head[2:4] = _number(packet.sport, 2), _number(packet.dport, 2)
    if packet.proto == 6:
        head[13] = packet.tcp_flags
    return head


def meta_octets(key: str, packet: Packet) -> Bytes | None:
    """What a meta expression loads; None: nobody here knows how long it is."""
    if key in ("iifname", "oifname"):
        name = packet.iif if key == "iifname" else packet.oif
        return [None] * 16 if name is None else list(name.encode()[:15].ljust(16, b"\0"))
    if key in ("iif", "oif"):
        name, index = (packet.iif, packet.iifindex) if key == "iif" else (packet.oif, packet.oifindex)
        return _host(0 if name == "" else index)
    if key == "mark":
        return _host(packet.mark)
    if key == "l4proto":
        return [packet.proto]
    if key == "nfproto":
        return [packet.nfproto]
    if key == "protocol":
        return list((0x0800 if packet.family == "inet" else 0x86DD).to_bytes(2, "big"))
    if key == "skuid":
        return _host(packet.uid)
    if key == "length":
        return _host(packet.size)
    return None


def _status(packet: Packet) -> int | None:
    """IPS_* of a connection that begins with this packet: it has no answer and is not confirmed before its last hook.
    Those that tell that translation was tried are left out: no rule can ask for them by name."""
    if packet.ct_state != "new" or packet.dnatted is None or packet.snatted is None:
        return None
    return IPS_SRC_NAT * packet.snatted | IPS_DST_NAT * packet.dnatted


def ct_octets(key: str, packet: Packet) -> Bytes | None:
    """What a ct expression loads."""
    if key == "state":
        return _host(None if packet.ct_state is None else CT_BITS[packet.ct_state])
    if key == "mark":
        return _host(packet.ct_mark)
    if key == "status":
        return _host(_status(packet))
    if key == "direction":
        return [None if packet.ct_reply is None else int(packet.ct_reply)]
    return None


def _host(value: int | None) -> Bytes:
    """A number of 32 bits in the byte order of the host: little, on everything that runs netdiag."""
    return [None] * 4 if value is None else list((value & 0xFFFFFFFF).to_bytes(4, "little"))
