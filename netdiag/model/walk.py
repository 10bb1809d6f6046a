"""What becomes of one packet, step by step: what ``netdiag path --json`` prints, ``netdiag.path/1``."""

from typing import Literal

import msgspec

Layer = Literal[
    "local",
    "rule",
    "route",
    "nexthop",
    "neighbour",
    "sysctl",
    "netfilter",
    "bpf",
    "qdisc",
    "link",
    "wireguard",
    "tunnel",
    "mtu",
]
Fate = Literal["sent", "forwarded", "delivered", "dropped", "refused", "unknown"]


class PathPacket(msgspec.Struct, frozen=True, kw_only=True):
    """The packet that was asked about."""

    family: str
    """``inet`` or ``inet6``."""
    src: str | None = msgspec.field(default=None, name="from")
    """Source address; null: whatever the kernel chooses."""
    dst: str = msgspec.field(name="to")
    """Destination address."""
    iif: str | None = None
    """Interface that it arrives by; null: this host sends it."""
    mark: int = 0
    """fwmark."""
    uid: int | None = None
    """Owner of the sending socket; null: uid 0."""
    tos: int = 0
    """The whole DS field."""
    proto: str | None = None
    """``udp``, ``tcp`` or ``icmp``; null: none in particular."""
    sport: int | None = None
    """Source port."""
    dport: int | None = None
    """Destination port."""
    size: int | None = None
    """Bytes, its IP header included; null: small enough."""


class PathStep(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the packet meets, and what that does with it."""

    layer: Layer
    """What kind of thing it is."""
    decision: str
    """What it does with the packet."""
    object: str
    """The thing: a rule, a route, a device, as the stock tools spell it."""
    decisive: bool = False
    """It decides what becomes of the packet."""
    why: str = ""
    """The reason, where the decision does not say it all."""
    depth: int = 0
    """0: the packet itself; 1 and more: what carries it, or what is behind the other end of a cable."""
    lost: tuple[str, ...] = ()
    """What was not chosen, each with the reason."""


class PathWay(msgspec.Struct, frozen=True, kw_only=True):
    """One of several next hops that the packet can take."""

    dev: str
    """Interface."""
    via: str | None = None
    """Gateway; null: the destination is on the link."""
    src: str | None = None
    """Source address that the packet gets by this hop."""


class PathReturn(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of the answer, which arrives where the packet left."""

    verdict: Fate
    """What becomes of it."""
    reason: str
    """What decides that."""
    dev: str | None = None
    """Interface that it leaves by, if it is forwarded."""
    via: str | None = None
    """Gateway that it is forwarded to."""
    asymmetric: bool | None = None
    """The answer takes another way than the packet came; null: not known."""
    steps: tuple[PathStep, ...] = ()
    """Everything that it meets, in order."""


class PathReport(msgspec.Struct, frozen=True, kw_only=True):
    """What this host does with one packet."""

    schema: str = "netdiag.path/1"
    """Always ``netdiag.path/1``."""
    packet: PathPacket
    """The packet that was asked about."""
    verdict: Fate
    """What becomes of it."""
    reason: str
    """What decides that, or why it cannot be known."""
    dev: str | None = None
    """Interface that it leaves by; null: none, or one of several."""
    via: str | None = None
    """Gateway; null: none, or one of several."""
    src: str | None = None
    """Source address that it has when it leaves."""
    table: int | None = None
    """Routing table that decided."""
    route_type: str | None = None
    """Type of the route that decided."""
    mtu: int | None = None
    """Bytes of the longest packet that goes all the known way without being cut."""
    mtu_reason: str | None = None
    """What sets that limit."""
    possible: tuple[PathWay, ...] = ()
    """Every next hop that it can take, where there are several."""
    steps: tuple[PathStep, ...] = ()
    """Everything that it meets, in order."""
    answer: PathReturn | None = msgspec.field(default=None, name="return")
    """What becomes of the answer; null: there is none to ask about."""
