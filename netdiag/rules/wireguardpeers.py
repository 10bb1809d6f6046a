"""WireGuard devices with their interfaces, peers as objects of findings, and the way to a peer's endpoint.

For the rules about WireGuard. A device counts only with an interface in this namespace: a daemon's socket can stay
behind when its interface was moved to another one, and an interface of the same name can be something else. Constants
are those of drivers/net/wireguard/messages.h (and section 6 of the WireGuard paper). Pure; nothing can fail.
"""

from collections.abc import Iterator

from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.finding import Subject, subject
from netdiag.model.link import Link
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.model.wireguard import PeerCounters, WireguardDevice, WireguardPeer

REJECT_AFTER_TIME = 180
"""Seconds after which the keys of a handshake are dead."""
REKEY_TIMEOUT = 5
"""Seconds between two tries of a handshake."""
KEEPALIVE_TIMEOUT = 10
"""Seconds after which what was heard is answered by an empty packet."""
INITIATION = 148
"""Bytes of one try."""


def overdue(keepalive: int) -> int:
    """The oldest handshake in seconds of a living peer to which this host sends every ``keepalive`` seconds, if nothing
    is lost on the way.

    Whoever began a session makes new keys when it sends with keys of 120 seconds, or hears something under keys of 165
    (keep_key_fresh() in send.c and receive.c). The first keepalive after those 165 seconds does it: the far end hears
    it, or this host finds keys of more than 180 seconds dead as it sends. Two more are for clocks and the way.
    """
    return max(REJECT_AFTER_TIME, REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT + keepalive + 2)


def devices(view: HostView) -> Iterator[tuple[WireguardDevice, Link]]:
    """Each device and its interface."""
    for device in view.wireguard.devices:
        link = view.link(device.ifindex) if device.ifindex is not None else None
        if link is not None and link.kind == ("tun" if device.userspace else "wireguard"):
            yield device, link


def device_subject(device: WireguardDevice) -> Subject:
    """The device as a finding's object."""
    return subject("wireguard-interface", ifname=device.ifname)


def peer_subject(device: WireguardDevice, peer: WireguardPeer) -> Subject:
    """The peer as a finding's object."""
    return subject("wireguard-peer", ifname=device.ifname, public_key=peer.public_key)


def source(device: WireguardDevice, attribute: str, line: str) -> str:
    """Where a fact of a device or peer was read: netlink's attribute, or the line of the daemon's answer."""
    return f"{device.socket} {line}" if device.userspace else f"WG_CMD_GET_DEVICE {device.ifname} {attribute}"


def second_looks(view: HostView) -> dict[tuple[str, str], PeerCounters]:
    """By interface and public key; empty where there was one look only."""
    return {(row.ifname, row.public_key): row for row in view.wireguard.second}


def query_to(device: WireguardDevice, peer: WireguardPeer) -> Query | None:
    """The encrypted packets to a peer, as the routing tables see them; None where its endpoint is not known, or
    they leave by another namespace."""
    if peer.endpoint is None or device.elsewhere:
        return None
    address, _, zone = peer.endpoint.partition("%")
    return Query(
        family="inet6" if ":" in address else "inet",
        dst=address,
        oif=int(zone) if zone.isdigit() else zone or None,
        mark=device.fwmark,
        ip_proto=IPPROTO_UDP,
        sport=device.listen_port,
        dport=peer.endpoint_port,
    )


def way_to(view: HostView, device: WireguardDevice, peer: WireguardPeer) -> list[Subject]:
    """Interfaces and gateways on the way to a peer's endpoint: what a finding about the peer touches."""
    query = query_to(device, peer)
    answer = view.lookup(query) if query is not None else None
    if answer is None or not answer.ok:
        return []
    found = []
    for hop in answer.hops:
        ifname = view.ifname(hop.oif)
        found.append(subject("link", ifname=ifname))
        if hop.gateway is not None:
            found.append(subject("neighbour", dst=hop.gateway, ifname=ifname))
    return found


def inner_neighbours(device: WireguardDevice, peer: WireguardPeer) -> list[Subject]:
    """The single addresses behind a peer, as neighbours by the device: what is lost with it."""
    singles = [prefix.partition("/") for prefix in peer.allowed_ips]
    return [
        subject("neighbour", dst=address, ifname=device.ifname)
        for address, _, size in singles
        if size == ("128" if ":" in address else "32")
    ]


def endpoint_word(peer: WireguardPeer) -> str:
    """``192.0.2.2:51820`` or ``[2001:db8::2]:51820``."""
    address = peer.endpoint or "?"
    return f"[{address}]:{peer.endpoint_port}" if ":" in address else f"{address}:{peer.endpoint_port}"
