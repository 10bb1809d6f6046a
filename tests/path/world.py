"""A random router in a lab: what the walk says about a packet, and what really becomes of it.

Every packet is a UDP datagram with a payload of its own. Own packets are sent by plain sockets in the router's
namespace, arriving ones are put on the cable as frames by a neighbour. Listeners at the router hear what is delivered,
packet sockets (packet(7)) at the neighbours see what arrives there. All sockets are held by the test process itself.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Any

from netdiag.collectors import Options, bpf, fdb, nft, path_mtus, peer_links, wireguard
from netdiag.index.view import HostIndex
from netdiag.model.coverage import Coverage
from netdiag.model.snapshot import Tables
from netdiag.model.walk import PathPacket, PathReport
from netdiag.path.host import PathHost
from netdiag.path.trail import Packet
from netdiag.path.walk import walk
from netdiag.sources.live import LiveSource
from netdiag.sources.protocol import Unreadable
from tests.index.reader import read_tables
from tests.index.test_kernel_agreement import run_ip
from tests.lab import Lab, wait_until
from tests.lab.daemons import Peer, key_pair
from tests.path import programs
from tests.path.topology import MARKS, PORTS, Recipe, Topology

UDP = 17
MAGIC = b"netdiag!"
PACKET_OUTGOING = 4
ETH_P_ALL = 3
QUIET = 0.15
"""Seconds without any packet after which the lab is taken to be at rest."""


def read_everything() -> tuple[Tables, tuple[Coverage, ...]]:
    """The tables that a walk needs, of the namespace of the calling process."""
    source, options = LiveSource(), Options(interval=0)
    base, coverage = read_tables(), []
    tables: dict[str, Any] = {name: getattr(base, name) for name in base.__dataclass_fields__}
    names = ("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls")
    coverage += [Coverage(collector=name, status="ok") for name in names]
    for module in (nft, fdb, peer_links, path_mtus, wireguard, bpf):
        name = module.__name__.rpartition(".")[2]
        try:
            collected = module.collect(source, options)
        except Unreadable as error:
            coverage.append(Coverage(collector=name, status=error.why, detail=error.detail))
            continue
        tables |= collected.tables
        coverage.append(Coverage(collector=name, status=collected.status, detail=collected.detail))
    return Tables(**tables), tuple(coverage)


@dataclass
class Shot:
    """One packet, what was foretold, and what was seen."""

    number: int
    packet: Packet
    iif: str | None
    foretold: PathReport
    error: int = 0
    delivered: bool = False
    seen: set[str] = field(default_factory=set)
    """The router's devices behind which it was seen."""

    @property
    def payload(self) -> bytes:
        return MAGIC + struct.pack("!I", self.number)

    def verdict(self) -> str:
        """``agree``, ``unknown``, or what is wrong."""
        told = self.foretold
        if told.verdict == "unknown" or any(step.layer == "bpf" and step.decision == "runs" for step in told.steps):
            return "unknown"
        if told.verdict in ("sent", "forwarded") and self._astray():
            return "unknown"
        if told.verdict in ("sent", "forwarded"):
            devices = {way.dev for way in told.possible} or {told.dev}
            if self.delivered or not self.seen or not self.seen <= devices:
                return f"foretold {told.verdict} by {sorted(map(str, devices))}, {self.really()}"
        elif told.verdict == "delivered":
            if not self.delivered or self.seen:
                return f"foretold delivered, {self.really()}"
        elif self.delivered or self.seen:
            return f"foretold {told.verdict} ({told.reason}), {self.really()}"
        return "agree"

    def _astray(self) -> bool:
        """A tunnel's packet leaves by a cable to a neighbour who is not the tunnel's far end, and who forwards nothing:
        rightly foretold to leave, but it cannot arrive."""
        meant = {"vx0": {"eth0", "mv0"}, "wg0": {"eth1", "br0"}}.get(self.foretold.dev or "", set())
        outer = [step.object.split(" ")[0] for step in self.foretold.steps if step.depth == 1 and step.layer == "link"]
        return bool(meant) and not meant.issuperset(outer)

    def really(self) -> str:
        name = errno.errorcode.get(self.error, "") if self.error else "no error"
        return f"really {'delivered ' if self.delivered else ''}seen behind {sorted(self.seen)}, {name}"

    def __str__(self) -> str:
        steps = "\n".join(
            f"    {'*' if s.decisive else ' '} {'  ' * s.depth}{s.layer}: {s.object} -> {s.decision} ({s.why})"
            for s in self.foretold.steps
        )
        return f"{self.packet} iif {self.iif}\n  {self.verdict()}\n{steps}"


class World:
    """A topology built, and packets shot at it."""

    def __init__(self, lab: Lab, topology: Topology, prefix: str = "", recipe: Recipe | None = None) -> None:
        """``recipe``: what is done to the router instead of all that the topology has for it."""
        self.topology = topology
        self.recipe = recipe or topology.recipe
        self.router = lab.host(f"{prefix}r")
        self.peers = [lab.host(f"{prefix}p{number}") for number in range(topology.cables)]
        self.random = Random(topology.seed * 7 + 1)
        self._build(lab)
        self._open()

    def _build(self, lab: Lab) -> None:
        top = self.topology
        for number, peer in enumerate(self.peers):
            lab.link(self.router, f"eth{number}", peer, "r0")
            lines = [f"address add 10.{number}.0.2/24 dev r0", f"address add 2001:db8:{number:x}::2/64 dev r0 nodad"]
            if number == 0:
                lines += ["address add 10.10.0.2/24 dev r0", "address add 2001:db8:a::2/64 dev r0 nodad"]
            if number == 0 and top.vxlan:
                lines += ["link add vx0 type vxlan id 42 local 10.0.0.2 remote 10.0.0.1 dstport 4789"]
                lines += ["link set vx0 up", "address add 10.11.0.2/24 dev vx0"]
                lines += ["address add 2001:db8:b::2/64 dev vx0 nodad"]
            peer.ip("\n".join(lines))
        if top.wireguard:
            self._wireguard(lab)
        recipe = self.recipe
        self.router.call(lambda: run_ip([*recipe.links, *recipe.routing]))
        self.router.sysctl(dict(recipe.settings))
        if recipe.rules:
            lab.nft(self.router, "\n".join(recipe.rules))
        programs.attach(lab, self.router, recipe.programs)

    def _wireguard(self, lab: Lab) -> None:
        (mine, my_public), (other, other_public) = key_pair(self.router), key_pair(self.peers[1])
        endpoint = "10.1.0.2:51820"
        allowed = ["10.12.0.0/24", "198.18.0.0/23", "2001:db8:c::/64"]
        ahead = [Peer(public_key=other_public, allowed_ips=allowed, endpoint=endpoint)]
        lab.wireguard(self.router, "wg0", mine, 51820, ahead)
        back = [Peer(public_key=my_public, allowed_ips=["0.0.0.0/0", "::/0"], endpoint="10.1.0.1:51820")]
        lab.wireguard(self.peers[1], "wg0", other, 51820, back)
        self.peers[1].ip("address add 10.12.0.2/24 dev wg0\nlink set wg0 up")
        self.router.ip("link set wg0 up")

    def _shake_hands(self) -> None:
        """Let WireGuard shake hands where nothing hinders it: two that begin at once may take five seconds."""

        def shaken() -> bool:
            told = self.router.run("wg", "show", "wg0", "latest-handshakes").stdout.split()
            return told[-1:] not in ([], ["0"])

        with self.peers[1].inside_network(lambda: _sender("inet")) as sender:
            sender.sendto(b"hello", ("10.12.0.1", 9))
        with suppress(TimeoutError):
            wait_until(shaken, 1.5, "hands are shaken")

    def _open(self) -> None:
        self.eyes = [peer.inside_network(_eye) for peer in self.peers]
        self.ears = [self.router.inside_network(lambda f=f, p=p: _ear(f, p)) for f in (4, 6) for p in PORTS]
        self.senders = {family: self.router.inside_network(lambda f=family: _sender(f)) for family in ("inet", "inet6")}

    def close(self) -> None:
        for one in (*self.eyes, *self.ears, *self.senders.values()):
            one.close()

    # -- packets -----------------------------------------------------------------------------------------------------

    def shoot(self, count: int, only: int | None = None) -> list[Shot]:
        """Foretell and send so many packets, or the one with that number alone."""
        if self.topology.wireguard:
            self._shake_hands()
        tables, coverage = self.router.call(self._settled)
        host = PathHost(HostIndex(tables), coverage, run_bpf=programs.runner(self.router))
        self.macs = macs = {link.ifname: link.address or "" for link in tables.links}
        shots = [shot for number in range(count) if (shot := self._shot(number, host, only in (None, number)))]
        for shot in shots:
            self._fire(shot, macs)
        self._gather({shot.number: shot for shot in shots})
        return shots

    def _settled(self) -> tuple[Tables, tuple[Coverage, ...]]:
        """The tables when every carrier was heard of: an IPv6 address is there from then on only."""
        top = self.topology
        given = "\n".join(self.recipe.links)
        own = [top.own(device, "inet6") for device in top.devices]
        wanted = [IPv6Address(address).packed for address in own if f"{address}/64" in given]

        def ready() -> Any:
            tables, coverage = read_everything()
            known = {bytes(row) for row in tables.routes6.dst[tables.routes6.table == 255]}
            return (tables, coverage) if known.issuperset(wanted) else None

        return wait_until(ready, 5, "the router's addresses are there")

    def _shot(self, number: int, host: PathHost, wanted: bool) -> Shot | None:
        pick, top = self.random, self.topology
        family = pick.choice(("inet", "inet", "inet6"))
        door = pick.choice([None, *range(top.cables)])
        dst = pick.choice(
            (
                top.far(family),
                top.far(family),
                top.near(pick.choice(top.devices), family, 2),
                top.own(pick.choice(top.devices), family),
            )
        )
        src = mark = None
        if door is None:
            # wireguard-go's interface has a low index though it was made last, see Topology.links().
            given = pick.random() < 0.4 or (top.wireguard and family == "inet6")
            src = top.own(pick.choice(top.devices), family) if given else None
            mark = pick.choice(MARKS)
        else:
            device = top.doors[door]
            near = top.near(device, family, 9), top.near(device, family, 2)
            src = pick.choice((*near, top.far(family), top.far(family)))
            if pick.random() < 0.1:
                src = top.own(pick.choice(top.devices), family)
        iif = None if door is None else f"eth{door}"
        packet = Packet(
            family=family,
            dst=dst,
            src=src,
            iif=host.stack.by_name[iif].ifindex if iif else 0,
            mark=mark or 0,
            ip_proto=UDP,
            sport=20000 + number,
            dport=pick.choice(PORTS),
        )
        if not wanted:
            return None
        said = PathPacket(family=family, dst=dst, src=src, iif=iif)
        return Shot(number, packet, iif, walk(host, packet, said))

    def _fire(self, shot: Shot, macs: dict[str, str]) -> None:
        packet = shot.packet
        if shot.iif is not None:
            self._put(shot, macs[shot.iif])
            return
        with self.router.inside_network(lambda: _sender(packet.family)) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, packet.mark)
            sender.bind((packet.src or "", packet.sport or 0))
            try:
                sender.sendto(shot.payload, (packet.dst, packet.dport or 0))
            except OSError as error:
                shot.error = error.errno or 0

    def _put(self, shot: Shot, mac: str) -> None:
        """A frame on the cable."""
        eye = self.eyes[int((shot.iif or "eth0")[3:])]
        kind, octets = datagram(shot.packet, shot.payload)
        eye.sendto(octets, ("r0", kind, 0, 0, bytes.fromhex(mac.replace(":", ""))))

    def _gather(self, shots: dict[int, Shot]) -> None:
        still = time.monotonic() + QUIET * 2
        while time.monotonic() < still:
            if any([*self._hear(shots), *self._see(shots)]):
                still = time.monotonic() + QUIET
            time.sleep(0.01)

    def _hear(self, shots: dict[int, Shot]) -> Iterator[bool]:
        for ear in self.ears:
            while (payload := _read(ear)) is not None:
                if payload[0].startswith(MAGIC):
                    shots[struct.unpack_from("!I", payload[0], 8)[0]].delivered = True
                    yield True

    def _see(self, shots: dict[int, Shot]) -> Iterator[bool]:
        for number, eye in enumerate(self.eyes):
            while (frame := _read(eye)) is not None:
                octets, (ifname, _, kind, _, sender) = frame
                found = _number_in(octets)
                if found is None or kind == PACKET_OUTGOING or ifname == "lo" or found not in shots:
                    continue
                shots[found].seen.add(self._device(number, ifname, sender))
                yield True

    def _device(self, number: int, ifname: str, sender: bytes) -> str:
        """The router's device that leads to this neighbour's interface."""
        if ifname in ("vx0", "wg0"):
            return ifname
        if self.topology.macvlan and sender.hex(":") == self.macs["mv0"]:
            return "mv0"
        return self.topology.doors[number]


def _eye() -> socket.socket:
    eye = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    eye.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)  # SO_RCVBUFFORCE
    eye.setblocking(False)
    return eye


def _ear(version: int, port: int) -> socket.socket:
    ear = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    if version == 6:
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    ear.bind(("", port))
    ear.setblocking(False)
    return ear


def _sender(family: str) -> socket.socket:
    return socket.socket(socket.AF_INET if family == "inet" else socket.AF_INET6, socket.SOCK_DGRAM)


def _read(one: socket.socket) -> Any:
    try:
        return one.recvfrom(65536)
    except BlockingIOError:
        return None
    except OSError:
        return b"", ("lo", 0, 0, 0, b"")  # an error that was queued for the socket


def _number_in(octets: bytes) -> int | None:
    """The number of a packet of ours, from an IP header on; not one that is quoted in an ICMP error."""
    version = octets[0] >> 4 if octets else 0
    size = (octets[0] & 15) * 4 if version == 4 else 40
    proto = octets[9] if version == 4 and len(octets) > 9 else octets[6] if version == 6 and len(octets) > 6 else 0
    payload = octets[size + 8 :]
    if proto != UDP or not payload.startswith(MAGIC):
        return None
    return int(struct.unpack_from("!I", payload, 8)[0])


def datagram(packet: Packet, payload: bytes) -> tuple[int, bytes]:
    """EtherType and octets of a UDP datagram (RFC 768, 791, 8200)."""
    size = 8 + len(payload)
    if packet.family == "inet":
        src, dst = IPv4Address(packet.src or "0.0.0.0").packed, IPv4Address(packet.dst).packed
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, packet.sport or 0, 0, 64, UDP, 0) + src + dst
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        kind = 0x0800
    else:
        src, dst = IPv6Address(packet.src or "::").packed, IPv6Address(packet.dst).packed
        head = struct.pack("!IHBB", 6 << 28, size, UDP, 64) + src + dst
        kind = 0x86DD
    udp = struct.pack("!HHHH", packet.sport or 0, packet.dport or 0, size, 0) + payload
    pseudo = src + dst + struct.pack("!IHBB", size, 0, 0, UDP)
    return kind, head + udp[:6] + struct.pack("!H", checksum(pseudo + udp) or 0xFFFF) + udp[8:]


def checksum(octets: bytes) -> int:
    """RFC 1071."""
    octets += bytes(len(octets) % 2)
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
