"""Sockets as netdiag and as ``ss`` read them, by sock_diag and by /proc/net."""

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from netdiag.collectors import Collected, Options, sockets
from netdiag.model.sockets import TOLD_SKMEM, Sockets
from netdiag.sources.live import LiveSource
from netdiag.sources.protocol import Unreadable
from tests.lab import Host, Lab

Line = tuple[str, str, int, int, str, str]


class WithoutModules(LiveSource):
    """A host whose kernel could load a module for every question."""

    def read(self, path: str) -> bytes:
        return b"" if path == "/proc/modules" else super().read(path)

    def dump(self, *_: object) -> object:  # type: ignore[override]
        raise AssertionError("a dump would load a module")


class NotServed(LiveSource):
    """A kernel that has no sock_diag for anything."""

    def dump(self, request: object, sink: object) -> object:  # type: ignore[override]
        raise Unreadable("absent", "no such family")


def everything() -> Iterator[None]:
    """Sockets of every kind and state that one process can hold, until the generator is closed."""
    with contextlib.ExitStack() as stack:

        def made(family: int, kind: int, protocol: int = 0) -> socket.socket:
            return stack.enter_context(socket.socket(family, kind, protocol))

        for family, here in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            server = made(family, socket.SOCK_STREAM)
            server.bind((here, 7000))
            server.listen(3)
            for _ in range(3):
                made(family, socket.SOCK_STREAM).connect((here, 7000))
            accepted = stack.enter_context(server.accept()[0])
            accepted.send(b"unread")
            bound = made(family, socket.SOCK_DGRAM)
            bound.bind((here, 7001))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            made(family, socket.SOCK_DGRAM).sendto(b"x" * 10, (here, 7001))
            talker = made(family, socket.SOCK_DGRAM)
            talker.connect((here, 7001))
        made(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        made(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        yield


def taken(source: LiveSource, interval: float = 0.0) -> Collected:
    """What the collector finds, with all those sockets open."""
    for _ in everything():
        return sockets.collect(source, Options(interval=interval))
    raise AssertionError


def lines_of(table: Sockets) -> Counter[Line]:
    """TCP and UDP as lines of ``ss -H -n -a``."""
    found: Counter[Line] = Counter()
    for position, row in enumerate(table.rows()):
        if row.netid not in ("tcp", "udp"):
            continue
        queues = int(table.rqueue[position]), int(table.wqueue[position])
        found[row.netid, row.state, *queues, f"{row.src}:{row.sport}", f"{row.dst}:{row.dport}"] += 1
    return found


def of_ss(text: str) -> Counter[Line]:
    """The same from ``ss`` itself."""

    def endpoint(word: str) -> str:
        address, _, port = word.rpartition(":")
        address = address.partition("%")[0].strip("[]")
        # Only an IPv6 socket that takes IPv4 too is bound to "*".
        return f"{'::' if address == '*' else address}:{0 if port == '*' else port}"

    found: Counter[Line] = Counter()
    for line in text.splitlines():
        netid, state, rqueue, wqueue, local, peer = line.split()[:6]
        found[netid, state, int(rqueue), int(wqueue), endpoint(local), endpoint(peer)] += 1
    return found


def test_the_same_sockets_as_ss(lab: Lab) -> None:
    host = lab.host("a")

    def both() -> tuple[Counter[Line], str]:
        import subprocess

        for _ in everything():
            table: Sockets = sockets.collect(LiveSource(), Options(interval=0)).tables["sockets"]
            ss = subprocess.run(["ss", "-H", "-n", "-a", "-t", "-u"], check=True, capture_output=True, text=True)
            return lines_of(table), ss.stdout
        raise AssertionError

    own, text = host.call(both)
    assert own == of_ss(text)
    assert sum(own.values()) == 20


@pytest.mark.parametrize("source", [WithoutModules, NotServed])
def test_without_modules_proc_tells_the_same(lab: Lab, source: type[LiveSource]) -> None:
    host = lab.host("a")
    asked, read = host.call(lambda: (taken(LiveSource()), taken(source())))
    assert (asked.status, read.status, read.detail) == ("ok", "ok", "")
    assert asked.rows == read.rows == 22

    def plain(collected: Collected) -> Counter[tuple[str, ...]]:
        rows = collected.tables["sockets"].rows()
        return Counter((r.netid, r.family, r.state, r.src, str(r.sport), r.dst, str(r.dport)) for r in rows)

    def stable(counted: Counter[tuple[str, ...]]) -> Counter[str]:
        return Counter(" ".join(row[:3]) for row in counted.elements())

    assert stable(plain(asked)) == stable(plain(read))


def test_what_only_sock_diag_tells(lab: Lab) -> None:
    collected = lab.host("a").call(lambda: taken(LiveSource(), 0.01))
    table: Sockets = collected.tables["sockets"]
    by_port = {(r.netid, r.family, r.sport): n for n, r in enumerate(table.rows()) if r.dport == 0}
    listener = by_port["tcp", "inet", 7000]
    assert (table.rqueue[listener], table.wqueue[listener], table.later[listener]) == (2, 3, 1)
    receiver = by_port["udp", "inet6", 7001]
    assert table.ifindex[receiver] == 1 and table.rmem[receiver] > 0 and table.told[receiver] & TOLD_SKMEM
    unread = [n for n, r in enumerate(table.rows()) if r.state == "ESTAB" and table.rqueue[n] == 6]
    assert len(unread) == 2 and all(table.later_rqueue[n] == 6 for n in unread)
    assert all(table.snd_mss[n] > 500 and table.received[n] == 6 for n in unread)
    names = collected.tables["socket_owners"]
    assert names.seconds >= 0.01 and names.complete
    assert {owner.inode for owner in names.owners} >= {int(table.inode[listener]), int(table.inode[receiver])}


def test_a_host_with_nothing(lab: Lab) -> None:
    host: Host = lab.host("a")
    collected = host.call(lambda: sockets.collect(LiveSource(), Options(interval=0)))
    assert (collected.status, collected.rows) == ("ok", 0)
