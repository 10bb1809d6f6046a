"""Interfaces with their counters, and IPv4 routes, from /proc/net: what is left when rtnetlink hangs.

Source: /proc/self/net/dev (net/core/net-procfs.c) and /proc/self/net/route (net/ipv4/fib_trie.c fib_route_seq_show()),
both read under RCU: they answer while somebody holds the rtnl lock and every ``ip`` on the machine hangs. Needs no
privilege. On a host with a full table the routes are left out: that file would be larger than what is read of any.
"""

import ipaddress

from netdiag.collectors import Collected, Options
from netdiag.model.procnet import ProcInterface, ProcNet, ProcRoute
from netdiag.model.text import kernel_text
from netdiag.sources.protocol import Source, Unreadable

ROUTES_KEPT = 1000


def parse_dev(raw: bytes) -> tuple[ProcInterface, ...]:
    """/proc/net/dev: a name, a colon, sixteen counters."""
    found = []
    for line in raw.split(b"\n")[2:]:
        name, colon, rest = line.rpartition(b":")
        numbers = [int(word) for word in rest.split() if word.isdigit()]
        if colon and len(numbers) >= 16:
            rx, tx = numbers[:8], numbers[8:]
            found.append(
                ProcInterface(
                    ifname=kernel_text(name.strip()),
                    rx_bytes=rx[0],
                    rx_packets=rx[1],
                    rx_errors=rx[2],
                    rx_dropped=rx[3],
                    tx_bytes=tx[0],
                    tx_packets=tx[1],
                    tx_errors=tx[2],
                    tx_dropped=tx[3],
                )
            )
    return tuple(found)


def _address(word: bytes) -> int:
    """Eight hexadecimal digits, the address as the host's own integer; netdiag runs on little-endian machines only."""
    return int.from_bytes(int(word, 16).to_bytes(4, "little"), "big")


def parse_route(raw: bytes) -> tuple[ProcRoute, ...]:
    """/proc/net/route: interface, destination, gateway, flags, ..., metric, mask, in hexadecimal."""
    found = []
    for line in raw.split(b"\n")[1 : ROUTES_KEPT + 1]:
        words = line.rstrip().split(b"\t")
        try:
            dst, gateway, mask = (_address(words[number].strip()) for number in (1, 2, 7))
            length = mask.bit_count()
            found.append(
                ProcRoute(
                    ifname=kernel_text(words[0].rstrip()),
                    dst=f"{ipaddress.IPv4Address(dst)}/{length}",
                    gateway=str(ipaddress.IPv4Address(gateway)) if gateway else None,
                    metric=int(words[6]),
                )
            )
        except (ValueError, IndexError, OverflowError):
            continue  # the padding at the end of the file, or a line of another shape
    return tuple(found)


def collect(source: Source, options: Options) -> Collected:
    """Interfaces always, routes where the file is small enough. Raises Unreadable without /proc."""
    interfaces = parse_dev(source.read("/proc/self/net/dev"))
    try:
        routes = parse_route(source.read("/proc/self/net/route"))
    except Unreadable:
        routes = None
    return Collected(tables={"procnet": ProcNet(interfaces=interfaces, routes=routes)}, rows=len(interfaces))
