"""What a route that refuses packets stands in front of, and how bad it is to refuse somebody. Pure, cannot fail."""

from netdiag.index.guests import GuestSide, sides
from netdiag.index.view import HostView
from netdiag.index.ways import rivals, usable
from netdiag.model.finding import Severity
from netdiag.model.route import RT_TABLE_LOCAL, RT_TABLE_MAIN, RTN_LOCAL, RTN_UNICAST, Route
from netdiag.rules.demands import Demand, serves

CLIENTS = ("wireguard", "ppp", "xfrm", "vti")
"""Kinds of interface that VPNs and dial-ups make."""


def left_behind(view: HostView, family: str, position: int, ifindex: int | None = None) -> int | None:
    """A working unicast route of the same table that would take the packets; for ``ifindex`` only a link's own."""
    routes, behind = view.routes(family), rivals(view.fib(family), position)
    for other in (*behind.after, *behind.shorter):
        row = routes.row(other)
        if usable(routes, other) and (ifindex is None or (row.oif == ifindex and row.gateway is None)):
            return other
    return None


def aggregate(view: HostView, family: str, position: int) -> bool:
    """Whether more specific unicast or local routes lie in its prefix: then it catches only the rest."""
    row, fib = view.routes(family).row(position), view.fib(family)
    for table in {row.table, RT_TABLE_MAIN, RT_TABLE_LOCAL}:
        for other in fib.routes_within(table, row.dst)[:64].tolist():
            if fib.routes.type[other] in (RTN_UNICAST, RTN_LOCAL):
                return True
    return False


def weight(view: HostView, demand: Demand, row: Route) -> Severity:
    """How bad it is to refuse that one."""
    if demand.kind in ("connection", "flow"):
        return "critical" if demand.busy else "warning"
    if demand.kind == "neighbour" and any(side.link.ifindex == demand.ifindex for side in _guests(view, row.family)):
        return "critical" if demand.busy else "warning"
    if demand.kind == "neighbour":
        alone = row.dst.endswith(("/32", "/128"))
        if alone and not serves(view, row.family, demand.query.dst):
            return "info"
        return "critical" if demand.busy and not alone else "warning"
    return "critical" if demand.busy else "info"


def may_be_client(view: HostView) -> bool:
    """Whether something here may be the tunnel of a VPN that carries everything: then the rest may be refused on
    purpose. WireGuard's interfaces do where a peer is allowed everything, or where they were not read."""
    devices = {device.ifname: device for device in view.wireguard.devices}
    for link in view.links:
        device = devices.get(link.ifname)
        if device is not None:
            if any(prefix.endswith(("/0", "/1")) for peer in device.peers for prefix in peer.allowed_ips):
                return True
        elif link.kind in CLIENTS or link.info.get("type") == "tun":
            return True
    return False


def _guests(view: HostView, family: str) -> tuple[GuestSide, ...]:
    """Interfaces with guests of this host behind them."""
    return sides(view.stack, view.routes(family), view.addresses).guests
