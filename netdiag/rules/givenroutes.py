"""What BIRD gives its BGP sessions, and whose it is: private networks, routes of other sessions, what the intent names.
Pure; nothing can fail."""

import ipaddress
import re
from fnmatch import fnmatchcase
from functools import lru_cache

from netdiag.index.view import HostView
from netdiag.model.bird import BirdProtocol, BirdRoute
from netdiag.rules.bgpsessions import Session
from netdiag.rules.fleetbgp import contains

PASSING_ON = frozenset({"transit", "rs", "rr", "routeserver", "reflector", "ix", "ixp", "carrier", "core", "spine"})
"""Roles of hosts that pass on what others announce."""
PRIVATE = tuple(
    ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


def external(row: BirdProtocol) -> bool:
    """An eBGP session."""
    return row.local_as is not None and row.neighbor_as not in (None, row.local_as)


@lru_cache(maxsize=65_536)  # the same prefixes go to every session
def private(net: str) -> bool:
    """Whether the prefix, or the address, is of a network that others do not know: RFC 1918, RFC 6598, RFC 4193."""
    try:
        asked = ipaddress.ip_network(net)
    except ValueError:
        return False
    return any(asked.version == one.version and asked.subnet_of(one) for one in PRIVATE)  # type: ignore[arg-type]


def all_(route: BirdRoute) -> bool:
    """A default route."""
    return route.net.endswith("/0")


class Told:
    """What BIRD tells its protocols, on this host now or at the time of the baseline."""

    def __init__(self, view: HostView) -> None:
        self.lists = {(d.socket, one.protocol): one.routes for d in view.bird_routes for one in d.exports}
        self.rows = {(d.socket, row.name): row for d in view.bird.daemons for row in d.protocols}

    def foreign(self, place: tuple[str, str]) -> list[BirdRoute]:
        """Routes that a session is given, and an external session to another AS brought."""
        found = []
        for route in self.lists.get(place) or ():
            origin = self.rows.get((place[0], route.protocol or ""))
            other = origin is not None and external(origin) and origin.neighbor_as != self.rows[place].neighbor_as
            if other and not all_(route):
                found.append(route)
        return found

    def inside(self, place: tuple[str, str]) -> list[BirdRoute]:
        """Private networks that a session is given and an internal one brought, where those that its neighbour told,
        as far as they are given to anybody, are public: who is a part of this network tells private ones too."""
        inner = [
            route
            for route in self.lists.get(place) or ()
            if private(route.net) and internal(self.rows.get((place[0], route.protocol or "")))
        ]
        if not inner:
            return []
        here = (routes for (socket, _), routes in self.lists.items() if socket == place[0])
        told = [
            route.net for routes in here for route in routes or () if route.protocol == place[1] and not all_(route)
        ]
        return inner if told and not any(private(net) for net in told) else []

    def spared(self, place: tuple[str, str], since: list[BirdRoute]) -> bool:
        """Whether the session was given routes, and none of the protocols that brought these, which had some; and was
        no part of a ring or a fabric: one whose own routes these neighbours were given gets theirs as the ways change.
        """
        routes = self.lists.get(place)
        origins = {(place[0], route.protocol or "") for route in since}
        had = [row for origin in origins if (row := self.rows.get(origin)) is not None]
        offered = any(one.imported for row in had for one in row.channels)
        known = place in self.rows and external(self.rows[place])
        asns = {row.neighbor_as for row in had}
        ring = known and any(
            row.neighbor_as in asns
            and self.rows[place[0], route.protocol or ""].neighbor_as == self.rows[place].neighbor_as
            for other, row in self.rows.items()
            if other[0] == place[0]
            for route in self.foreign(other)
        )
        return bool(routes) and known and offered and not ring and not self.foreign(place)

    def kept_back(self, place: tuple[str, str], since: list[BirdRoute], then: HostView) -> list[BirdRoute]:
        """Those of the routes that the kernel had then, of protocols that gave the session none, though it was given
        others; not those that external sessions brought, see ``spared``."""
        routes = self.lists.get(place)
        if not routes or place not in self.rows or not then.read_whole("routes"):
            return []
        gave = {route.protocol for route in routes}
        found = []
        for route in since:
            maker = self.rows.get((place[0], route.protocol or ""))
            if maker is None or maker.state != "up" or route.protocol in gave or all_(route) or external(maker):
                continue
            if _stood(then, route.net):
                found.append(route)
        return found


def _stood(view: HostView, net: str) -> bool:
    """Whether some table of the kernel had a route for just this prefix."""
    try:
        held = str(ipaddress.ip_network(net))
    except ValueError:
        return False
    family = "inet6" if ":" in held else "inet"
    fib = view.fib(family)
    return any(
        row.dst == held for table in fib.tables() for row in view.route_rows(family, fib.routes_covering(table, held))
    )


def internal(row: BirdProtocol | None) -> bool:
    """Whether it is an iBGP session."""
    return row is not None and row.proto == "BGP" and row.local_as is not None and row.neighbor_as == row.local_as


def unmeant(view: HostView, session: Session, told: Told) -> list[BirdRoute]:
    """Of what other sessions brought, external ones or private prefixes internal ones, that which the intent does not
    name for this session, though it names something. A host whose role is to pass routes on is not held to it."""
    named = [one.prefix for one in view.intent.announce or () if fnmatchcase(session.name, one.session)]
    role = view.meta.labels.get("role") or view.meta.name
    if not named or not PASSING_ON.isdisjoint(re.split(r"[^a-z]+", role.lower())):
        return []
    place = session.daemon.socket, session.name
    lent = [
        route
        for route in told.lists.get(place) or ()
        if private(route.net) and internal(told.rows.get((place[0], route.protocol or "")))
    ]
    return [r for r in (*told.foreign(place), *lent) if not any(contains(prefix, r.net) for prefix in named)]
