"""A packet as octets: an Ethernet frame that a BPF program can be run on, and back again.

RFC 791, 8200, 768, 9293 and 792; checksums are right, the payload is zero. Pure; ValueError for an address that is
none.
"""

import ipaddress
from dataclasses import replace
from struct import pack, unpack, unpack_from

from netdiag.model.protocols import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP
from netdiag.path.trail import Packet

ETHERNET = 14
SHORTEST = 64
"""Bytes of the IP packet where no size was asked for."""
SYN, SYN_ACK = 0x02, 0x12


def frame(packet: Packet, source: str | None = None, destination: str | None = None) -> bytes:
    """The whole frame; ``source`` and ``destination`` are hardware addresses, zero where not known."""
    v4 = packet.family == "inet"
    src, dst = _address(packet.src, v4), _address(packet.dst, v4)
    header = 20 if v4 else 40
    room = max(packet.size or SHORTEST, header + 20) - header
    proto = packet.ip_proto or IPPROTO_UDP
    body = _transport(packet, proto, room, src + dst)
    if v4:
        flags = 0x4000 if packet.df else 0
        head = pack("!BBHHHBBH", 0x45, packet.tos, header + room, 0, flags, 64, proto, 0) + src + dst
        head = head[:10] + pack("!H", checksum(head)) + head[12:]
    else:
        head = pack("!IHBB", 6 << 28 | packet.tos << 20, room, proto, 64) + src + dst
    ends = b"".join(bytes.fromhex((mac or "").replace(":", "")).ljust(6, b"\0")[:6] for mac in (destination, source))
    return ends + pack("!H", 0x0800 if v4 else 0x86DD) + head + body


def _address(text: str | None, v4: bool) -> bytes:
    return ipaddress.ip_address(text).packed if text else bytes(4 if v4 else 16)


def _transport(packet: Packet, proto: int, room: int, ends: bytes) -> bytes:
    sport, dport = packet.sport or 0, packet.dport or 0
    if proto == IPPROTO_TCP:
        flags = SYN_ACK if packet.related else SYN
        body, at = pack("!HHIIBBHHH", sport, dport, 1, 0, 0x50, flags, 0xFFFF, 0, 0), 16
    elif proto in (IPPROTO_ICMP, IPPROTO_ICMPV6):
        kind = packet.icmp_type or {IPPROTO_ICMP: 0 if packet.related else 8}.get(proto, 129 if packet.related else 128)
        body, at = pack("!BBHHH", kind, 0, 0, 1, 1), 2
    else:
        body, at = pack("!HHHH", sport, dport, room, 0), 6
    body = body.ljust(room, b"\0")
    pseudo = b"" if proto == IPPROTO_ICMP else ends + pack("!IHBB", room, 0, 0, proto)
    if proto not in (IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6):
        return body
    return body[:at] + pack("!H", checksum(pseudo + body) or 0xFFFF) + body[at + 2 :]


def checksum(octets: bytes) -> int:
    """RFC 1071."""
    octets += bytes(len(octets) % 2)
    total: int = sum(unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def changed(packet: Packet, before: bytes, after: bytes) -> Packet | None:
    """The packet with the addresses, ports and DS field that a program gave it; None: it is no such packet any more."""
    if before == after:
        return packet
    v4 = packet.family == "inet"
    kind, size, at, header, proto = (0x0800, 4, 26, 20, 23) if v4 else (0x86DD, 16, 22, 40, 20)
    if len(after) < ETHERNET + header + 8 or unpack_from("!H", after, 12)[0] != kind or after[proto] != before[proto]:
        return None
    if v4 and after[ETHERNET] != 0x45:
        return None
    src, dst = (str(ipaddress.ip_address(after[start : start + size])) for start in (at, at + size))
    ported = packet.ip_proto in (IPPROTO_TCP, IPPROTO_UDP, None)
    ports = unpack_from("!HH", after, ETHERNET + header) if ported else (None, None)
    kept = [
        new if old is not None or new else old for old, new in zip((packet.sport, packet.dport), ports, strict=True)
    ]
    tos = after[ETHERNET + 1] if v4 else unpack_from("!H", after, ETHERNET)[0] >> 4 & 0xFF
    longer = len(after) - len(before)
    size_now = packet.size + longer if packet.size is not None else None
    return replace(packet, src=src, dst=dst, sport=kept[0], dport=kept[1], tos=tos, size=size_now)


def notes(before: bytes, after: bytes) -> list[str]:
    """What else a program changed: hardware addresses, hops that are left, what is behind the headers."""
    told = [
        f"{name} {before[at : at + 6].hex(':')} > {after[at : at + 6].hex(':')}"
        for name, at in (("destination address", 0), ("source address", 6))
        if before[at : at + 6] != after[at : at + 6]
    ]
    hops = ETHERNET + (8 if before[12:14] == b"\x08\x00" else 7)
    if before[12:14] == after[12:14] and before[hops : hops + 1] != after[hops : hops + 1]:
        told.append(f"ttl {before[hops]} > {after[hops]}" if len(after) > hops else "its end")
    if len(before) != len(after):
        told.append(f"length {len(before) - ETHERNET} > {len(after) - ETHERNET}")
    return told
