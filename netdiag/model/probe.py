"""What was sent on purpose, and what came back: ``netdiag.probe/1``.

Sizes are bytes of whole IP packets, times are seconds unless a name says milliseconds. None means not known.
"""

from typing import Literal

import msgspec

Kind = Literal["mtu", "reach", "trace", "wireguard"]
Verdict = Literal["ok", "degraded", "failed", "unknown"]


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Whom packets go to."""

    name: str
    """As it was asked for."""
    address: str
    family: Literal["inet", "inet6"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What will be sent, before it is."""

    kind: Kind
    what: str
    """One kind of packet, in words."""
    destinations: tuple[Destination, ...]
    packets: int
    """At most so many, to all destinations together."""
    rate: float
    """At most so many a second."""
    seconds: float
    """At most so long."""


class TooBig(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a packet did not fit."""

    by: str
    """Who said it."""
    mtu: int


class MtuResult(msgspec.Struct, frozen=True, kw_only=True):
    """The largest packet that got there and back in one piece."""

    destination: Destination
    verdict: Verdict
    says: str
    mtu: int | None
    interface_mtu: int | None
    """What this host itself would let out at once."""
    cached: int | None
    """Path MTU that the kernel works with now."""
    told: tuple[TooBig, ...]
    vanished: int | None
    """Smallest size that got lost without a word."""
    sent: int


class ReachResult(msgspec.Struct, frozen=True, kw_only=True):
    """Whether somebody answers."""

    destination: Destination
    verdict: Verdict
    says: str
    proto: str
    port: int | None
    sent: int
    answered: int
    rtt_ms: tuple[float, float, float] | None
    """Least, middle, most."""
    errors: tuple[str, ...]


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the way."""

    ttl: int
    by: tuple[str, ...]
    """Who answered; several where packets take several ways."""
    sent: int
    answered: int
    rtt_ms: float | None
    """The least."""
    back: int | None
    """Hops that the answer took, guessed from its TTL."""
    mtu: int | None
    """Where the hop said that a packet was too big."""
    notes: tuple[str, ...] = ()


class TraceResult(msgspec.Struct, frozen=True, kw_only=True):
    """The way, as far as it shows itself."""

    destination: Destination
    verdict: Verdict
    says: str
    proto: str
    hops: tuple[Hop, ...]


class WireguardResult(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a peer answers."""

    destination: Destination
    verdict: Verdict
    says: str
    ifname: str
    public_key: str
    endpoint: str | None
    handshake_age: float | None
    """Seconds, after the probe."""
    handshook: bool
    """Whether there was a handshake since the packet was sent."""
    sent_bytes: int
    received_bytes: int


Result = MtuResult | ReachResult | TraceResult | WireguardResult


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True):
    """``netdiag.probe/1``."""

    schema: str = "netdiag.probe/1"
    plan: Plan
    results: tuple[Result, ...]
    """One a destination; none of a dry run."""
