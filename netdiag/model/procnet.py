"""What /proc tells of interfaces and IPv4 routes: little, but without the lock that rtnetlink takes."""

import msgspec


class ProcInterface(msgspec.Struct, frozen=True, kw_only=True):
    """One line of /proc/net/dev; counts since the interface was made."""

    ifname: str
    """Name of the interface."""
    rx_bytes: int
    """Bytes received."""
    rx_packets: int
    """Packets received."""
    rx_errors: int
    """Packets with an error."""
    rx_dropped: int
    """Packets dropped on the way in."""
    tx_bytes: int
    """Bytes sent."""
    tx_packets: int
    """Packets sent."""
    tx_errors: int
    """Packets that could not be sent."""
    tx_dropped: int
    """Packets dropped on the way out."""


class ProcRoute(msgspec.Struct, frozen=True, kw_only=True):
    """One line of /proc/net/route: IPv4, main and default table, first next hop only."""

    ifname: str
    """Name of the interface."""
    dst: str
    """``192.0.2.0/24``."""
    gateway: str | None = None
    """Address of the gateway; None: none."""
    metric: int = 0
    """RTA_PRIORITY."""


class ProcNet(msgspec.Struct, frozen=True, kw_only=True):
    """The picture that is left when rtnetlink does not answer."""

    interfaces: tuple[ProcInterface, ...] = ()
    """Every interface of the namespace."""
    routes: tuple[ProcRoute, ...] | None = None
    """None: not read, or too many."""
