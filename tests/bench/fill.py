"""Fill the current network namespace with routes, neighbours, links or rules, fast, for measuring.

    unshare -n python -m tests.bench.fill routes4=1000000 routes6=200000 neighbours=50000 rules=5000 links=4000

Everything goes through one pair of veths (``fill0``, ``fill1``) with 198.18.0.1/15 and 2001:2:0::1/48, the ranges for
benchmarks (RFC 2544, RFC 5180). Messages are sent in packs of 32 KiB without acknowledgement, so a million routes take
the kernel's time, not Python's. Errors of the kernel are read after each pack and raised as OSError. Refuses to run
where any interface exists that a fresh namespace does not have.
"""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from struct import pack, unpack_from

NLM_F_REQUEST, NLM_F_CREATE, NLM_F_REPLACE = 0x1, 0x400, 0x100
RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWNEIGH, RTM_NEWRULE = 16, 20, 24, 28, 32
AF_INET, AF_INET6 = socket.AF_INET, socket.AF_INET6
RTPROT_BIRD, BIRD_METRIC = 12, 32
FRESH = {"lo", "sit0", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6tnl0", "ip6_vti0", "ip6gre0"}
PACK = 32 << 10  # bytes; the kernel answers errors only, so nothing fills our receive buffer


def attribute(kind: int, payload: bytes) -> bytes:
    """struct nlattr, padded."""
    return pack("=HH", len(payload) + 4, kind) + payload + bytes(-len(payload) % 4)


class Filler:
    """Writes to the kernel; the only part of the project that does so over raw netlink, and only below tests."""

    def __init__(self, *, fresh: bool = True, protocol: int = 0) -> None:
        """``fresh=False`` is for lab hosts, which are namespaces of their own for certain."""
        strangers = {name for _, name in socket.if_nameindex()} - FRESH
        if fresh and strangers:
            raise SystemExit(
                f"not a fresh network namespace ({', '.join(sorted(strangers))}): run me under `unshare -n`"
            )
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self.socket.bind((0, 0))

    def send(self, messages: Iterator[tuple[int, int, bytes]]) -> None:
        """Send (type, flags, body) messages in packs. Raises OSError with the kernel's first refusal."""
        waiting = bytearray()
        for kind, flags, body in messages:
            waiting += pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | flags, 1, 0) + body + bytes(-len(body) % 4)
            if len(waiting) >= PACK:
                self._flush(waiting)
        self._flush(waiting)

    def _flush(self, waiting: bytearray) -> None:
        if not waiting:
            return
        self.socket.send(waiting)
        waiting.clear()
        try:
            while True:
                reply = self.socket.recv(65536, socket.MSG_DONTWAIT)
                kind = unpack_from("=H", reply, 4)[0]
                code = unpack_from("=i", reply, 16)[0] if kind == 2 else 0  # NLMSG_ERROR
                if code and code != -errno.EEXIST:
                    raise OSError(-code, os.strerror(-code))
        except BlockingIOError:
            return

    def veth_pair(self, name: str, peer: str) -> None:
        """Two veths, both up."""
        # The peer is made before the two are joined, and veth_open() answers ENOTCONN until then: up comes last.
        inner = pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(3, peer.encode() + b"\0")
        info = attribute(1, b"veth") + attribute(2, attribute(1, inner))
        up = pack("=BxHiII", 0, 0, 0, 1, 1)
        first = up + attribute(3, name.encode() + b"\0") + attribute(18, info)
        second = up + attribute(3, peer.encode() + b"\0")
        self.send(iter([(RTM_NEWLINK, NLM_F_CREATE, first), (RTM_NEWLINK, 0, second)]))

    def address(self, name: str, address: str, prefixlen: int) -> None:
        """An address, without duplicate address detection."""
        family = AF_INET6 if ":" in address else AF_INET
        packed = socket.inet_pton(family, address)
        body = pack("=BBBBi", family, prefixlen, 2, 0, socket.if_nametoindex(name))
        self.send(iter([(RTM_NEWADDR, NLM_F_CREATE, body + attribute(2, packed) + attribute(1, packed))]))


def routes4(count: int, oif: int) -> Iterator[tuple[int, int, bytes]]:
    """/24 after /24 from 1.0.0.0 on, as BIRD installs them: one gateway in eight, metric 32."""
    for number in range(count):
        header = pack("=8BI", AF_INET, 24, 0, 0, 254, RTPROT_BIRD, 0, 1, 0)
        dst = pack("!I", (1 << 24) + (number << 8))
        gateway = pack("!I", (198 << 24 | 18 << 16) + 2 + number % 8)
        yield (
            RTM_NEWROUTE,
            NLM_F_CREATE,
            header + attribute(1, dst) + attribute(6, pack("=I", BIRD_METRIC)) + attribute(5, gateway)
            + attribute(4, pack("=i", oif)),
        )  # fmt: skip


def routes6(count: int, oif: int) -> Iterator[tuple[int, int, bytes]]:
    """/48 after /48 from 2a00:: on."""
    for number in range(count):
        header = pack("=8BI", AF_INET6, 48, 0, 0, 254, RTPROT_BIRD, 0, 1, 0)
        dst = ((0x2A00 << 112) + (number << 80)).to_bytes(16, "big")
        gateway = ((0x20010002 << 96) + 2 + number % 8).to_bytes(16, "big")
        yield (
            RTM_NEWROUTE,
            NLM_F_CREATE,
            header + attribute(1, dst) + attribute(6, pack("=I", BIRD_METRIC)) + attribute(5, gateway)
            + attribute(4, pack("=i", oif)),
        )  # fmt: skip


def neighbours(count: int, oif: int) -> Iterator[tuple[int, int, bytes]]:
    """Permanent entries (the garbage collector leaves those alone) below 198.18.0.0/15."""
    for number in range(count):
        header = pack("=BxHiHBB", AF_INET, 0, oif, 0x80, 0, 0)
        dst = pack("!I", (198 << 24 | 18 << 16) + 2 + number)
        lladdr = b"\x02\0" + pack("!I", number)
        yield RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, header + attribute(1, dst) + attribute(2, lladdr)


def rules(count: int) -> Iterator[tuple[int, int, bytes]]:
    """IPv4 rules with a source, a mark and a table of their own each."""
    for number in range(count):
        header = pack("=8BI", AF_INET, 0, 32, 0, 0, 0, 0, 1, 0)
        source = attribute(2, pack("!I", (10 << 24) + number))
        selectors = attribute(10, pack("=I", number + 1)) + attribute(16, pack("=I", 0xFFFFFFFF))
        yield (
            RTM_NEWRULE,
            NLM_F_CREATE,
            header
            + source
            + selectors
            + attribute(6, pack("=I", 1000 + number))
            + attribute(15, pack("=I", 1000 + number % 250)),
        )


def conntrack(count: int) -> Iterator[tuple[int, int, bytes]]:
    """IPCTNL_MSG_CT_NEW: UDP flows of a client to ever new servers, masqueraded."""
    nested = 0x8000

    def side(kind: int, src: bytes, dst: bytes, sport: int, dport: int) -> bytes:
        ip = attribute(nested | 1, attribute(1, src) + attribute(2, dst))
        proto = attribute(1, b"\x11") + attribute(2, pack("!H", sport)) + attribute(3, pack("!H", dport))
        return attribute(nested | kind, ip + attribute(nested | 2, proto))

    inside, outside = socket.inet_aton("10.0.0.2"), socket.inet_aton("198.18.0.1")
    for number in range(count):
        server, sport = pack("!I", (203 << 24) + number), 1024 + number % 60000
        body = bytes([AF_INET, 0, 0, 0]) + side(1, inside, server, sport, 53) + side(2, server, outside, 53, sport)
        yield 1 << 8, NLM_F_CREATE, body + attribute(3, pack("!I", 0xE)) + attribute(7, pack("!I", 6000))


def fill(wanted: dict[str, int]) -> None:
    """Fill the current namespace. Keys: routes4, routes6, neighbours, rules, conntrack, links (half of them pairs)."""
    filler = Filler()
    filler.veth_pair("fill0", "fill1")
    filler.address("fill0", "198.18.0.1", 15)
    with open("/proc/sys/net/ipv6/conf/fill0/accept_dad", "w") as file:
        file.write("0")
    filler.address("fill0", "2001:2::1", 48)
    oif = socket.if_nametoindex("fill0")
    for number in range(wanted.get("links", 0) // 2):
        filler.veth_pair(f"vm{number}", f"tap{number}")
    filler.send(routes4(wanted.get("routes4", 0), oif))
    filler.send(routes6(wanted.get("routes6", 0), oif))
    filler.send(neighbours(wanted.get("neighbours", 0), oif))
    filler.send(rules(wanted.get("rules", 0)))
    if wanted.get("conntrack"):
        Filler(fresh=False, protocol=12).send(conntrack(wanted["conntrack"]))


def main(arguments: list[str]) -> None:
    """``name=count`` each, then a command that runs in the filled namespace after ``--``."""
    command = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
    counts = arguments[: arguments.index("--")] if "--" in arguments else arguments
    fill({name: int(count) for name, _, count in (argument.partition("=") for argument in counts)})
    if command:
        os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
