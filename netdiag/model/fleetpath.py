"""What becomes of one packet over many hosts: what ``netdiag fleet path --json`` prints, ``netdiag.fleet-path/1``."""

import msgspec

from netdiag.model.walk import Fate, PathPacket, PathStep


class FleetHop(msgspec.Struct, frozen=True, kw_only=True):
    """What one host does with the packet."""

    host: str
    """Name of the host."""
    iif: str | None = None
    """Interface that it comes by; null: this host sends it."""
    verdict: Fate
    """What the host does with it."""
    reason: str
    """What decides that."""
    dev: str | None = None
    """Interface that it leaves by; null: it does not leave, or by one of several."""
    via: str | None = None
    """Gateway; null: none, or the destination is on the link."""
    onward: str = ""
    """How it gets to the next host, or why it leaves the hosts that were collected."""
    steps: tuple[PathStep, ...] = ()
    """Everything that it meets there, in order."""


class FleetWay(msgspec.Struct, frozen=True, kw_only=True):
    """One direction."""

    verdict: Fate
    """What becomes of it: ``delivered``, ``dropped``, ``refused``, ``unknown``, or ``sent`` beyond these hosts."""
    reason: str
    """What decides that."""
    where: str
    """The host on which it ends."""
    mtu: int | None = None
    """Bytes of the longest packet that goes all the known way without being cut."""
    mtu_reason: str | None = None
    """What sets that limit, and where."""
    hops: tuple[FleetHop, ...] = ()
    """Host by host."""


class FleetPathReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the hosts do with one packet and with its answer."""

    schema: str = "netdiag.fleet-path/1"
    """Always ``netdiag.fleet-path/1``."""
    packet: PathPacket
    """The packet that was asked about."""
    start: str = msgspec.field(name="host")
    """The host that sends it, or that its guest is on."""
    verdict: Fate
    """What becomes of it."""
    reason: str
    """What decides that, or why it cannot be known."""
    where: str
    """The host on which it ends."""
    mtu: int | None = None
    """Bytes of the longest packet that goes all the known way without being cut."""
    mtu_reason: str | None = None
    """What sets that limit, and where."""
    hops: tuple[FleetHop, ...] = ()
    """Host by host."""
    symmetric: bool | None = None
    """Whether the answer goes back over the same hosts and interfaces; null: there is no answer, or it is not known."""
    answer: FleetWay | None = msgspec.field(default=None, name="return")
    """What becomes of the answer; null: the packet does not arrive, so there is none."""
