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
    """The address that it has."""
    family: Literal["inet", "inet6"]
    """IPv4 or IPv6."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What will be sent, before it is."""

    kind: Kind
    """The question."""
    what: str
    """One kind of packet, in words."""
    destinations: tuple[Destination, ...]
    """Everybody to whom packets go."""
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
    """What would fit."""


class MtuResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="mtu"):
    """The largest packet that got there and back in one piece."""

    destination: Destination
    """Whom it is about."""
    verdict: Verdict
    """ok; degraded: something is lost or too small; failed: nothing got there; unknown: it could not be found out."""
    says: str
    """The verdict in one sentence."""
    mtu: int | None
    """Bytes; null: nothing came back at all."""
    interface_mtu: int | None
    """What this host itself would let out at once."""
    cached: int | None
    """Path MTU that the kernel works with now."""
    told: tuple[TooBig, ...]
    """What routers said."""
    vanished: int | None
    """Smallest size that got lost without a word."""
    sent: int
    """Packets that left."""


class ReachResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="reach"):
    """Whether somebody answers."""

    destination: Destination
    """Whom it is about."""
    verdict: Verdict
    """ok; degraded: something is lost or too small; failed: nothing got there; unknown: it could not be found out."""
    says: str
    """The verdict in one sentence."""
    proto: str
    """What was sent: icmp, tcp or udp."""
    port: int | None
    """Of TCP or UDP."""
    sent: int
    """Packets that left."""
    answered: int
    """Packets that were answered."""
    rtt_ms: tuple[float, float, float] | None
    """Least, middle, most."""
    errors: tuple[str, ...]
    """What else came, with how often."""


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the way."""

    ttl: int
    """Routers that a packet may pass, and one."""
    by: tuple[str, ...]
    """Who answered; several where packets take several ways."""
    sent: int
    """Packets that left."""
    answered: int
    """Packets that were answered."""
    rtt_ms: float | None
    """The least."""
    back: int | None
    """Hops that the answer took, guessed from its TTL."""
    mtu: int | None
    """Where the hop said that a packet was too big."""
    notes: tuple[str, ...] = ()
    """Hints: several ways, another way back, translation, refusals."""


class TraceResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="trace"):
    """The way, as far as it shows itself."""

    destination: Destination
    """Whom it is about."""
    verdict: Verdict
    """ok; degraded: something is lost or too small; failed: nothing got there; unknown: it could not be found out."""
    says: str
    """The verdict in one sentence."""
    proto: str
    """What was sent: icmp, tcp or udp."""
    hops: tuple[Hop, ...]
    """From here to there."""


class WireguardResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="wireguard"):
    """Whether a peer answers."""

    destination: Destination
    """Whom it is about."""
    verdict: Verdict
    """ok; degraded: something is lost or too small; failed: nothing got there; unknown: it could not be found out."""
    says: str
    """The verdict in one sentence."""
    ifname: str
    """The tunnel's interface."""
    public_key: str
    """The peer's, base64."""
    endpoint: str | None
    """Where the peer is outside the tunnel."""
    handshake_age: float | None
    """Seconds, after the probe."""
    handshook: bool
    """Whether there was a handshake since the packet was sent."""
    sent_bytes: int
    """To the peer while it was watched, encrypted."""
    received_bytes: int
    """From the peer likewise."""


Result = MtuResult | ReachResult | TraceResult | WireguardResult


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True):
    """``netdiag.probe/1``."""

    schema: str = "netdiag.probe/1"
    """Always ``netdiag.probe/1``."""
    plan: Plan
    """What was announced."""
    results: tuple[Result, ...]
    """One a destination; none of a dry run."""
