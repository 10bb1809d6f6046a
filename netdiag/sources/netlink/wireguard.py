"""WireGuard over generic netlink: the requests, the blanking of secrets, and the decoder.

Source: WG_CMD_GET_DEVICE (drivers/net/wireguard/netlink.c wg_get_device_dump()). The kernel always sends private and
preshared keys to whoever may ask (CAP_NET_ADMIN), so they are overwritten in the receive buffer before anything else
sees it. A device's peers are split over messages, and a peer's allowed-ips too: what follows is joined by public key.

The family's number is found in the nameless dump of all families: asking for it by name would load the module.
"""

import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from socket import inet_ntop
from struct import Struct, pack, unpack

from netdiag.model.text import kernel_text
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.messages import DumpRequest, Sink, walk_messages

GENL_ID_CTRL = 0x10
CTRL_CMD_NEWFAMILY, CTRL_CMD_GETFAMILY = 1, 3
CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 1, 2
GENL_HEADER = 4
"""struct genlmsghdr: command, version, reserved."""

WG_CMD_GET_DEVICE = 0
DEVICE_IFINDEX, DEVICE_IFNAME, DEVICE_PRIVATE_KEY, DEVICE_PUBLIC_KEY = 1, 2, 3, 4
DEVICE_LISTEN_PORT, DEVICE_FWMARK, DEVICE_PEERS = 6, 7, 8
PEER_PUBLIC_KEY, PEER_PRESHARED_KEY, PEER_ENDPOINT, PEER_KEEPALIVE = 1, 2, 4, 5
PEER_HANDSHAKE, PEER_RX_BYTES, PEER_TX_BYTES, PEER_ALLOWEDIPS, PEER_PROTOCOL_VERSION = 6, 7, 8, 9, 10
ALLOWEDIP_FAMILY, ALLOWEDIP_IPADDR, ALLOWEDIP_CIDR_MASK = 1, 2, 3

_ATTRIBUTE = Struct("=HH")
_U16, _U32, _U64, _TIMESPEC, _PORT = Struct("=H"), Struct("=I"), Struct("=Q"), Struct("=qq"), Struct("!H")
_INET, _INET6 = int(nl.AF_INET), int(nl.AF_INET6)
KEY_LENGTH = 32
PRESENT = b"\1" + bytes(KEY_LENGTH - 1)
"""What a preshared key is overwritten with: the fact that there was one."""
MAX_PEERS = 1 << 20
"""The module's own limit (messages.h, MAX_PEERS_PER_DEVICE)."""

Buffer = bytes | bytearray | memoryview


def _header(length: int, kind: int) -> int:
    """An attribute's header, read as one number."""
    (number,) = unpack("=I", pack("=HH", 4 + length, kind))
    return int(number)


# What the module writes is written in one order (netlink.c get_peer(), get_allowedips()): where the headers are the
# expected ones, one unpacking reads it all. Whatever looks otherwise is walked attribute by attribute.
_HEAD = Struct("=I32sI32sIqqIHxxIQIQI4x")
"""Key, preshared key, handshake, keepalive, tx, rx, protocol version: each after its header."""
_HEAD_HEADERS = (
    _header(KEY_LENGTH, PEER_PUBLIC_KEY),
    _header(KEY_LENGTH, PEER_PRESHARED_KEY),
    _header(16, PEER_HANDSHAKE),
    _header(2, PEER_KEEPALIVE),
    _header(8, PEER_TX_BYTES),
    _header(8, PEER_RX_BYTES),
    _header(4, PEER_PROTOCOL_VERSION),
)
_head_headers = itemgetter(0, 2, 4, 7, 9, 11, 13)
_NO_KEY = bytes(KEY_LENGTH)
_KEY_AT = 4 + KEY_LENGTH + 4
"""Where in the head the preshared key begins."""
_INET_ENDPOINT = Struct("=IH2s4s8x")
_ENDPOINT_HEADER = _header(16, PEER_ENDPOINT)
_INET_PREFIX, _INET6_PREFIX = Struct("=IIBxxxIHxxI4s"), Struct("=IIBxxxIHxxI16s")
"""An allowed-ip: its nest, length, family and address."""
_MASK_HEADER, _FAMILY_HEADER = _header(1, ALLOWEDIP_CIDR_MASK), _header(2, ALLOWEDIP_FAMILY)
_INET_HEADERS = (_INET_PREFIX.size, _MASK_HEADER, _FAMILY_HEADER, nl.AF_INET, _header(4, ALLOWEDIP_IPADDR))
_INET6_HEADERS = (_INET6_PREFIX.size, _MASK_HEADER, _FAMILY_HEADER, nl.AF_INET6, _header(16, ALLOWEDIP_IPADDR))


def attributes(buffer: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Type, start and end of each attribute's payload; ends quietly at the first malformed one."""
    unpack = _ATTRIBUTE.unpack_from
    while start + 4 <= end:
        length, kind = unpack(buffer, start)
        if length < 4 or start + length > end:
            return
        yield kind & nl.NLA_TYPE_MASK, start + 4, start + length
        start += (length + 3) & ~3


def families() -> DumpRequest:
    """Every generic netlink family there is now; none is named, so none is loaded."""
    return DumpRequest("CTRL_CMD_GETFAMILY", nl.NETLINK_GENERIC, GENL_ID_CTRL, pack("=BBH", CTRL_CMD_GETFAMILY, 2, 0))


def device(family: int, ifname: str, ifindex: int) -> DumpRequest:
    """One device with all its peers. ``ifname`` only names the recording: the kernel is asked by index."""
    body = pack("=BBH", WG_CMD_GET_DEVICE, 1, 0) + pack("=HHI", 8, DEVICE_IFINDEX, ifindex)
    return DumpRequest(f"WG_CMD_GET_DEVICE {ifname}", nl.NETLINK_GENERIC, family, body)


@dataclass
class Families:
    """Sink for ``families()``: family numbers by name."""

    numbers: dict[str, int] = field(default_factory=dict)

    def reset(self) -> None:
        self.numbers.clear()

    def feed(self, buffer: memoryview) -> None:
        for message in walk_messages(buffer):
            if message.type != GENL_ID_CTRL:
                continue
            number, name = 0, ""
            for kind, start, end in attributes(buffer, message.start + GENL_HEADER, message.end):
                if kind == CTRL_ATTR_FAMILY_ID and end - start >= 2:
                    (number,) = _U16.unpack_from(buffer, start)
                elif kind == CTRL_ATTR_FAMILY_NAME:
                    name = kernel_text(buffer[start:end])
            self.numbers[name] = number


def blank(buffer: memoryview) -> None:
    """Overwrite every private and preshared key in a buffer of WG_CMD_GET_DEVICE replies, in place.

    The layout is walked by the same rules as the decoder's, so what the decoder could reach is blanked. A preshared
    key that is set leaves ``PRESENT``.
    """
    for message in walk_messages(buffer):
        if message.type < nl.NLMSG_MIN_TYPE:
            continue
        for kind, start, end in attributes(buffer, message.start + GENL_HEADER, message.end):
            if kind == DEVICE_PRIVATE_KEY:
                buffer[start:end] = bytes(end - start)
            elif kind == DEVICE_PEERS:
                for _, peer_start, peer_end in attributes(buffer, start, end):
                    _blank_peer(buffer, peer_start, peer_end)


def _blank_peer(buffer: memoryview, start: int, end: int) -> None:
    if end - start >= _HEAD.size:
        head = _HEAD.unpack_from(buffer, start)
        if _head_headers(head) == _HEAD_HEADERS:
            if head[3] != _NO_KEY:
                buffer[start + _KEY_AT : start + _KEY_AT + KEY_LENGTH] = PRESENT
            start += _HEAD.size
    for inner, key_start, key_end in attributes(buffer, start, end):
        if inner == PEER_PRESHARED_KEY:
            length = key_end - key_start
            given = any(buffer[key_start:key_end])
            buffer[key_start:key_end] = PRESENT[:length].ljust(length, b"\0") if given else bytes(length)


@dataclass
class BlankingSink:
    """Blanks secrets, then hands the buffer on; every generic netlink dump goes through one."""

    sink: Sink

    def feed(self, buffer: memoryview) -> None:
        blank(buffer)
        self.sink.feed(buffer)

    def reset(self) -> None:
        self.sink.reset()


@dataclass(slots=True)
class _Peer:
    """A peer while its messages come in."""

    public_key: bytes
    preshared_key: bool = False
    handshake: float | None = None
    keepalive: int = 0
    tx_bytes: int = 0
    rx_bytes: int = 0
    endpoint: tuple[str, int] | tuple[None, None] = (None, None)
    allowed_ips: list[str] = field(default_factory=list)


def key_text(raw: Buffer) -> str:
    """A key in base64, as everybody writes them."""
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def _when(seconds: int, nanoseconds: int) -> float | None:
    return seconds + nanoseconds / 1e9 if seconds or nanoseconds else None


def _endpoint(raw: bytes) -> tuple[str, int] | tuple[None, None]:
    """Address and port of a struct sockaddr_in or sockaddr_in6; a link-local one keeps its scope as ``%ifindex``."""
    if len(raw) < 16:
        return None, None
    (family,) = _U16.unpack_from(raw)
    (port,) = _PORT.unpack_from(raw, 2)
    if family == nl.AF_INET:
        return inet_ntop(_INET, raw[4:8]), port
    if family == nl.AF_INET6 and len(raw) >= 28:
        (scope,) = _U32.unpack_from(raw, 24)
        return inet_ntop(_INET6, raw[8:24]) + (f"%{scope}" if scope else ""), port
    return None, None


def _allowed_ips(buffer: Buffer, start: int, end: int) -> list[str]:
    """Each prefix of a nest of allowed-ips; one that is no prefix is left out."""
    found: list[str] = []
    while start + _INET_PREFIX.size <= end:
        nest, mask, length, family, kind, header, address = _INET_PREFIX.unpack_from(buffer, start)
        if (nest & 0xFFFF, mask, family, kind, header) == _INET_HEADERS:
            found.append(f"{inet_ntop(_INET, address)}/{length}")
            start += _INET_PREFIX.size
            continue
        if start + _INET6_PREFIX.size <= end:
            nest, mask, length, family, kind, header, address = _INET6_PREFIX.unpack_from(buffer, start)
            if (nest & 0xFFFF, mask, family, kind, header) == _INET6_HEADERS:
                found.append(f"{inet_ntop(_INET6, address)}/{length}")
                start += _INET6_PREFIX.size
                continue
        break
    for _, first, last in attributes(buffer, start, end):
        prefix = _allowed_ip(buffer, first, last)
        if prefix is not None:
            found.append(prefix)
    return found


def _allowed_ip(buffer: Buffer, start: int, end: int) -> str | None:
    address, length = b"", 0
    for kind, first, last in attributes(buffer, start, end):
        if kind == ALLOWEDIP_IPADDR:
            address = bytes(buffer[first:last])
        elif kind == ALLOWEDIP_CIDR_MASK and last > first:
            length = buffer[first]
    if len(address) not in (4, 16):
        return None
    return f"{inet_ntop(_INET if len(address) == 4 else _INET6, address)}/{length}"


@dataclass
class DeviceSink:
    """Sink for ``device()``: the device, its peers joined over all messages."""

    public_key: str | None = None
    listen_port: int | None = None
    fwmark: int = 0
    peers: dict[bytes, _Peer] = field(default_factory=dict)

    def reset(self) -> None:
        self.public_key, self.listen_port, self.fwmark = None, None, 0
        self.peers.clear()

    def feed(self, buffer: memoryview) -> None:
        for message in walk_messages(buffer):
            if message.type < nl.NLMSG_MIN_TYPE:
                continue
            for kind, start, end in attributes(buffer, message.start + GENL_HEADER, message.end):
                if kind == DEVICE_PUBLIC_KEY and any(buffer[start:end]):
                    self.public_key = key_text(buffer[start:end])
                elif kind == DEVICE_LISTEN_PORT and end - start >= 2:
                    self.listen_port = _U16.unpack_from(buffer, start)[0] or None
                elif kind == DEVICE_FWMARK and end - start >= 4:
                    (self.fwmark,) = _U32.unpack_from(buffer, start)
                elif kind == DEVICE_PEERS:
                    for _, peer_start, peer_end in attributes(buffer, start, end):
                        self._peer(buffer, peer_start, peer_end)

    def _peer(self, buffer: memoryview, start: int, end: int) -> None:
        if end - start >= _HEAD.size and len(self.peers) < MAX_PEERS:
            head = _HEAD.unpack_from(buffer, start)
            if _head_headers(head) == _HEAD_HEADERS:
                _, key, _, preshared, _, seconds, nanoseconds, _, keepalive, _, tx, _, rx, _ = head
                when = seconds + nanoseconds / 1e9 if seconds else _when(seconds, nanoseconds)
                peer = self.peers[key] = _Peer(key, preshared != _NO_KEY, when, keepalive, tx, rx)
                start += _HEAD.size
                if end - start >= _INET_ENDPOINT.size:
                    header, family, port, address = _INET_ENDPOINT.unpack_from(buffer, start)
                    if header == _ENDPOINT_HEADER and family == _INET:
                        peer.endpoint = inet_ntop(_INET, address), port[0] << 8 | port[1]
                        start += _INET_ENDPOINT.size
                self._rest(peer, buffer, start, end)
                return
        found = {kind: (first, last) for kind, first, last in attributes(buffer, start, end)}
        if PEER_PUBLIC_KEY not in found or len(self.peers) >= MAX_PEERS:
            return
        key = bytes(buffer[slice(*found[PEER_PUBLIC_KEY])])
        # A peer that goes on in the next message repeats only its key and brings more allowed-ips.
        self._rest(self.peers.setdefault(key, _Peer(key)), buffer, start, end)

    def _rest(self, peer: _Peer, buffer: memoryview, start: int, end: int) -> None:
        for kind, first, last in attributes(buffer, start, end):
            if kind == PEER_ALLOWEDIPS:
                peer.allowed_ips += _allowed_ips(buffer, first, last)
            elif kind == PEER_ENDPOINT:
                peer.endpoint = _endpoint(bytes(buffer[first:last]))
            elif kind == PEER_PRESHARED_KEY:
                peer.preshared_key = any(buffer[first:last])
            elif kind == PEER_KEEPALIVE and last - first >= 2:
                (peer.keepalive,) = _U16.unpack_from(buffer, first)
            elif kind == PEER_HANDSHAKE and last - first >= 16:
                peer.handshake = _when(*_TIMESPEC.unpack_from(buffer, first))
            elif kind == PEER_RX_BYTES and last - first >= 8:
                (peer.rx_bytes,) = _U64.unpack_from(buffer, first)
            elif kind == PEER_TX_BYTES and last - first >= 8:
                (peer.tx_bytes,) = _U64.unpack_from(buffer, first)

    def device(self, ifname: str, ifindex: int) -> WireguardDevice:
        """The device as read."""
        return WireguardDevice(
            ifname=ifname,
            ifindex=ifindex,
            public_key=self.public_key,
            listen_port=self.listen_port,
            fwmark=self.fwmark,
            peers=tuple(
                WireguardPeer(
                    public_key=key_text(peer.public_key),
                    preshared_key=peer.preshared_key,
                    endpoint=peer.endpoint[0],
                    endpoint_port=peer.endpoint[1],
                    persistent_keepalive=peer.keepalive,
                    latest_handshake=peer.handshake,
                    rx_bytes=peer.rx_bytes,
                    tx_bytes=peer.tx_bytes,
                    allowed_ips=tuple(peer.allowed_ips),
                )
                for peer in self.peers.values()
            ),
        )
