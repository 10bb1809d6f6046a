"""Path MTUs that this host has learnt from ICMP, with the destination they hold for (RTM_F_CLONED)."""

import msgspec


class PathMtu(msgspec.Struct, frozen=True, kw_only=True):
    """One exception to the routes: a destination with an MTU of its own."""

    family: str
    """`inet` or `inet6`."""
    dst: str
    """Address that it holds for."""
    mtu: int
    """Largest packet to it, in bytes."""
    ifindex: int | None = None
    """Index of the interface that packets to it leave by."""
    gateway: str | None = None
    """Address of the gateway."""
    expires: float | None = None
    """Seconds until it is forgotten; null: not told."""
    table: int | None = None
    """Routing table of the route that it belongs to; null: not told."""
    locked: bool = False
    """IPv4: below the least that is taken (route/min_pmtu), so that packets are cut instead of shrunk any further."""
