"""Stand-ins for virtual machines: a process that holds a tap as a VMM does, and answers ARP for its guest."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable, Mapping

from tests.lab.host import Host
from tests.lab.wait import wait_until

TUNSETIFF, TUNSETPERSIST, TUNSETOFFLOAD = 0x400454CA, 0x400454CB, 0x400454D0
IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x1, 0x2, 0x1000, 0x4000, 0x100
PR_SET_NAME = 15
_VNET_HEADER = 10  # struct virtio_net_hdr without merged buffers


def attach(ifname: str, flags: int = IFF_TAP | IFF_NO_PI) -> int:
    """Open /dev/net/tun and attach it to a device, which is made where there is none. Raises OSError."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", ifname.encode(), flags))
    except OSError:
        os.close(fd)
        raise
    return fd


def name_process(comm: str) -> None:
    """What /proc/self/comm shows from now on."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, comm.encode(), 0, 0, 0)


def hold(
    host: Host,
    ifname: str,
    *,
    comm: str = "firecracker",
    guests: Mapping[str, str] | None = None,
    vnet_hdr: bool = True,
    multi_queue: bool = False,
    count: int = 1,
    first: Callable[[], object] | None = None,
    reads: bool = True,
    calls: float | None = None,
) -> int:
    """A process called ``comm`` that holds the tap until it is ended (``host.end(pid)``); gives its pid.

    ``guests``: IPv4 address to hardware address, answered by ARP and ICMP echo not at all. ``first`` is called in the
    process before it opens the tap. ``reads=False``: a guest that stands still. ``calls``: it says unasked who
    has its addresses, every so many seconds. Returns when the tap has a carrier.
    """
    flags = IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if vnet_hdr else 0) | (IFF_MULTI_QUEUE if multi_queue else 0)

    def work() -> None:
        name_process(comm)
        if first is not None:
            first()
        files = [attach(ifname, flags) for _ in range(count)]
        _serve(files[0], dict(guests or {}), _VNET_HEADER if vnet_hdr else 0, reads, calls)

    pid = host.fork(work)
    wait_until(lambda: _carrier(host, ifname), 5, f"{ifname} is held")
    return pid


def _carrier(host: Host, ifname: str) -> bool:
    text = host.call(lambda: os.popen(f"ip -o link show dev {ifname} 2>/dev/null").read())
    return bool(text) and "NO-CARRIER" not in text


def _serve(fd: int, guests: Mapping[str, str], offset: int, reads: bool, calls: float | None) -> None:
    raw = {socket.inet_aton(address): bytes.fromhex(mac.replace(":", "")) for address, mac in guests.items()}
    while not reads:
        ctypes.CDLL(None).pause()
    while True:
        if calls is not None and not select.select([fd], [], [], calls)[0]:
            for address, own in raw.items():
                said = b"\xff" * 6 + own + b"\x08\x06\0\1\x08\0\6\4\0\1" + own + address + bytes(6) + address
                os.write(fd, bytes(offset) + said)
            continue
        frame = os.read(fd, 65536)[offset:]
        if len(frame) < 42 or frame[12:14] != b"\x08\x06" or frame[20:22] != b"\0\1":
            continue
        mac = raw.get(frame[38:42])
        if mac is not None:
            answer = frame[6:12] + mac + frame[12:20] + b"\0\2" + mac + frame[38:42] + frame[22:32]
            os.write(fd, bytes(offset) + answer)
