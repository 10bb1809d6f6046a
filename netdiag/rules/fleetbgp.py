"""BGP over the hosts of a fleet: every session with its host, what a host announces, and prefixes that contain others.

For the rules of the fleet about BGP. Pure; nothing can fail.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from netdiag.index.fleet import FleetHost, FleetView, on
from netdiag.model.finding import Subject, subject
from netdiag.model.snapshot import Tables
from netdiag.rules.bgpsessions import Session


@dataclass(frozen=True)
class HostSession:
    """A BGP session and the host that it runs on."""

    host: FleetHost
    session: Session

    @property
    def subject(self) -> Subject:
        """The session, as a fleet's findings name it."""
        return on(self.host.name, self.session.subject)

    @property
    def ifname(self) -> str | None:
        """The interface that the neighbour is on; None: it is not on a network of this host."""
        row = self.session.protocol
        if row.neighbor_ifname:
            return row.neighbor_ifname
        for own in self.host.tables.addresses:
            if contains(f"{own.local}/{own.prefixlen}", row.neighbor_address or ""):
                return next((x.ifname for x in self.host.tables.links if x.ifindex == own.ifindex), None)
        return None

    @property
    def needs(self) -> list[Subject]:
        """What of the host the session is and stands on: itself, its neighbour, the interface."""
        ifname, address = self.ifname, self.session.protocol.neighbor_address
        found = [self.session.subject]
        if ifname is not None and address is not None:
            found += [subject("neighbour", dst=address, ifname=ifname), subject("link", ifname=ifname)]
        return [on(self.host.name, thing) for thing in found]


def host_sessions(view: FleetView) -> Iterator[HostSession]:
    """Every BGP session of every host whose BIRD was read."""
    for host in view.reading("bird"):
        daemons = host.tables.bird.daemons
        for daemon in daemons:
            for protocol in daemon.protocols:
                if protocol.proto == "BGP":
                    yield HostSession(host, Session(daemon=daemon, protocol=protocol, alone=len(daemons) == 1))


def announced(tables: Tables, besides: frozenset[str] = frozenset()) -> set[str] | None:
    """Prefixes that a host's established sessions are sent, but for those with a neighbour in ``besides``; None where a
    list was not told whole."""
    up = {
        p.name
        for d in tables.bird.daemons
        for p in d.protocols
        if p.bgp_state == "Established" and p.neighbor_address not in besides
    }
    lists = [row for daemon in tables.bird_routes for row in daemon.exports if row.protocol in up]
    if any(row.routes is None for row in lists) or (up and not lists):
        return None
    return {route.net for row in lists for route in row.routes or ()}


def contains(prefix: str, other: str) -> bool:
    """Whether a prefix holds an address or another prefix; text that is none holds nothing."""
    try:
        wide = ipaddress.ip_network(prefix, strict=False)
        return ipaddress.ip_network(other).subnet_of(wide)  # type: ignore[arg-type]
    except (ValueError, TypeError):  # the latter: one of each family
        return False


def covered(prefix: str, nets: Iterable[str]) -> bool:
    """Whether one of the networks, a default route aside, holds the prefix."""
    return any(not net.endswith("/0") and contains(net, prefix) for net in nets)
