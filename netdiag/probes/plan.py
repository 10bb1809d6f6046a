"""What a probe will send: pure, so that it can be shown, tested and refused before the first packet."""

from collections.abc import Sequence

from netdiag.model.probe import Destination, Kind, Plan

DESTINATIONS_LIMIT = 64
RATE_LIMIT = 100.0
"""Packets a second, to all destinations together."""
MTU_SIZES = 20
"""Sizes that a search tries at most: both ends, two that routers told, and a bisection of 64 KiB."""
MTU_TRIES = 3
WIREGUARD_WAIT = 12.0
"""Seconds; a peer that has nothing to say answers data after ten (KEEPALIVE_TIMEOUT, drivers/net/wireguard)."""


class PlanRefused(Exception):
    """What was asked for is too much, or makes no sense; one line."""


def plan(
    kind: Kind,
    destinations: Sequence[Destination],
    *,
    count: int = 1,
    rate: float = 5.0,
    timeout: float = 1.0,
    hops: int = 30,
    proto: str = "icmp",
    port: int | None = None,
) -> Plan:
    """The plan of a probe. ``count``: packets a destination (reach), or a hop (trace). Raises PlanRefused."""
    if not destinations:
        raise PlanRefused("nobody to send to")
    if len(destinations) > DESTINATIONS_LIMIT:
        raise PlanRefused(f"more than {DESTINATIONS_LIMIT} destinations")
    if not 0 < rate <= RATE_LIMIT:
        raise PlanRefused(f"a rate of {rate:g} packets a second; at most {RATE_LIMIT:g}")
    if proto != "icmp" and kind == "reach" and port is None:
        raise PlanRefused(f"--proto {proto} needs --port")
    each = {"mtu": MTU_SIZES * MTU_TRIES, "reach": count, "trace": hops * count, "wireguard": 1}[kind]
    wait = WIREGUARD_WAIT if kind == "wireguard" else timeout
    return Plan(
        kind=kind,
        what=_what(kind, proto, port),
        destinations=tuple(destinations),
        packets=each * len(destinations),
        rate=rate,
        seconds=round(each * len(destinations) * (wait + 1 / rate), 1),
    )


def _what(kind: Kind, proto: str, port: int | None) -> str:
    if kind == "mtu":
        return "ICMP echo requests of different sizes that may not be fragmented"
    if kind == "wireguard":
        return "one UDP datagram of 1 byte into the tunnel, to port 9"
    if kind == "trace":
        return (
            f"{'UDP datagrams to ports from 33434' if proto == 'udp' else 'ICMP echo requests'} with TTL 1, 2, 3, ..."
        )
    if proto == "icmp":
        return "ICMP echo requests"
    return f"{'TCP connections, closed at once,' if proto == 'tcp' else 'UDP datagrams of 1 byte'} to port {port}"
