"""What a walk carries along: the packet, the steps so far, and how it ends. Pure; nothing can fail."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from netdiag.index.packet import Query
from netdiag.model.protocols import PROTOCOL_NAMES
from netdiag.model.walk import Fate, Layer, PathStep, PathWay


class Ends(NamedTuple):
    """Source and destination with their ports."""

    src: str | None
    sport: int | None
    dst: str
    dport: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Packet:
    """One packet as it is now: NAT and tunnels make another of it."""

    family: str
    dst: str
    src: str | None = None
    iif: int = 0
    """ifindex; 0: this host sends it."""
    oif: int = 0
    """The sender is bound to this interface; 0: to none."""
    mark: int = 0
    uid: int | None = None
    tos: int = 0
    ip_proto: int | None = None
    sport: int | None = None
    dport: int | None = None
    icmp_type: int | None = None
    """None: an echo request, or the reply to one."""
    size: int | None = None
    """Bytes, the IP header included; None: small enough everywhere."""
    df: bool = True
    """Must not be cut."""
    related: bool = False
    """It answers a packet that went the other way before."""

    doubt: str = ""
    """Why what becomes of it is not certain, although it goes on."""
    ct: str | None = "new"
    """State of its connection as netfilter sees it; None: not known."""
    hooked: bool = False
    """netfilter's output hook has seen it."""
    bridge: int = 0
    """It came by a port of this bridge, whose frames netfilter sees as packets (br_netfilter), and was redirected."""
    first: Ends | None = None
    """Its addresses before this host rewrote any."""
    undone: tuple[Ends, Ends] | None = None
    """An answer: the addresses that the first packet had before this host rewrote it, and after."""

    def query(self) -> Query:
        """The packet as the routing tables see it."""
        return Query(
            family=self.family,
            dst=self.dst,
            src=self.src,
            iif=self.iif or None,
            oif=self.oif or None,
            mark=self.mark,
            uid=self.uid,
            tos=self.tos,
            ip_proto=self.ip_proto,
            sport=self.sport,
            dport=self.dport,
        )

    def text(self) -> str:
        """``udp 10.0.0.1 > 192.0.2.9:51820``."""
        proto = PROTOCOL_NAMES.get(self.ip_proto or 0, str(self.ip_proto)) if self.ip_proto else "ip"
        return f"{proto} {_end(self.src or '(not chosen)', self.sport)} > {_end(self.dst, self.dport)}"

    def answer(self, iif: int, src: str | None) -> "Packet":
        """What comes back: addresses and ports exchanged, without mark and owner, by the interface it left by."""
        return replace(
            self,
            src=self.dst,
            dst=src or self.src or "",
            iif=iif,
            oif=0,
            mark=0,
            uid=None,
            sport=self.dport,
            dport=self.sport,
            size=None,
            related=True,
            ct="established",
            doubt="",
            hooked=False,
            bridge=0,
            first=None,
            undone=(self.first, self.ends) if self.first is not None else None,
        )

    @property
    def ends(self) -> Ends:
        """Its addresses and ports."""
        return Ends(self.src, self.sport, self.dst, self.dport)


def _end(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@dataclass(frozen=True, kw_only=True)
class End:
    """How a walk, or a part of one, ends."""

    verdict: Fate
    reason: str
    dev: str | None = None
    oif: int = 0
    via: str | None = None
    src: str | None = None
    table: int | None = None
    route_type: str | None = None
    mtu: int | None = None
    mtu_reason: str | None = None
    possible: tuple[PathWay, ...] = ()
    left: Packet | None = None
    """The packet as it left, after NAT."""
    ways: tuple["End", ...] = ()
    """How it ends by each next hop, where there are several."""

    @property
    def lost(self) -> bool:
        """It ends here."""
        return self.verdict in ("dropped", "refused", "unknown")


@dataclass
class Trail:
    """The steps of a walk, in order; a deeper trail writes into the same list."""

    steps: list[PathStep] = field(default_factory=list)
    depth: int = 0

    def add(
        self,
        layer: Layer,
        decision: str,
        thing: str,
        *,
        decisive: bool = False,
        why: str = "",
        lost: Iterable[str] = (),
    ) -> None:
        """One more step."""
        self.steps.append(
            PathStep(
                layer=layer,
                decision=decision,
                object=thing,
                decisive=decisive,
                why=why,
                depth=self.depth,
                lost=tuple(lost),
            )
        )

    def stop(self, verdict: Fate, layer: Layer, thing: str, reason: str, **more: Any) -> End:
        """The step that ends the walk, and that end."""
        self.add(layer, verdict, thing, decisive=True, why=reason)
        return End(verdict=verdict, reason=reason, **more)

    def deeper(self) -> "Trail":
        """What carries the packet, or what is behind the other end of a cable."""
        return Trail(self.steps, self.depth + 1)
