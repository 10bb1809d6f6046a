"""By which interfaces the peers of a WireGuard device come. Pure."""

from netdiag.index.guests import sides
from netdiag.index.view import HostView
from netdiag.model.link import Link
from netdiag.model.wireguard import WireguardDevice
from netdiag.rules.wireguardpeers import devices, query_to

MOST_ASKED = 64
"""Peers whose ways are looked up; with more of them they may come by any interface."""


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
