"""WireGuard over generic netlink: the requests, the blanking of secrets, and the decoder.

Source: WG_CMD_GET_DEVICE (drivers/net/wireguard/netlink.c wg_get_device_dump()). The kernel always sends private and
preshared keys to whoever may ask (CAP_NET_ADMIN), so they are overwritten in the receive buffer before anything else
sees it. A device's peers are split over messages, and a peer's allowed-ips too: what follows is joined by public key.

The family's number is found in the nameless dump of all families: asking for it by name would load the module.
"""

import base64
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct, pack

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
PEER_HANDSHAKE, PEER_RX_BYTES, PEER_TX_BYTES, PEER_ALLOWEDIPS = 6, 7, 8, 9
ALLOWEDIP_FAMILY, ALLOWEDIP_IPADDR, ALLOWEDIP_CIDR_MASK = 1, 2, 3

_ATTRIBUTE = Struct("=HH")
_U16, _U32, _U64, _TIMESPEC, _PORT = Struct("=H"), Struct("=I"), Struct("=Q"), Struct("=qq"), Struct("!H")
KEY_LENGTH = 32
PRESENT = b"\1" + bytes(KEY_LENGTH - 1)
"""What a preshared key is overwritten with: the fact that there was one."""
MAX_PEERS = 1 << 20
"""The module's own limit (messages.h, MAX_PEERS_PER_DEVICE)."""

Buffer = bytes | bytearray | memoryview


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
                    for inner, key_start, key_end in attributes(buffer, peer_start, peer_end):
                        if inner == PEER_PRESHARED_KEY:
                            length = key_end - key_start
                            given = any(buffer[key_start:key_end])
                            buffer[key_start:key_end] = (
                                PRESENT[:length].ljust(length, b"\0") if given else bytes(length)
                            )


@dataclass
class BlankingSink:
    """Blanks secrets, then hands the buffer on; every generic netlink dump goes through one."""

    sink: Sink

    def feed(self, buffer: memoryview) -> None:
        blank(buffer)
        self.sink.feed(buffer)

    def reset(self) -> None:
        self.sink.reset()


@dataclass
class _Peer:
    """A peer while its messages come in."""

    public_key: bytes
    preshared_key: bool = False
    endpoint: tuple[str, int] | None = None
    keepalive: int = 0
    handshake: float | None = None
    rx_bytes: int = 0
    tx_bytes: int = 0
    allowed_ips: list[str] = field(default_factory=list)


def key_text(raw: Buffer) -> str:
    """A key in base64, as everybody writes them."""
    return base64.b64encode(bytes(raw)).decode("ascii")


def _endpoint(raw: bytes) -> tuple[str, int] | None:
    """Address and port of a struct sockaddr_in or sockaddr_in6; a link-local one keeps its scope as ``%ifindex``."""
    if len(raw) < 16:
        return None
    (family,) = _U16.unpack_from(raw)
    (port,) = _PORT.unpack_from(raw, 2)
    if family == nl.AF_INET:
        return str(ipaddress.IPv4Address(raw[4:8])), port
    if family == nl.AF_INET6 and len(raw) >= 28:
        (scope,) = _U32.unpack_from(raw, 24)
        return str(ipaddress.IPv6Address(raw[8:24])) + (f"%{scope}" if scope else ""), port
    return None


def _allowed_ip(buffer: Buffer, start: int, end: int) -> str | None:
    address, length = b"", 0
    for kind, first, last in attributes(buffer, start, end):
        if kind == ALLOWEDIP_IPADDR:
            address = bytes(buffer[first:last])
        elif kind == ALLOWEDIP_CIDR_MASK:
            length = buffer[first]
    if len(address) not in (4, 16):
        return None
    return f"{ipaddress.ip_address(address)}/{length}"


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
                elif kind == DEVICE_LISTEN_PORT:
                    self.listen_port = _U16.unpack_from(buffer, start)[0] or None
                elif kind == DEVICE_FWMARK:
                    (self.fwmark,) = _U32.unpack_from(buffer, start)
                elif kind == DEVICE_PEERS:
                    for _, peer_start, peer_end in attributes(buffer, start, end):
                        self._peer(buffer, peer_start, peer_end)

    def _peer(self, buffer: memoryview, start: int, end: int) -> None:
        found = {kind: (first, last) for kind, first, last in attributes(buffer, start, end)}
        if PEER_PUBLIC_KEY not in found or len(self.peers) >= MAX_PEERS:
            return
        key = bytes(buffer[slice(*found[PEER_PUBLIC_KEY])])
        peer = self.peers.setdefault(key, _Peer(key))
        # A peer that goes on in the next message repeats only its key and brings more allowed-ips.
        if PEER_PRESHARED_KEY in found:
            peer.preshared_key = any(buffer[slice(*found[PEER_PRESHARED_KEY])])
        if PEER_ENDPOINT in found:
            peer.endpoint = _endpoint(bytes(buffer[slice(*found[PEER_ENDPOINT])]))
        if PEER_KEEPALIVE in found:
            (peer.keepalive,) = _U16.unpack_from(buffer, found[PEER_KEEPALIVE][0])
        if PEER_HANDSHAKE in found:
            seconds, nanoseconds = _TIMESPEC.unpack_from(buffer, found[PEER_HANDSHAKE][0])
            peer.handshake = seconds + nanoseconds / 1e9 if seconds or nanoseconds else None
        if PEER_RX_BYTES in found:
            (peer.rx_bytes,) = _U64.unpack_from(buffer, found[PEER_RX_BYTES][0])
        if PEER_TX_BYTES in found:
            (peer.tx_bytes,) = _U64.unpack_from(buffer, found[PEER_TX_BYTES][0])
        if PEER_ALLOWEDIPS in found:
            for _, first, last in attributes(buffer, *found[PEER_ALLOWEDIPS]):
                prefix = _allowed_ip(buffer, first, last)
                if prefix is not None:
                    peer.allowed_ips.append(prefix)

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
                    endpoint=peer.endpoint[0] if peer.endpoint else None,
                    endpoint_port=peer.endpoint[1] if peer.endpoint else None,
                    persistent_keepalive=peer.keepalive,
                    latest_handshake=peer.handshake,
                    rx_bytes=peer.rx_bytes,
                    tx_bytes=peer.tx_bytes,
                    allowed_ips=tuple(peer.allowed_ips),
                )
                for peer in self.peers.values()
            ),
        )
