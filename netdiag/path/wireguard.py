"""What a WireGuard device does with a packet: the peer, its session, and the packet that carries it.

Mirrors wg_xmit() of drivers/net/wireguard/device.c, socket.c and send.c: no peer with that allowed address, or a peer
without an endpoint, and the sender gets an error (wireguard-go drops it silently). The carrying packet has the device's
fwmark, may be cut, and has a way of its own. Pure; nothing can fail.
"""

from typing import NamedTuple

from netdiag.index.cryptokey import Allowed
from netdiag.model.link import Link
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.model.walk import Fate
from netdiag.path.host import PathHost
from netdiag.path.trail import Packet, Trail

OVERHEAD = {"inet": 60, "inet6": 80}
"""Bytes: the endpoint's IP header 20 or 40, UDP 8, WireGuard's header 16 and authenticator 16."""
REJECT_AFTER_TIME = 180
"""Seconds after which the keys of a handshake are dead."""
TRACKED = 100
"""Seconds: connection tracking keeps silent UDP for 120."""
PADDING = 16


class Encrypted(NamedTuple):
    """The packet that carries it; None: it comes no further, and why."""

    outer: Packet | None
    overhead: int = 0
    fate: Fate | None = None
    reason: str = ""
    waits: bool = False
    """There is no session: hands are to be shaken first."""


class Wireguard:
    """One device as packets go into it and come out of it."""

    def __init__(self, host: PathHost, link: Link) -> None:
        self._host = host
        self._link = link
        self._keys = host.wireguard(link.ifindex)

    def encrypt(self, packet: Packet, trail: Trail) -> Encrypted:
        """On the way out."""
        ifname = self._link.ifname
        if self._keys is None:
            why = self._host.gap("wireguard") or f"the peers of {ifname} are not known"
            return self._stop(trail, "unknown", ifname, why)
        userspace = self._keys.device.userspace
        found = self._keys.lookup(packet.dst)
        if found is None:
            why = f"no peer of {ifname} has {packet.dst} among its allowed ips"
            return self._stop(trail, "dropped" if userspace else "refused", ifname, why)
        peer = found.peer
        thing = f"{ifname} peer {peer.public_key}"
        if peer.endpoint is None:
            why = f"{ifname} does not know the endpoint of peer {peer.public_key}: it has not been heard from"
            return self._stop(trail, "dropped" if userspace else "refused", thing, why)
        address, _, zone = peer.endpoint.partition("%")
        port = f"[{address}]:{peer.endpoint_port}" if ":" in address else f"{address}:{peer.endpoint_port}"
        trail.add(
            "wireguard", "encrypted", thing, why=f"allowed ips {found.prefix}; endpoint {port}; {self._age(found)}"
        )
        family = "inet6" if ":" in address else "inet"
        return Encrypted(
            Packet(
                family=family,
                dst=address,
                oif=self._zone(zone),
                mark=self._keys.device.fwmark,
                ip_proto=IPPROTO_UDP,
                sport=self._keys.device.listen_port,
                dport=peer.endpoint_port,
                size=self._padded(packet.size, OVERHEAD[family]),
                df=False,
                ct=self._tracked(found),
            ),
            OVERHEAD[family],
            waits=not self._fresh(found),
        )

    def _fresh(self, found: Allowed) -> bool:
        """Whether there is a session with keys that are still good."""
        when, now = found.peer.latest_handshake, self._host.tables.wireguard.at
        return when is not None and now - when <= REJECT_AFTER_TIME

    def _tracked(self, found: Allowed) -> str | None:
        """With a session both sides have sent, and connection tracking knows them, for a while."""
        if not self._fresh(found):
            return "new" if found.peer.latest_handshake is None else None
        return "established" if self._host.tables.wireguard.at - (found.peer.latest_handshake or 0) < TRACKED else None

    def _zone(self, zone: str) -> int:
        link = self._host.stack.by_name.get(zone)
        return int(zone) if zone.isdigit() else link.ifindex if link is not None else 0

    def _padded(self, size: int | None, overhead: int) -> int | None:
        """calculate_skb_padding(): up to a multiple of 16, but never beyond the device's mtu."""
        if size is None:
            return None
        return max(size, min(self._link.mtu, -(-size // PADDING) * PADDING)) + overhead

    def _age(self, found: Allowed) -> str:
        when, now = found.peer.latest_handshake, self._host.tables.wireguard.at
        if when is None:
            return "never shaken hands: the packet waits until the peer answers"
        age = max(0, round(now - when))
        if now and age > REJECT_AFTER_TIME:
            return f"last handshake {age} s ago: the packet waits until the peer answers"
        return f"last handshake {age} s ago"

    @staticmethod
    def _stop(trail: Trail, fate: Fate, thing: str, why: str) -> Encrypted:
        trail.add("wireguard", fate, thing, decisive=True, why=why)
        return Encrypted(None, 0, fate, why)

    def accept(self, packet: Packet, trail: Trail) -> Encrypted | None:
        """On the way in: the source must be the peer's. None: it is let in."""
        ifname = self._link.ifname
        if packet.src is None:
            return None
        if self._keys is None:
            why = self._host.gap("wireguard") or f"the peers of {ifname} are not known"
            trail.add("wireguard", "not read", ifname, why=why)
            return None
        found = self._keys.lookup(packet.src)
        if found is None:
            why = f"no peer of {ifname} has {packet.src} among its allowed ips"
            return self._stop(trail, "dropped", ifname, why)
        trail.add("wireguard", "accepted", f"{ifname} peer {found.peer.public_key}", why=f"allowed ips {found.prefix}")
        return None
