"""Run a plan, one destination after the other: what cannot be sent to one of them costs that one."""

import ipaddress
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from netdiag.model.probe import Destination, Plan, Result
from netdiag.probes import mtu, reach, trace, wireguard
from netdiag.probes.sockets import Unsent


class Unresolved(Exception):
    """A name has no address; one line."""


@dataclass(frozen=True, kw_only=True)
class How:
    """What is the same for every destination."""

    proto: str = "icmp"
    port: int | None = None
    count: int = 5
    hops: int = 30
    timeout: float = 1.0
    size: int | None = None
    source: str | None = None


def resolve(names: Sequence[str], family: str | None = None) -> list[Destination]:
    """The first address of each name. Raises Unresolved."""
    wanted = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}.get(family or "", socket.AF_UNSPEC)
    found = []
    for name in names:
        try:
            rows = socket.getaddrinfo(name, None, wanted, socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            raise Unresolved(f"{name}: {getattr(error, 'strerror', None) or error}") from error
        told: tuple[Any, ...] = rows[0][4]
        address = str(told[0]).partition("%")[0]
        if ipaddress.ip_address(address).is_multicast or address == "255.255.255.255":
            raise Unresolved(f"{name}: {address} is more than one host")
        v6 = rows[0][0] == socket.AF_INET6
        if v6 and (scope := int(told[3])):
            address += f"%{socket.if_indextoname(scope)}"
        found.append(Destination(name=name, address=address, family="inet6" if v6 else "inet"))
    return found


def results(plan: Plan, how: How) -> Iterator[Result]:
    """What came of each destination of a plan of mtu, reach or trace. Raises NotPermitted."""
    for number, to in enumerate(plan.destinations):
        if number:
            time.sleep(1 / plan.rate)
        yield _one(plan, how, to)


def _one(plan: Plan, how: How, to: Destination) -> Result:
    pause = 1 / plan.rate
    try:
        if plan.kind == "mtu":
            ceiling = how.size or mtu.LARGEST
            return mtu.run(to, timeout=how.timeout, pause=pause, ceiling=ceiling, source=how.source)
        if plan.kind == "trace":
            return trace.run(
                to, proto=how.proto, count=how.count, hops=how.hops, timeout=how.timeout, pause=pause, size=how.size,
                source=how.source,
            )  # fmt: skip
        return reach.run(
            to, proto=how.proto, port=how.port, count=how.count, timeout=how.timeout, pause=pause, source=how.source
        )
    except Unsent as error:
        return _unsent(plan, how, to, str(error))


def _unsent(plan: Plan, how: How, to: Destination, why: str) -> Result:
    if plan.kind == "mtu":
        return mtu.judged(to, mtu.Search(to.family, mtu.LARGEST), None, 0, why)
    if plan.kind == "trace":
        empty = trace.judged(to, how.proto, (), ())
        return type(empty)(destination=to, verdict="unknown", says=why, proto=how.proto, hops=())
    empty_reach = reach.judged(to, how.proto, how.port, ())
    return type(empty_reach)(
        destination=to, verdict="unknown", says=why, proto=how.proto, port=how.port, sent=0, answered=0, rtt_ms=None,
        errors=(),
    )  # fmt: skip


def tunnels(asked: Sequence[str], read: "wireguard.Read") -> list[wireguard.Tunnel]:
    """The tunnels that are meant. Raises Unresolved."""
    devices = list(read())
    found: dict[tuple[str, str], wireguard.Tunnel] = {}
    for name in asked:
        rows = wireguard.tunnels(devices, name)
        if not rows:
            raise Unresolved(
                f"{name}: is no WireGuard interface, no peer's public key, and no address that a peer is allowed"
            )
        found |= {(row.ifname, row.peer.public_key): row for row in rows}
    return list(found.values())
