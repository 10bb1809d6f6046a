"""Small hosts with WireGuard for the examples of rules: HostBuilder with devices, peers and a second look at them.

A device is an interface, of kind wireguard or a daemon's tun, and what the module or the daemon tells about it. Keys
are made from one letter each. All ages count back from ``NOW``. Wrong input raises KeyError: an example is code.
"""

import base64
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.model.link import IFF_LOWER_UP, IFF_NOARP, IFF_POINTOPOINT, IFF_RUNNING, IFF_UP
from netdiag.model.snapshot import Tables
from netdiag.model.wireguard import PeerCounters, Wireguard, WireguardDevice, WireguardPeer
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, iifname, rule, state, table, verdict

NOW = 1_790_000_000.0
"""Unix time of the first look."""


def key(letter: str) -> str:
    """A public key in base64: the same letter 32 times."""
    return base64.b64encode(letter.encode() * 32).decode("ascii")


class WireguardBuilder(HostBuilder):
    """Builds ``Tables`` with WireGuard; every method of its own returns the builder."""

    def __init__(self) -> None:
        super().__init__()
        self._devices: dict[str, WireguardDevice] = {}
        self._looks: dict[tuple[str, str], PeerCounters] = {}
        self._seconds = 0.0
        self._dead: tuple[str, ...] = ()

    def wireguard(
        self,
        ifname: str,
        *,
        userspace: bool = False,
        fwmark: int = 0,
        up: bool = True,
        mtu: int = 1420,
        listen_port: int | None = 51820,
        **link: Any,
    ) -> "WireguardBuilder":
        """A device with its interface; ``link`` are fields of model.Link."""
        flags = IFF_POINTOPOINT | IFF_NOARP | (IFF_UP | IFF_LOWER_UP | IFF_RUNNING if up else 0)
        defaults = {
            "kind": "tun" if userspace else "wireguard",
            "type": 65534,
            "flags": flags,
            "mtu": mtu,
            "operstate": "unknown" if up else "down",
            "qdisc": "pfifo_fast" if userspace else "noqueue",
        }
        self.link(ifname, up=up, **(defaults | link))
        socket = f"/run/wireguard/{ifname}.sock" if userspace else None
        self._devices[ifname] = WireguardDevice(
            ifname=ifname,
            ifindex=self._index(ifname),
            public_key=key("o"),
            listen_port=listen_port,
            fwmark=fwmark,
            userspace=userspace,
            socket=socket,
        )
        return self

    def wg_peer(
        self,
        ifname: str,
        letter: str,
        *,
        age: float | None = None,
        endpoint: str | None = "192.0.2.2",
        allowed_ips: tuple[str, ...] = ("10.0.0.2/32",),
        **fields: Any,
    ) -> "WireguardBuilder":
        """A peer; ``age`` are seconds since its last handshake, None is never."""
        device = self._devices[ifname]
        peer = WireguardPeer(
            public_key=key(letter),
            endpoint=endpoint,
            allowed_ips=allowed_ips,
            latest_handshake=None if age is None else NOW - age,
            **({"endpoint_port": 51820 if endpoint else None} | fields),
        )
        self._devices[ifname] = msgspec.structs.replace(device, peers=(*device.peers, peer))
        return self

    def elsewhere(self, ifname: str) -> "WireguardBuilder":
        """The device's interface was moved to another namespace: only the daemon's socket is left here."""
        self._devices[ifname] = msgspec.structs.replace(self._devices[ifname], ifindex=None)
        del self._links[ifname]
        return self

    def dead_sockets(self, *paths: str) -> "WireguardBuilder":
        """Sockets that killed daemons left behind."""
        self._dead = paths
        return self

    def second_look(
        self, ifname: str, letter: str, *, rx: int = 0, tx: int = 0, age: float | None = None, seconds: float = 12.0
    ) -> "WireguardBuilder":
        """How far a peer's counters have moved after ``seconds``; ``age``: of a newer handshake, at the first look."""
        (peer,) = [peer for peer in self._devices[ifname].peers if peer.public_key == key(letter)]
        self._seconds = seconds
        self._looks[ifname, letter] = PeerCounters(
            ifname=ifname,
            public_key=peer.public_key,
            rx_bytes=peer.rx_bytes + rx,
            tx_bytes=peer.tx_bytes + tx,
            latest_handshake=peer.latest_handshake if age is None else NOW - age,
        )
        return self

    def build(self) -> Tables:
        """The tables."""
        seconds = self._seconds or None
        table = Wireguard(
            devices=tuple(self._devices.values()),
            at=NOW,
            second_at=NOW + seconds if seconds else None,
            seconds=seconds,
            second=tuple(self._looks.values()),
            dead_sockets=self._dead,
        )
        return replace(super().build(), wireguard=table)


def wg_host(*, at: int = 51820, endpoint: str | None = None, age: float | None = None, **peer: Any) -> WireguardBuilder:
    """A host with one card, and a device with one peer; ``at``: the port of the device."""
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "192.0.2.1/24")
    host.wireguard("wg0", listen_port=at).wg_peer("wg0", "a", endpoint=endpoint, age=age, **peer).address(
        "wg0", "10.0.0.1/24"
    )
    return host


def wg_input(*rules: Any, policy: str = "drop", **fields: Any) -> Any:
    """A table of nftables whose chain at input lets answers and lo in, and has these rules after."""
    first = rule(state("established", "related"), verdict("accept"))
    lo = rule(iifname("lo"), verdict("accept"))
    return table(chain("input", first, lo, *rules, hook="input", policy=policy), **fields)
