"""Bonds and their legs, as the rules about them see them (drivers/net/bonding/bond_netlink.c, bond_3ad.c)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Subject, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder

LACP = "802.3ad"
DEFAULTED, EXPIRED = 0x40, 0x80
"""LACP_STATE_* of our own port: nobody has answered for three seconds; and: those seconds are not over yet."""
NOBODY = "00:00:00:00:00:00"


@dataclass(frozen=True)
class Leg:
    """One leg."""

    link: Link

    @property
    def mii_up(self) -> bool:
        """The bond takes it for usable."""
        return self.link.slave_info.get("mii_status") in ("UP", "GOING_DOWN")

    @property
    def works(self) -> bool:
        """It has a carrier, and the bond knows."""
        return self.mii_up and self.link.lower_up

    @property
    def aggregator(self) -> int | None:
        number: int | None = self.link.slave_info.get("ad_aggregator_id")
        return number

    @property
    def state(self) -> int | None:
        """LACP state of our port; None: the kernel does not say."""
        bits: int | None = self.link.slave_info.get("ad_actor_oper_port_state")
        return bits

    @property
    def alone(self) -> bool:
        """Nobody answers LACP on this leg, and the three seconds in which somebody could are over."""
        return self.state is not None and bool(self.state & DEFAULTED) and not self.state & EXPIRED


@dataclass(frozen=True)
class Bond:
    """A bond with its legs."""

    link: Link
    legs: tuple[Leg, ...]

    @property
    def lacp(self) -> bool:
        return self.link.info.get("mode") == LACP

    @property
    def partner(self) -> str | None:
        """System address of the partner of the active aggregator; None: unknown, or nobody."""
        address: str | None = (self.link.info.get("ad_info") or {}).get("partner_mac")
        return None if address == NOBODY else address

    @property
    def about(self) -> Subject:
        return subject("link", ifname=self.link.ifname)

    @property
    def parts(self) -> list[Subject]:
        """The legs as objects that the bond needs."""
        return [subject("link", ifname=leg.link.ifname) for leg in self.legs]


def bonds(view: HostView) -> Iterator[Bond]:
    """Bonds that are up and have legs."""
    for link in view.links:
        if link.kind == "bond" and link.up:
            legs = tuple(Leg(port) for port in view.stack.ports(link.ifindex))
            if legs:
                yield Bond(link, legs)


def host(mode: str = LACP, legs: tuple[dict[str, Any], ...] = ({}, {}), **info: Any) -> HostBuilder:
    """For examples: bond0 with eth0, eth1 ...; a leg is its slave_info, but for ``carrier``, ``up``, ``kind``."""
    ad = {"aggregator": 1, "num_ports": 2, "partner_mac": "02:00:00:00:00:99"}
    defaults = {"mode": mode, "miimon": 100, "arp_interval": 0} | ({"ad_info": ad} if mode == LACP else {})
    built = HostBuilder().link("bond0", kind="bond", info=defaults | info)
    for number, leg in enumerate(legs):
        own = dict(leg)
        fields = {name: own.pop(name) for name in ("carrier", "up", "kind") if name in own}
        state = {"mii_status": "UP", "ad_aggregator_id": 1, "ad_actor_oper_port_state": 0x3D} | own
        built.link(f"eth{number}", master="bond0", slave_kind="bond", slave_info=state, **fields)
    return built


ALONE = {"ad_actor_oper_port_state": 0x4D}
WAITING = {"ad_actor_oper_port_state": 0xC5}
"""Legs for examples: nobody answers; nobody has answered yet."""
