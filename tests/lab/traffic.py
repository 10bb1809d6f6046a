"""Bounded senders and counting listeners inside lab hosts, by plain sockets (ip(7), ipv6(7), udp(7), tcp(7)).

Every sender has a fixed number of packets; every listener ends with its host. Nothing leaves the lab: hosts have no
way to the real machine's network.
"""

from __future__ import annotations

import errno
import ipaddress
import mmap
import os
import select
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.lab.host import Host, LabError
from tests.lab.wait import wait_until

# linux/in.h, linux/in6.h; Python's socket module does not name them all
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_DONT = 0
_PMTUDISC_PROBE = 3  # set DF and ignore what the path MTU cache says: only interface MTUs refuse the packet
_PEEK = os.WEXITED | os.WNOHANG | os.WNOWAIT  # look whether a child has ended, and leave it to be reaped
_COUNTS = struct.Struct("=QQ")


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6, by the address's spelling."""
    version = ipaddress.ip_address(address.partition("%")[0]).version
    return socket.AF_INET if version == 4 else socket.AF_INET6


def send_udp(
    host: Host,
    dst: str,
    port: int,
    *,
    count: int = 1,
    size: int = 64,
    df: bool = True,
    src: str | None = None,
    ifname: str | None = None,
    mark: int = 0,
    sport: int = 0,
) -> dict[str, int]:
    """Send `count` datagrams of `size` bytes of payload; how many ended how: `{"sent": 3, "EMSGSIZE": 2}`.

    `df` sets Don't Fragment and ignores the path MTU cache. ECONNREFUSED of an earlier datagram does not count as
    the fate of a later one, because the socket is not connected.
    """
    family = family_of(dst)

    def work() -> dict[str, int]:
        fates: Counter[str] = Counter()
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            mode = _PMTUDISC_PROBE if df else _PMTUDISC_DONT
            if family == socket.AF_INET:
                sender.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, mode)
            else:
                sender.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, mode)
            if mark:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            if ifname is not None:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, ifname.encode())
            if src is not None or sport:
                sender.bind((src or "", sport))
            for _ in range(count):
                try:
                    sender.sendto(bytes(size), (dst, port))
                    fates["sent"] += 1
                except OSError as error:
                    fates[errno.errorcode.get(error.errno or 0, str(error))] += 1
        return dict(fates)

    return host.call(work)


@dataclass
class Listener:
    """A counting listener inside a host; `stop` ends it early."""

    host: Host
    pid: int
    _shared: mmap.mmap = field(repr=False)

    @property
    def packets(self) -> int:
        """Datagrams received, or TCP connections accepted."""
        return int(_COUNTS.unpack_from(self._shared, 8)[0])

    @property
    def octets(self) -> int:
        """Bytes of payload received."""
        return int(_COUNTS.unpack_from(self._shared, 8)[1])

    @property
    def ready(self) -> bool:
        """Whether the socket is bound."""
        return self._shared[0] != 0

    def stop(self) -> None:
        """End the listener; its counts stay."""
        self.host.end(self.pid)


def listen_udp(host: Host, address: str, port: int, *, echo: bool = False) -> Listener:
    """Count the datagrams that arrive at `address` (`0.0.0.0` and `::` for all); `echo` sends each one back."""

    def serve(shared: mmap.mmap) -> None:
        packets = octets = 0
        with socket.socket(family_of(address), socket.SOCK_DGRAM) as receiver:
            receiver.bind((address, port))
            shared[0] = 1
            while True:
                content, sender = receiver.recvfrom(1 << 16)
                packets, octets = packets + 1, octets + len(content)
                _COUNTS.pack_into(shared, 8, packets, octets)
                if echo:
                    receiver.sendto(content, sender)

    return _start(host, serve)


def listen_tcp(host: Host, address: str, port: int) -> Listener:
    """Accept TCP connections at `address`, read them empty and count connections and bytes."""

    def serve(shared: mmap.mmap) -> None:
        packets = octets = 0
        with socket.socket(family_of(address), socket.SOCK_STREAM) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((address, port))
            server.listen(16)
            shared[0] = 1
            poller = select.poll()
            poller.register(server, select.POLLIN)
            open_: dict[int, socket.socket] = {}
            while True:
                for fd, _ in poller.poll():
                    if fd == server.fileno():
                        connection, _ = server.accept()
                        open_[connection.fileno()] = connection
                        poller.register(connection, select.POLLIN)
                        packets += 1
                    else:
                        content = _received(open_[fd])
                        octets += len(content)
                        if not content:
                            poller.unregister(fd)
                            open_.pop(fd).close()
                    _COUNTS.pack_into(shared, 8, packets, octets)

    return _start(host, serve)


def send_tcp(host: Host, dst: str, port: int, *, size: int = 1024, timeout: float = 2.0) -> str:
    """Connect, send `size` bytes and close: `sent`, or the error's name (`ETIMEDOUT`, `ECONNREFUSED`, ...)."""

    def work() -> str:
        try:
            with socket.create_connection((dst, port), timeout) as connection:
                connection.sendall(bytes(size))
        except OSError as error:
            late = isinstance(error, TimeoutError)
            return "ETIMEDOUT" if late else errno.errorcode.get(error.errno or 0, str(error))
        return "sent"

    return host.call(work, timeout + 5)


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""  # reset by the other side: as good as closed


def _start(host: Host, serve: Callable[[mmap.mmap], None]) -> Listener:
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    pid = host.fork(lambda: serve(shared))
    listener = Listener(host, pid, shared)
    wait_until(lambda: listener.ready or os.waitid(os.P_PID, pid, _PEEK), 5, f"a listener in {host.name} is bound")
    if not listener.ready:
        raise LabError(f"{host.name}: the listener did not start; its traceback is on standard error")
    return listener
