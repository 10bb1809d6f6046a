"""By which interfaces the peers of a WireGuard device come, and whether the host's filter lets them in. Pure."""

from dataclasses import replace

from netdiag.index.guests import sides
from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import HookVerdict, Possible
from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.link import Link
from netdiag.model.wireguard import WireguardDevice
from netdiag.rules.localports import listeners
from netdiag.rules.ownhooks import comes_in
from netdiag.rules.wireguardpeers import REJECT_AFTER_TIME, devices, query_to

MOST_ASKED = 64
"""Peers whose ways are looked up; with more of them they may come by any interface."""
NEAR, USUAL = 10, range(51820, 51830)
"""How far from its port another one is taken for a device's, and those that wg-quick's examples use."""
FEW = 2
"""More open ports than these are a range, which was opened for something else."""
SERVICES = (22, 53, 80, 179, 443)
"""TCP ports of which a filter that is made for a family lets some in."""


def cards(view: HostView, family: str) -> list[Link]:
    """Interfaces with an address of the family by which somebody may come, not through a tunnel; those to this host's
    own guests only where there is no other."""
    inside = {link.ifindex for _, link in devices(view)}
    with_address = {row.ifindex for row in view.addresses if row.family == family and row.scope == 0} - inside
    cards = [link for link in view.links if link.up and not link.loopback and link.ifindex in with_address]
    guests = {side.link.ifindex for side in sides(view.stack, view.routes(family), view.addresses).guests}
    return [link for link in cards if link.ifindex not in guests] or cards


def doors(view: HostView, device: WireguardDevice, family: str) -> list[Link]:
    """Interfaces with an address of the family by which peers come: the ways to their endpoints; any, where the
    endpoint of one is not known, or there is no way to it."""
    links = cards(view, family)
    asked = [query for peer in device.peers[:MOST_ASKED] if (query := query_to(device, peer)) is not None]
    if len(asked) < len(device.peers):
        return links
    used = {hop.oif for query in asked if query.family == family for hop in view.lookup(query).hops}
    # where every peer has a way in the other family, this one does not matter
    elsewhere = all(query.family != family and view.lookup(query).hops for query in asked)
    return [link for link in links if link.ifindex in used] or ([] if elsewhere else links)


def met_by(view: HostView, device: WireguardDevice, family: str) -> list[Link]:
    """Interfaces by which peers were heard lately that nobody here calls: they came by themselves."""
    since = view.wireguard.at - REJECT_AFTER_TIME
    came = [
        query
        for peer in device.peers[:MOST_ASKED]
        if not peer.persistent_keepalive and (peer.latest_handshake or 0.0) >= since
        and (query := query_to(device, peer)) is not None and query.family == family
    ]  # fmt: skip
    used = {hop.oif for query in came for hop in view.lookup(query).hops}
    return [link for link in cards(view, family) if link.ifindex in used]


def let_in(
    view: HostView,
    device: WireguardDevice,
    link: Link,
    family: str,
    *,
    port: int | None = None,
    answers: Query | None = None,
    proto: int = 17,
) -> HookVerdict:
    """What becomes of a packet that begins, or of an answer to what was sent."""
    packet = Packet(family=family, iif=link.ifname, proto=proto, dport=port or device.listen_port, daddr_type="local")
    if answers is not None:
        packet = replace(packet, saddr=answers.dst, sport=answers.dport, ct_state="established", ct_reply=True)
    return comes_in(view, packet)


def _beside(port: int) -> int:
    """The next port; after the last one the first."""
    return port % 65535 + 1


def singled_out(view: HostView, device: WireguardDevice) -> bool:
    """Whether a datagram to the port beside it would pass: somebody closed this very port."""
    beside = _beside(device.listen_port or 0)
    ways = ((family, link) for family in ("inet", "inet6") for link in doors(view, device, family))
    return any(let_in(view, device, link, family, port=beside).passes != "no" for family, link in ways)


def opened_beside(view: HostView, device: WireguardDevice) -> int | None:
    """A port near this one, or one of WireGuard's usual ones, that the filter lets in though nothing listens there: it
    was opened for this device. None where the sockets were not read: a kernel's WireGuard has none, but is a device."""
    own = device.listen_port or 0
    if not own or view.unknown("sockets"):
        return None
    taken = {one.listen_port for one, _ in devices(view)}
    taken |= {port for ports in listeners(view).values() for port in ports}
    near = {number for number in range(own - NEAR, own + NEAR + 1) if 0 < number < 65536} | set(USUAL)
    ways = [(family, link) for family in ("inet", "inet6") for link in doors(view, device, family)]
    opened = [
        number
        for number in sorted(near - taken, key=lambda number: abs(number - own))
        if any(let_in(view, device, link, family, port=number).passes == "yes" for family, link in ways)
    ]
    return opened[0] if 0 < len(opened) <= FEW else None


def deaf(view: HostView, device: WireguardDevice) -> bool:
    """Whether not even the answers of the peers whose endpoints are known come in."""
    asked = [query for peer in device.peers[:MOST_ASKED] if (query := query_to(device, peer)) is not None]
    ways = [(query, link) for query in asked for hop in view.lookup(query).hops if (link := view.link(hop.oif))]
    return bool(ways) and all(
        let_in(view, device, link, query.family, answers=query).passes == "no" for query, link in ways
    )


def was_open(view: HostView, device: WireguardDevice) -> bool:
    """Whether the filter of the baseline let somebody begin at this port of the device."""
    old = view.baseline
    if old is None or not old.read_whole("nft"):
        return False
    ours = [one for one, _ in devices(old) if (one.ifname, one.listen_port) == (device.ifname, device.listen_port)]
    ways = ((family, link) for family in ("inet", "inet6") for link in cards(old, family))
    return bool(ours) and any(let_in(old, ours[0], link, family).passes == "yes" for family, link in ways)


def why_closed(view: HostView, device: WireguardDevice) -> str:
    """What shows that the port is not closed on purpose; empty where nothing does."""
    alone, other = singled_out(view, device), opened_beside(view, device)
    if not alone and deaf(view, device):
        return "no answer comes in"
    if other is not None:
        return f"port {other} is open instead, on which nothing listens"
    if alone:
        return "the ports beside it are open"
    return "it was open at the time of the baseline" if was_open(view, device) else ""


def half_closed(view: HostView, device: WireguardDevice) -> tuple[str, Possible] | None:
    """The family of which nothing comes in to the port, and what stops it, where the other family is open to anything:
    it has no filter, so that nobody opened the port there. None where somebody did, where the family is shut
    altogether, or where peers come by the other one alone: it may be the one that is served."""
    port = device.listen_port or 0
    met = {query.family for peer in device.peers if peer.latest_handshake and (query := query_to(device, peer))}
    for family, other in (("inet", "inet6"), ("inet6", "inet")):
        if other in met and family not in met:
            continue
        near = cards(view, family)
        said = [let_in(view, device, link, family) for link in near]
        if not said or any(one.passes != "no" for one in said):
            continue
        unfiltered = all(
            let_in(view, device, link, other, port=number).passes == "yes"
            for link in cards(view, other)
            for number in (port, _beside(port))
        )
        made = any(
            let_in(view, device, link, family, port=number, proto=6).passes != "no"
            for link in near
            for number in SERVICES
        )
        stop = said[-1].blocker
        if unfiltered and made and stop is not None:
            return family, stop
    return None
