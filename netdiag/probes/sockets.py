"""One packet out, one answer back: ICMP echo or UDP on plain sockets, with the errors that routers send.

The kernel hands ICMP errors to the socket that caused them (IP_RECVERR, ip(7); IPV6_RECVERR, ipv6(7)) with who sent
them and, for "too big", the MTU. IP_PMTUDISC_PROBE sets DF and passes over the path MTU that the kernel has learnt; the
MTU of the interface stays a bound. ICMP echo is a raw socket, which needs CAP_NET_RAW; UDP needs nothing. Raises
NotPermitted, or Unsent where there is no way to send at all.
"""

import errno
import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from netdiag.model.probe import Destination

IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL, IP_MTU = 10, 11, 12, 14
IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_RECVERR, IPV6_RECVHOPLIMIT, IPV6_DONTFRAG = 23, 24, 25, 51, 62
PMTUDISC_PROBE = 3
FROM_HERE = 1
"""SO_EE_ORIGIN_LOCAL of linux/errqueue.h."""
EXTENDED = struct.Struct("=IBBBBII")
"""struct sock_extended_err."""
HEADERS = {"inet": 28, "inet6": 48}
"""Bytes of IP and ICMP echo, or IP and UDP."""
ECHO = {"inet": (8, 0), "inet6": (128, 129)}
"""Types of request and reply."""
EXCEEDED = {"inet": 11, "inet6": 3}


class NotPermitted(Exception):
    """The kernel lets only root send this; one line."""


class Unsent(Exception):
    """There is no way to send: no route, no address; one line."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back of one packet. All None but ``took``: nothing."""

    took: float
    """Seconds."""
    by: str | None = None
    """Who answered; None also where this host itself refused to send."""
    reply: bool = False
    """The destination answered what was asked."""
    error: int | None = None
    """errno of an ICMP error, or of this host's own refusal."""
    exceeded: bool = False
    """The TTL was used up on the way."""
    mtu: int | None = None
    """With EMSGSIZE: what would fit."""
    local: bool = False
    """The error is this host's own."""
    ttl: int | None = None
    """TTL of the answer as it arrived."""

    @property
    def lost(self) -> bool:
        """Nothing came."""
        return not self.reply and self.error is None


class Probe:
    """A socket connected to one destination. Not closed twice; ``with`` closes it."""

    def __init__(
        self, to: Destination, *, proto: str = "icmp", source: str | None = None, device: str | None = None
    ) -> None:
        self.to = to
        self.proto = proto
        self.source = source
        self.v6 = to.family == "inet6"
        family = socket.AF_INET6 if self.v6 else socket.AF_INET
        icmp = socket.IPPROTO_ICMPV6 if self.v6 else socket.IPPROTO_ICMP
        self.identity = int.from_bytes(os.urandom(2), "big")
        self.sequence = 0
        try:
            self.socket = (
                socket.socket(family, socket.SOCK_RAW, icmp)
                if proto == "icmp"
                else socket.socket(family, socket.SOCK_DGRAM)
            )
        except PermissionError as error:
            raise NotPermitted("ICMP needs root (CAP_NET_RAW)") from error
        try:
            self._set_up(source, device)
        except PermissionError as error:
            self.socket.close()
            raise NotPermitted(f"to send on {device} needs root (CAP_NET_RAW)") from error
        except OSError as error:
            self.socket.close()
            raise Unsent(f"{to.address}: {(error.strerror or str(error)).lower()}") from error

    def _set_up(self, source: str | None, device: str | None) -> None:
        level = socket.IPPROTO_IPV6 if self.v6 else socket.IPPROTO_IP
        options = (
            (IPV6_MTU_DISCOVER, IPV6_RECVERR, IPV6_RECVHOPLIMIT)
            if self.v6
            else (IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL)
        )
        for option, value in zip(options, (PMTUDISC_PROBE, 1, 1), strict=True):
            self.socket.setsockopt(level, option, value)
        if self.v6:
            self.socket.setsockopt(level, IPV6_DONTFRAG, 1)
        self.socket.setblocking(False)
        if device is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        if source is not None:
            self.socket.bind((source, 0))
        self._aim(9)

    def _aim(self, port: int) -> None:
        self.socket.connect((self.to.address, 0 if self.proto == "icmp" else port))

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @property
    def cached_mtu(self) -> int | None:
        """Path MTU that the kernel would use for this destination now. Of a new socket: this one keeps its route."""
        level, option = (socket.IPPROTO_IPV6, IPV6_MTU) if self.v6 else (socket.IPPROTO_IP, IP_MTU)
        try:
            with socket.socket(self.socket.family, socket.SOCK_DGRAM) as other:
                if self.source is not None:
                    other.bind((self.source, 0))
                other.connect((self.to.address, 9))
                return other.getsockopt(level, option)
        except OSError:
            return None

    def ask(self, timeout: float, *, size: int | None = None, ttl: int | None = None, port: int = 9) -> Answer:
        """Send one packet of ``size`` bytes with IP header, and wait for what comes of it. Raises Unsent."""
        if ttl is not None:
            level, option = (
                (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if self.v6 else (socket.IPPROTO_IP, socket.IP_TTL)
            )
            self.socket.setsockopt(level, option, ttl)
        if self.proto != "icmp":
            self._aim(port)
        body = max((size or HEADERS[self.to.family] + 8) - HEADERS[self.to.family], 0)
        self.sequence = (self.sequence + 1) & 0xFFFF
        packet = self._echo(body) if self.proto == "icmp" else bytes(body)
        began = time.monotonic()
        refused = self._sent(packet)
        if refused is not None:
            return refused
        poller = select.poll()
        poller.register(self.socket, select.POLLIN | select.POLLERR)
        while (left := began + timeout - time.monotonic()) > 0:
            poller.poll(left * 1000)
            found = self._error(began) or self._reply(began)
            if found is not None:
                return found
        return Answer(took=timeout)

    def _echo(self, body: int) -> bytes:
        kind = ECHO[self.to.family][0]
        head = struct.pack(">BBHHH", kind, 0, 0, self.identity, self.sequence)
        if self.v6:
            return head + bytes(body)  # the kernel fills in the checksum (RFC 3542, 3.1)
        total = sum(struct.unpack(">4H", head))
        total = (total & 0xFFFF) + (total >> 16)
        return struct.pack(">BBHHH", kind, 0, ~total & 0xFFFF, self.identity, self.sequence) + bytes(body)

    def _sent(self, packet: bytes) -> Answer | None:
        """None, or the refusal of this host. An error that an earlier packet left behind is fetched and passed over."""
        for last in (False, True):
            try:
                self.socket.send(packet)
            except OSError as error:
                said = self._error(time.monotonic())
                if error.errno == errno.EMSGSIZE:
                    mtu = said.mtu if said is not None and said.local else self.cached_mtu
                    return Answer(took=0.0, error=errno.EMSGSIZE, mtu=mtu, local=True)
                if last:
                    raise Unsent(f"{self.to.address}: {(error.strerror or str(error)).lower()}") from error
            else:
                return None
        return None

    def _error(self, began: float) -> Answer | None:
        try:
            _, control, _, _ = self.socket.recvmsg(512, 1024, socket.MSG_ERRQUEUE)
        except OSError:
            return None
        ttl = _ttl(control)
        for _, kind, content in control:
            if kind not in (IP_RECVERR, IPV6_RECVERR) or len(content) < EXTENDED.size:
                continue
            number, origin, icmp_type, _, _, told, _ = EXTENDED.unpack_from(content)
            return Answer(
                took=time.monotonic() - began,
                by=_offender(content[EXTENDED.size :]),
                error=number,
                exceeded=origin != FROM_HERE and icmp_type == EXCEEDED[self.to.family],
                mtu=told if number == errno.EMSGSIZE else None,
                local=origin == FROM_HERE,
                ttl=ttl,
            )
        return None

    def _reply(self, began: float) -> Answer | None:
        try:
            content, control, _, _ = self.socket.recvmsg(1 << 16, 1024)
        except OSError:
            return None  # nothing yet, or an error whose words are in the other queue
        if self.proto == "icmp":
            echo = content if self.v6 else content[(content[0] & 15) * 4 :] if content else b""
            expected = struct.pack(">HH", self.identity, self.sequence)
            if len(echo) < 8 or echo[0] != ECHO[self.to.family][1] or echo[4:8] != expected:
                return None
        return Answer(took=time.monotonic() - began, by=self.to.address, reply=True, ttl=_ttl(control))


def _ttl(control: list[tuple[int, int, Any]]) -> int | None:
    for level, kind, content in control:
        if (level, kind) in ((socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, 52)) and len(content) >= 4:
            return int.from_bytes(content[:4], "little" if struct.pack("=H", 1)[0] else "big")
    return None


def _offender(content: bytes) -> str | None:
    """struct sockaddr_in or sockaddr_in6 behind the error."""
    if len(content) < 8:
        return None
    family = struct.unpack_from("=H", content)[0]
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, content[4:8])
    if family == socket.AF_INET6 and len(content) >= 24:
        return socket.inet_ntop(socket.AF_INET6, content[8:24])
    return None
