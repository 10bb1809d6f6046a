"""Small hosts with BIRD, for the examples of rules: daemons, sessions, BFD, route lists and control sockets.

``BirdHost`` is a ``HostBuilder``; what is BIRD's is said first, because the other methods give a ``HostBuilder`` back.
The daemon's clock stands at noon; it was started a day before.
"""

from dataclasses import replace
from typing import Any

import msgspec

from netdiag.model.bird import (
    BfdSession,
    Bird,
    BirdChannel,
    BirdDaemon,
    BirdProtocol,
    BirdSocket,
    DaemonRoutes,
    RouteList,
    UnresolvedRoute,
)
from netdiag.model.snapshot import Tables
from netdiag.rules.build import HostBuilder

NOON = "2026-01-02 12:00:00.000"
STARTED = "2026-01-01 10:00:00.000"
SOCKET = "/run/bird/bird.ctl"


def channel(name: str = "ipv4", **fields: Any) -> BirdChannel:
    """A channel of a session: up, into the family's main table, with filters that take all."""
    table = {"ipv4": "master4", "ipv6": "master6"}.get(name, "master")
    defaults: dict[str, Any] = {"state": "UP", "table": table, "input_filter": "ACCEPT", "output_filter": "ACCEPT"}
    return BirdChannel(name=name, **(defaults | fields))


class BirdHost(HostBuilder):
    """A host that runs BIRD."""

    def __init__(self) -> None:
        super().__init__()
        self._daemons: list[BirdDaemon] = []
        self._bird_routes: list[DaemonRoutes] = []
        self._bird_sockets: list[BirdSocket] = []

    def daemon(self, socket: str = SOCKET, **fields: Any) -> "BirdHost":
        """A daemon that answers; protocols said after it are its own. Without this there is one by itself."""
        defaults: dict[str, Any] = {
            "version": "2.0.12",
            "router_id": "10.0.0.1",
            "server_time": NOON,
            "last_reboot": STARTED,
            "last_reconfiguration": STARTED,
        }
        self._daemons.append(BirdDaemon(socket=socket, **(defaults | fields)))
        self._bird_sockets.append(BirdSocket(path=socket, alive=True))
        return self

    def protocol(self, name: str, proto: str, **fields: Any) -> "BirdHost":
        """Any protocol, up."""
        if not self._daemons:
            self.daemon()
        last = self._daemons[-1]
        row = BirdProtocol(name=name, proto=proto, **({"state": "up", "since": "11:00:00.000"} | fields))
        self._daemons[-1] = msgspec.structs.replace(last, protocols=(*last.protocols, row))
        return self

    def bgp(self, name: str, **fields: Any) -> "BirdHost":
        """A BGP session: established for an hour, with one IPv4 channel."""
        defaults: dict[str, Any] = {
            "info": "Established",
            "bgp_state": "Established",
            "neighbor_address": "192.0.2.1",
            "neighbor_as": 65002,
            "local_as": 65001,
            "channels": (channel(),),
        }
        return self.protocol(name, "BGP", **(defaults | fields))

    def bgp_down(self, name: str, error: str = "", *, bgp_state: str | None = "Active", **fields: Any) -> "BirdHost":
        """A BGP session that is not established, with this last error."""
        defaults: dict[str, Any] = {
            "state": "start",
            "bgp_state": bgp_state,
            "info": f"{bgp_state or ''} {error}".strip(),
            "last_error": error or None,
            "channels": (channel(state="DOWN"),),
        }
        return self.bgp(name, **(defaults | fields))

    def bfd(self, address: str = "192.0.2.1", state: str = "Up", **fields: Any) -> "BirdHost":
        """A BFD session of the last daemon."""
        last = self._daemons[-1]
        defaults: dict[str, Any] = {"protocol": "bfd1", "ifname": "eth0", "since": "11:00:00.000"}
        row = BfdSession(address=address, state=state, **(defaults | fields))
        self._daemons[-1] = msgspec.structs.replace(last, bfd_sessions=(*last.bfd_sessions, row))
        return self

    def exports(self, protocol: str, **fields: Any) -> "BirdHost":
        """What the last daemon sends to one protocol (model.RouteList)."""
        socket = self._daemons[-1].socket
        row = RouteList(protocol=protocol, **fields)
        for position, known in enumerate(self._bird_routes):
            if known.socket == socket:
                self._bird_routes[position] = msgspec.structs.replace(known, exports=(*known.exports, row))
                return self
        self._bird_routes.append(DaemonRoutes(socket=socket, exports=(row,)))
        return self

    def unresolved(self, *routes: UnresolvedRoute) -> "BirdHost":
        """Routes of type unreachable of the last daemon, after ``exports``; without this it is not known."""
        socket = self._daemons[-1].socket
        if not any(known.socket == socket for known in self._bird_routes):
            self._bird_routes.append(DaemonRoutes(socket=socket))
        self._bird_routes = [
            msgspec.structs.replace(known, unresolved=routes) if known.socket == socket else known
            for known in self._bird_routes
        ]
        return self

    def control_socket(self, path: str = SOCKET, **fields: Any) -> "BirdHost":
        """A control socket without a daemon that answers."""
        defaults: dict[str, Any] = {"alive": False, "detail": f"bird {path}: Connection refused"}
        self._bird_sockets.append(BirdSocket(path=path, **(defaults | fields)))
        return self

    def build(self) -> Tables:
        """The tables."""
        return replace(
            super().build(),
            bird=Bird(daemons=tuple(self._daemons)),
            bird_routes=tuple(self._bird_routes),
            bird_sockets=tuple(self._bird_sockets),
        )
