"""What a rule sees of many hosts at once: the hosts, and WireGuard joined on public keys.

Hosts are told apart by name alone; boot ids, kernels and clocks may be the same on several. Interfaces are never joined
by name or index across hosts: WireGuard by public key, addresses by who owns them. A host whose table was not read
whole takes no part in what is judged on it; the report says which rule went without whom. Pure; nothing can fail.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from netdiag.index.fleetedges import HANDSHAKE_LIFE, Edges, Fetch, Mask, columns_of
from netdiag.index.gaps import COLLECTOR_OF, gaps
from netdiag.model.address import Address
from netdiag.model.bird import Bird
from netdiag.model.finding import Subject
from netdiag.model.link import Link
from netdiag.model.snapshot import Snapshot, Tables
from netdiag.model.wireguard import PeerCounters, WireguardDevice, WireguardPeer


def on(host: str, about: Subject) -> Subject:
    """An object of one host, as a fleet's findings name it."""
    return cast(Subject, about | {"hosts": [host]})


def across(hosts: Iterable[str], about: Subject) -> Subject:
    """An object that several hosts share, or a fault between them."""
    return cast(Subject, about | {"hosts": sorted(set(hosts))})


@dataclass(frozen=True, kw_only=True)
class FleetHost:
    """One host: its newest snapshot, and the one before."""

    name: str
    snapshot: Snapshot
    previous: Snapshot | None = None
    judged: Callable[[str], bytes | memoryview | None] | None = None
    """Gives what the rules said of this host by itself when it was stored, for netdiag.fleet.judge; None: not kept."""

    cards: tuple[WireguardDevice, ...] | None = None
    """Its WireGuard devices without their peers, where a store tells them apart; None: they are in its tables."""

    looks: tuple[Callable[[], Bird], ...] = ()
    """Gives its BIRD daemons as each of the snapshots before told, oldest first; of a store those of the last day, and
    one."""

    @cached_property
    def birds(self) -> list[Bird]:
        """Its BIRD daemons as the snapshots before and the newest told, oldest first."""
        return [*(look() for look in self.looks), self.tables.bird]

    @property
    def tables(self) -> Tables:
        """Tables of the newest snapshot."""
        return self.snapshot.tables

    @property
    def devices(self) -> tuple[WireguardDevice, ...]:
        """Its WireGuard devices, perhaps without their peers."""
        return self.tables.wireguard.devices if self.cards is None else self.cards

    @property
    def labels(self) -> dict[str, str]:
        """Labels, with region and role from the name where they do not say (``fra-edge1``: fra, edge)."""
        region, _, rest = self.name.partition("-")
        role = rest.partition("-")[0].rstrip("0123456789")
        named = {key: value for key, value in (("region", region if rest else ""), ("role", role)) if value}
        return named | self.snapshot.meta.labels

    def read(self, *tables: str) -> bool:
        """Whether all these tables were read whole."""
        wanted = [table for table in tables if table in COLLECTOR_OF]
        return not gaps(self.snapshot.coverage, self.tables, wanted)[0]

    @cached_property
    def second_looks(self) -> dict[tuple[str, str], PeerCounters]:
        """The second look at peers, by interface and public key."""
        return {(row.ifname, row.public_key): row for row in self.tables.wireguard.second}

    @cached_property
    def peers_before(self) -> dict[tuple[str | None, str], WireguardPeer]:
        """Peers of the snapshot before, by the device's and their own public key."""
        devices = self.previous.tables.wireguard.devices if self.previous is not None else ()
        return {(device.public_key, row.public_key): row for device in devices for row in device.peers}

    @cached_property
    def drained(self) -> bool:
        """Told so, or every BGP session is switched off in BIRD."""
        if self.snapshot.meta.drained:
            return True
        sessions = [p for d in self.tables.bird.daemons for p in d.protocols if p.proto == "BGP"]
        return bool(sessions) and all(p.state == "down" and not p.last_error for p in sessions)


@dataclass(frozen=True)
class End:
    """A WireGuard device of a host, with its interface."""

    host: FleetHost
    card: WireguardDevice
    """The device, perhaps without its peers: what is quick to be had."""
    link: Link

    @cached_property
    def device(self) -> WireguardDevice:
        """The device with its peers."""
        if self.host.cards is None:
            return self.card
        rows = self.host.tables.wireguard.devices
        return next((row for row in rows if row.ifname == self.card.ifname), self.card)

    @cached_property
    def peers(self) -> dict[str, WireguardPeer]:
        """Its peers by public key."""
        return {row.public_key: row for row in self.device.peers}

    @cached_property
    def addresses(self) -> list[Address]:
        """Its own addresses of global scope."""
        rows = self.host.tables.addresses
        return [row for row in rows if row.ifindex == self.link.ifindex and row.scope == 0]


@dataclass(frozen=True)
class Pair:
    """One host's peer entry, and the host that holds the peer's key."""

    near: End
    peer: WireguardPeer
    far: End | None
    """None: no host of the fleet holds that key."""

    @property
    def back(self) -> WireguardPeer | None:
        """The far end's entry for the near end; None: it has none, or is not known."""
        if self.far is None:
            return None
        return self.far.peers.get(str(self.near.device.public_key))

    @cached_property
    def age(self) -> float | None:
        """Seconds since the last handshake when the host was read; None: never."""
        look = self._second
        last = look.latest_handshake if look is not None and look.latest_handshake else self.peer.latest_handshake
        table = self.near.host.tables.wireguard
        return None if last is None else (table.second_at or table.at) - last

    @property
    def alive(self) -> bool:
        """Whether its keys are alive."""
        return self.age is not None and self.age <= HANDSHAKE_LIFE

    @property
    def _second(self) -> PeerCounters | None:
        return self.near.host.second_looks.get((self.near.device.ifname, self.peer.public_key))

    @cached_property
    def moved(self) -> tuple[int, int] | None:
        """Bytes (sent, received) between two looks, or since the snapshot before; None: one look, or a reset."""
        second = self._second
        if second is not None:
            sent, heard = second.tx_bytes - self.peer.tx_bytes, second.rx_bytes - self.peer.rx_bytes
            return (sent, heard) if sent >= 0 and heard >= 0 else None
        row = self.near.host.peers_before.get((self.near.device.public_key, self.peer.public_key))
        if row is None:
            return None
        sent, heard = self.peer.tx_bytes - row.tx_bytes, self.peer.rx_bytes - row.rx_bytes
        return (sent, heard) if sent >= 0 and heard >= 0 else None

    @property
    def dead(self) -> bool:
        """Whether the near end wants to talk and hears nothing: dead keys, and bytes that go out or a keepalive."""
        if self.alive or self.peer.endpoint is None:
            return False
        if self.moved is not None:
            sent, heard = self.moved
            if heard > 0 or sent > 0:
                return heard == 0
        return self.peer.persistent_keepalive > 0 and (self.age is None or self.age > HANDSHAKE_LIFE * 2)


@dataclass(frozen=True, kw_only=True)
class FleetView:
    """All hosts."""

    hosts: tuple[FleetHost, ...]
    unreached: tuple[str, ...] = ()
    """Names of hosts that should be here and are not."""
    kept: dict[str, Any] = field(default_factory=dict, compare=False)
    """What several rules work out together, by a name of theirs."""
    columns: Fetch | None = None
    """Gives the peer entries of a store as columns; None: they are taken from the hosts' tables."""
    symptoms: dict[str, dict[str, tuple[Subject, ...]]] = field(default_factory=dict)
    """Rule id to the hosts on which it raises an alarm by itself, each with what the alarms are about."""

    def reading(self, *tables: str) -> Iterator[FleetHost]:
        """Hosts on which these tables were read whole."""
        return (host for host in self.hosts if host.read(*tables))

    @cached_property
    def ends(self) -> dict[str, End]:
        """WireGuard devices by public key. A key on two hosts (a cloned image) stands for the first by name."""
        found: dict[str, End] = {}
        for host in sorted(self.reading("wireguard", "links", "addresses"), key=lambda host: host.name):
            links = {link.ifindex: link for link in host.tables.links}
            for device in host.devices:
                link = links.get(device.ifindex) if device.ifindex is not None else None
                if device.public_key is not None and link is not None:
                    found.setdefault(device.public_key, End(host, device, link))
        return found

    @cached_property
    def end_list(self) -> list[End]:
        """The ends in the order in which ``edges`` counts them."""
        return list(self.ends.values())

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every peer entry of every device. A rule that looks for few of a million asks ``edges`` and ``where``."""
        if self.columns is not None:
            return self.at(range(len(self.edges)))
        return [
            Pair(end, peer, self.ends.get(peer.public_key)) for end in self.ends.values() for peer in end.device.peers
        ]

    @cached_property
    def edges(self) -> Edges:
        """Every peer entry as columns."""
        keys = [str(end.card.public_key) for end in self.end_list]
        if self.columns is not None:
            return Edges(self.columns([(end.host.name, end.card.ifname) for end in self.end_list]), keys)
        numbers = {key: number for number, key in enumerate(keys)}
        rows = [(numbers[str(pair.near.card.public_key)], pair.peer, pair.age, pair.moved) for pair in self.pairs]
        counted: dict[int, int] = defaultdict(lambda: -1)
        when = [end.host.tables.wireguard for end in self.end_list]
        table = []
        for near, peer, age, moved in rows:
            counted[near] += 1
            called = peer.endpoint is not None
            keepalive = peer.persistent_keepalive
            looked = when[near].second_at or when[near].at
            last = (keepalive, age, moved, peer.allowed_ips, looked)
            table.append((near, counted[near], peer.public_key, called, *last))
        return Edges(columns_of(table), keys)

    def where(self, chosen: Mask) -> list[Pair]:
        """The entries for which a mask over ``edges`` holds."""
        return self.at(chosen.nonzero()[0].tolist())

    def at(self, positions: Iterable[int]) -> list[Pair]:
        """The entries at these positions of ``edges``."""
        if self.columns is None:
            return [self.pairs[position] for position in positions]
        columns, found = self.edges.columns, []
        for position in positions:
            near, far = self.end_list[columns.near[position]], int(self.edges.far[position])
            peer = near.device.peers[columns.place[position]]
            pair = Pair(near, peer, self.end_list[far] if far >= 0 else None)
            age, sent = float(columns.age[position]), int(columns.sent[position])
            # What the columns say need not be worked out again from the tables.
            pair.__dict__["age"] = None if age != age else age  # noqa: PLR0124 - NaN
            pair.__dict__["moved"] = (sent, int(columns.heard[position])) if sent >= 0 else None
            found.append(pair)
        return found

    @cached_property
    def mesh_of(self) -> dict[str, int]:
        """Public key to the number of its mesh: devices that are joined by peer entries, over any number of steps."""
        label = self.edges.meshes().tolist()
        keys = [*self.edges.columns.keys, *self.edges.own]
        return dict(zip(reversed(keys), reversed(label), strict=True))
