"""What it checks
  For each local address, remote address and remote port: how many of the local ports that the kernel may choose
  (net.ipv4.ip_local_port_range, less ip_local_reserved_ports) are taken by connections there. And for each local
  address: whether nearly all of them are taken by connections to different services of which hardly any two share a
  port, which only programs bring about that bind an address before they connect.

Why it matters
  A connection is known by its four numbers. When every local port is taken towards one service, connect() fails with
  EADDRNOTAVAIL: for this service only, while all others go on. Proxies, NAT-free gateways and health checkers meet it
  first, and before that connect() becomes slow, because the kernel looks for the last free ports. bind() with port 0
  before connect() takes a port away from all services at once: then nothing gets out any more.

Confirm
  ss -Htan dst ADDRESS dport = :PORT | wc -l
  sysctl net.ipv4.ip_local_port_range

Fix
  sysctl -w net.ipv4.ip_local_port_range="1024 65535" (and reserve what listens there, ip_local_reserved_ports); keep
  connections open instead of making new ones; more local or remote addresses. Where ip_local_reserved_ports takes most
  of the range, it is that list which is wrong. Programs that bind a source address
  first should set IP_BIND_ADDRESS_NO_PORT: the port is then chosen by connect(), for one service.

Not flagged
  More sockets than ports in all: ports are used again for another destination. A server's connections, which share
  its port. Many services, where some ports are used twice: connect() finds more. Ports that are bound and not
  connected, which the kernel does not show. TIME_WAIT where the kernel uses it again (tcp_tw_reuse, with
  tcp_timestamps). Nine tenths or less.

References
  net/ipv4/inet_hashtables.c __inet_hash_connect(); net/ipv4/inet_connection_sock.c inet_csk_get_port(),
  net/ipv4/tcp_ipv4.c tcp_twsk_unique(); ip(7)
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.distinct import among, distinct
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.sockets import AF_INET, AF_INET6, TIME_WAIT, Sockets, address_text
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.sockettables import Mask, endpoint, in_use, listening

RULE = Rule(
    id="tcp-ephemeral-exhausted",
    title="no local port is left towards a service",
    severity="critical",
    reads=("sockets", "sysctls"),
)
NEAR = 0.9
FEW = 10
"""Fewer connections may each have a port of its own by chance."""
SELDOM = 5
"""So many times fewer ports that are used twice than chance makes: other programs on the host connect as usual."""


def ports(view: HostView) -> set[int] | None:
    """The local ports that the kernel may choose; None: not known."""
    words = (view.sysctl("net.ipv4.ip_local_port_range") or "").split()
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return None
    chosen = set(range(int(words[0]), int(words[1]) + 1))
    for part in (view.sysctl("net.ipv4.ip_local_reserved_ports") or "").split(","):
        low, _, high = part.partition("-")
        if low.isdigit():
            chosen -= set(range(int(low), (int(high) if high.isdigit() else int(low)) + 1))
    return chosen


WIDER = 'sysctl -w net.ipv4.ip_local_port_range="1024 65535"'
RANGE, RESERVED = "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"


def _remedy(view: HostView, allowed: set[int], advice: str) -> tuple[list[str], str]:
    """The settings to look at, and what gives more ports: where most of the range is reserved, it is that which takes
    them, be it by a slip of the pen."""
    words = (view.sysctl(RANGE) or "0 0").split()
    reserved = (view.sysctl(RESERVED) or "").strip()
    if 2 * len(allowed) >= int(words[1]) - int(words[0]) + 1:
        return [f"sysctl {RANGE}"], f"{WIDER}  # {advice}"
    fix = f"sysctl -w {RESERVED}=  # {quoted(reserved)} takes most of the range: reserve single ports of services alone"
    return [f"sysctl {RANGE} {RESERVED}"], fix


def held(view: HostView) -> Mask:
    """Connections whose port cannot be chosen again: all, but TIME_WAIT where the kernel uses that again, which it
    does by the time stamps of the old connection alone."""
    table = view.sockets
    mask = in_use(table)
    if view.sysctl_int("net.ipv4.tcp_timestamps") == 0:
        return mask
    reuse = view.sysctl_int("net.ipv4.tcp_tw_reuse")
    waits = table.state == TIME_WAIT
    if reuse == 1:
        mask &= ~waits
    elif reuse == 2:  # the default since Linux 4.19: loopback only
        loopback = (table.family == AF_INET) & (table.dst[:, 0] == 127)
        loopback |= (table.family == AF_INET6) & ~table.dst[:, :15].any(axis=1) & (table.dst[:, 15] == 1)
        mask &= ~(waits & loopback)
    return mask


def fullest(table: Sockets, mask: Mask, allowed: set[int]) -> Iterator[tuple[int, int]]:
    """Position of one socket, and how many allowed ports its triple takes, for each triple that takes more than one."""
    inside = mask & among(table.sport, np.fromiter(allowed, np.uint16, len(allowed)))
    positions = np.flatnonzero(inside)
    if len(positions) <= NEAR * len(allowed):
        return
    key = np.concatenate(
        [
            table.src[positions],
            table.dst[positions],
            table.dport[positions].astype(">u2").view(np.uint8).reshape(-1, 2),
            (table.family[positions] == AF_INET).astype(np.uint8).reshape(-1, 1),
        ],
        axis=1,
    )
    _, first, which, sizes = np.unique(key, axis=0, return_index=True, return_inverse=True, return_counts=True)
    for group in np.flatnonzero(sizes > NEAR * len(allowed)).tolist():
        members = positions[which.reshape(-1) == group]
        yield int(positions[first[group]]), len(distinct(table.sport[members]))


def bound(table: Sockets, mask: Mask, allowed: set[int]) -> Iterator[tuple[int, int]]:
    """Position of one socket, and how many allowed ports are taken, for each local address of which every connection,
    and there are several services, has a port of its own.

    connect() chooses for each service anew: over many services it takes some port twice long before they run out.
    """
    server = among(table.sport, table.sport[listening(table, IPPROTO_TCP)])
    inside = mask & ~server & among(table.sport, np.fromiter(allowed, np.uint16, len(allowed)))
    positions = np.flatnonzero(inside)
    if len(positions) <= NEAR * len(allowed):
        return
    owner = np.concatenate([table.src[positions], table.family[positions][:, None]], axis=1)
    _, first, which = np.unique(owner, axis=0, return_index=True, return_inverse=True)
    for group, at in enumerate(first.tolist()):
        members = positions[which.ravel() == group]
        services = np.concatenate([table.dst[members], table.dport[members][:, None]], axis=1)
        sizes = np.unique(services, axis=0, return_counts=True)[1]
        taken = len(distinct(table.sport[members]))
        by_chance = (len(members) - int(sizes.max())) * int(sizes.max()) / len(allowed)
        if len(sizes) > 1 and (taken == len(members) or (len(members) - taken) * SELDOM < by_chance):
            yield int(positions[at]), taken


def check(view: HostView) -> Iterator[Draft]:
    allowed = ports(view)
    if not allowed:
        return
    table, mask = view.sockets, held(view)
    for position, taken in bound(table, mask, allowed):
        left = len(allowed) - taken - len(allowed) % 2
        if taken >= FEW and taken > NEAR * len(allowed):
            remedy = _remedy(view, allowed, "the program should set IP_BIND_ADDRESS_NO_PORT")
            yield _bound_draft(address_text(int(table.family[position]), table.src[position]), taken, left, remedy)
    for position, taken in fullest(table, mask, allowed):
        if taken <= NEAR * len(allowed):
            continue
        family = int(table.family[position])
        src, dst = (address_text(family, column[position]) for column in (table.src, table.dst))
        dport = int(table.dport[position])
        # An odd number is rounded down before the search, which then leaves out one port (remaining &= ~1).
        left = len(allowed) - taken - len(allowed) % 2
        settings, fix = _remedy(view, allowed, "reserve ports of local services first")
        yield RULE.found(
            subject=subject("socket", netid="tcp", src=src, dst=dst, dport=dport),
            severity="critical" if left <= 0 else "warning",
            message=f"{taken} of {len(allowed)} local ports are taken by connections from {src} to "
            f"{endpoint(dst, dport)}: " + ("connect() fails" if left <= 0 else f"{left} more and connect() fails"),
            evidence=[
                ("ports taken towards it", taken, f"SOCK_DIAG tcp dst {dst} dport {dport}"),
                (
                    "ports that may be chosen",
                    len(allowed),
                    "/proc/sys/net/ipv4/ip_local_port_range, ip_local_reserved_ports",
                ),
            ],
            confirm=[
                f"ss -Htan dst {dst if ':' not in dst else f'[{dst}]'} dport = :{dport} | wc -l",
                *settings,
            ],
            fix=fix,
        )


def _bound_draft(src: str, taken: int, left: int, remedy: tuple[list[str], str]) -> Draft:
    return RULE.found(
        subject=subject("socket", netid="tcp", src=src),
        severity="critical" if left <= 0 else "warning",
        confidence="likely",
        message=f"connections from {src} to different services have taken {taken} local ports, each one of its own, as "
        f"after bind() before connect(): " + (f"{left} more and " if left > 0 else "") + "nothing else gets a port",
        evidence=[
            ("ports taken, none of them twice", taken, f"SOCK_DIAG tcp src {src}"),
            ("ports left", max(left, 0), "/proc/sys/net/ipv4/ip_local_port_range, ip_local_reserved_ports"),
        ],
        confirm=[
            f"ss -Htanp src {src if ':' not in src else f'[{src}]'}  # whose they are",
            *remedy[0],
        ],
        fix=remedy[1],
    )


def _host(count: int, *, ports: str = "40000\t40009", reserved: str = "", reuse: int = 2, **fields: Any) -> HostBuilder:
    host = HostBuilder().sysctl("net.ipv4.ip_local_port_range", ports).sysctl("net.ipv4.tcp_tw_reuse", reuse)
    host.sysctl("net.ipv4.ip_local_reserved_ports", reserved)
    for number in range(count):
        host.socket(
            **({"src": "192.0.2.1", "sport": 40000 + number, "dst": "192.0.2.9", "dport": 443, "state": 1} | fields)
        )
    return host


def examples() -> Iterator[Example]:
    def case(name: str, why: str, says: Any, host: HostBuilder) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=0 if says is None else 1, severity=says)

    yield case("all ten taken", "the plain fault", "critical", _host(10))
    yield case("IPv6", "the same range", "critical", _host(10, src="2001:db8::1", dst="2001:db8::9"))
    yield case("TIME_WAIT towards others", "held for a minute", "critical", _host(10, state=6))
    yield case("one reserved", "nine are all there are", "critical", _host(9, reserved="40009"))
    yield case("a range reserved", "the same by a range", "critical", _host(5, reserved="8080,40005-40009"))
    nineteen = _host(19, ports="40000 40019")
    yield case("nineteen of twenty", "nearly", "warning", nineteen)
    eleven = _host(10, ports="40000 40010")
    yield case("ten of eleven", "the kernel looks at an even number of ports", "critical", eleven)
    yield case("nine of ten", "at nine tenths, not above", None, _host(9))
    yield case("TIME_WAIT on loopback", "used again", None, _host(10, state=6, src="127.0.0.1", dst="127.0.0.1"))
    yield case("TIME_WAIT on IPv6 loopback", "used again", None, _host(10, state=6, src="::1", dst="::1"))
    yield case("TIME_WAIT, reuse everywhere", "used again", None, _host(10, state=6, reuse=1))
    for stamps, says in ((0, "critical"), (1, None)):
        waits = _host(10, state=6, reuse=1).sysctl("net.ipv4.tcp_timestamps", stamps)
        yield case(f"TIME_WAIT, reuse everywhere, time stamps {stamps}", "the kernel tells by them", says, waits)
    yield case("TIME_WAIT, no reuse", "held", "critical", _host(10, state=6, reuse=0, src="127.0.0.1", dst="127.0.0.1"))
    spread = _host(5)
    for number in range(10):
        spread.socket(src="192.0.2.1", sport=40000 + number, dst=f"192.0.2.{10 + number % 2}", dport=443, state=1)
    yield case("more sockets than ports", "to three services", None, spread)
    server = HostBuilder().sysctl("net.ipv4.ip_local_port_range", "40000 40001")
    for number in range(30):
        server.socket(src="192.0.2.1", sport=40000, dst="192.0.2.9", dport=1000 + number, state=1)
    yield case("a server in the range", "all its connections share one port", None, server)
    yield case("outside the range", "chosen by the program", None, _host(10, ports="50000 50009"))
    yield case("listeners", "no connection", None, _host(10, state=10, dst="0.0.0.0", dport=0))
    yield case("range not known", "nothing to compare with", None, _host(10, ports=""))
    one = _host(1, ports="40000 40000")
    yield case("a range of one", "it is not rounded", "critical", one)
    yield case("garbled range", "not known", None, _host(10, ports="a b"))
    several = _host(9)
    several.socket(src="192.0.2.1", sport=40000, dst="192.0.2.9", dport=443, state=1)
    yield case("nine of ten, one twice", "ports count, not sockets", None, several)
    mixed = _host(5, src="2001:db8::1", dst="2001:db8::9")
    for number in range(5, 10):
        mixed.socket(src="192.0.2.1", sport=40000 + number, dst="192.0.2.9", dport=443, state=1)
    yield case("half of each family", "two services", None, mixed)
    yield from _bound()
    yield case("a range reserved, one behind it left", "six are left", None, _host(5, reserved="40005-40008"))
    for low, word in ((5, 'ip_local_port_range="1024 65535"'), (4, "ports=  # 40004-40009 takes most")):
        made, why = _host(low, reserved=f"4000{low}-40009"), "which setting takes the ports"
        yield Example(name=f"reserved from {low} on", why=why, tables=made.build(), fires=1, says=(word,))


def _bound() -> Iterator[Example]:
    """Connections to a service each."""

    def each(count: int, twice: int = 0, ports: str = "40000 40009", **fields: Any) -> HostBuilder:
        host = _host(0, ports=ports)
        for number in range(count):
            dst = f"198.51.100.{number + 1}" if ":" not in str(fields.get("src")) else f"2001:db8:1::{number + 1}"
            given: dict[str, Any] = {"src": "192.0.2.1", "dst": dst, "dport": 443, "state": 1}
            host.socket(**({"sport": 40000 + max(number - twice, 0)} | given | fields))
        return host

    twenty: dict[str, Any] = {"ports": "40000 40019"}

    def beside(count: int, host: HostBuilder | None = None) -> HostBuilder:
        """More from another address of the host."""
        host = host or each(10, **twenty)
        for number in range(count):
            host.socket(src="192.0.2.2", sport=40000 + number, dst=f"198.51.100.{number + 1}", dport=443, state=1)
        return host

    def many(twice: int) -> HostBuilder:
        """190 of 200 ports, by ten services; so many of them once more, by connections of others."""
        host = _host(0, ports="40000 40199")
        for number in range(190 + twice):
            end = {"sport": 40000 + number % 190, "dport": 443 if number < 190 else 8443}
            host.socket(src="192.0.2.1", dst=f"198.51.100.{number % 10 + 1}", state=1, **end)
        return host

    told: dict[str, Any] = {"fires": 1, "confidence": "likely", "says": ("as after bind() before connect()",)}
    for name, why, severity, host in (
        ("ten services, ten ports", "no two share one", "critical", each(10)),
        ("two services, five ports each", "no two share one", "critical", _halved(1, dst="198.51.100.1")),
        ("the same of IPv6", "one range for both", "critical", each(10, src="2001:db8::1")),
        ("services, ten of eleven", "the kernel looks at an even number", "critical", each(10, ports="40000 40010")),
        ("services, nineteen of twenty", "one is left", "warning", each(19, ports="40000 40019")),
        ("services, three ports twice", "others on the host connect as usual", "warning", many(3)),
    ):
        yield Example(name=name, why=why, tables=host.build(), severity=severity, **told)  # type: ignore[arg-type]
    for name, why, host in (
        ("one port twice", "connect() chose it", each(11, twice=1)),
        ("four ports twice of many", "as chance has it", many(4)),
        ("nine of ten", "at nine tenths, not above", each(9)),
        ("eighteen of twenty", "at nine tenths, not above", each(18, ports="40000 40019")),
        ("ten of twenty", "half are left", each(10, ports="40000 40019")),
        ("nine of nine", "by chance", each(9, ports="40000 40008")),
        ("ten of twenty for each of two addresses", "each has room", beside(10)),
        ("eighteen of twenty for one, two for another", "at nine tenths, not above", beside(2, each(18, **twenty))),
        ("a server with ten ports", "they are its own", _served()),
        ("two addresses, five each", "each has room", _halved(2)),
    ):
        yield Example(name=f"services, {name}", why=why, tables=host.build())


def _served() -> HostBuilder:
    host = _host(0)
    for number in range(10):
        host.socket(src="0.0.0.0", sport=40000 + number, dst="0.0.0.0", dport=0, state=10)
        host.socket(src="192.0.2.1", sport=40000 + number, dst=f"198.51.100.{number}", dport=5000, state=1)
    return host


def _halved(addresses: int, **fields: Any) -> HostBuilder:
    """Ten ports, of so many local addresses."""
    host = _host(0)
    for number in range(10):
        given = {"src": f"192.0.2.{1 + number % addresses}", "dst": f"198.51.100.{number}", "dport": 443 + number % 2}
        host.socket(**(given | {"sport": 40000 + number, "state": 1} | fields))
    return host
