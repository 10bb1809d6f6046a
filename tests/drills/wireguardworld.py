"""WireGuard worlds for the drills: a tunnel between two hosts, and a daemon that says what it is told to.

Ages of handshakes cannot be waited for (three minutes), so `scripted` serves the userspace interface of WireGuard
(https://www.wireguard.com/xplatform/) itself, beside a real tun interface: netdiag and wg(8) read it like a daemon's.
"""

from __future__ import annotations

import base64
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import Host, Lab
from tests.lab.daemons import Peer, key_pair


def key_of(host: Host, what: str = "genkey") -> str:
    """A new private key, or with ``pubkey`` a public key to which nobody has the private one."""
    return key_pair(host)[what == "pubkey"]


def mesh(lab: Lab, *, mtu: int = 1500, keepalive: int | None = None) -> tuple[Host, Host]:
    """wg0 on two hosts, 10.9.0.1 and 10.9.0.2, up and silent, over 192.0.2.0/30.

      10.9.0.1 wg0 ))) ((( wg0 10.9.0.2
                |           |
    a 192.0.2.1 eth0 --- eth0 192.0.2.2 b
    """
    a, b = lab.host("a"), lab.host("b")
    underlay = ["192.0.2.1/30", "2001:db8::1/64"], ["192.0.2.2/30", "2001:db8::2/64"]
    lab.link(a, "eth0", b, "eth0", a_addresses=underlay[0], b_addresses=underlay[1], mtu=mtu)
    (a_private, a_public), (b_private, b_public) = key_pair(a), key_pair(b)
    to_a = Peer(public_key=a_public, allowed_ips=["10.9.0.1/32"], endpoint="192.0.2.1:51820")
    to_b = Peer(
        public_key=b_public,
        allowed_ips=["10.9.0.2/32"],
        endpoint="192.0.2.2:51820",
        persistent_keepalive=keepalive,
    )
    lab.wireguard(a, "wg0", a_private, 51820, [to_b])
    lab.wireguard(b, "wg0", b_private, 51820, [to_a])
    for number, host in enumerate((a, b), 1):
        host.ip(f"address add 10.9.0.{number}/24 dev wg0\nlink set dev wg0 up")
    return a, b


FAR_AWAY = "198.51.100.9"


def full_tunnel(lab: Lab, *, rules: bool = True) -> Host:
    """wg0 takes everything, as wg-quick makes it: a mark, a table of its own and two rules; the peer is far away."""
    a, _ = mesh(lab, keepalive=25)
    peer = a.run("wg", "show", "wg0", "peers").stdout.strip()
    allowed = "0.0.0.0/0,::/0"
    a.run(*f"wg set wg0 fwmark 51820 peer {peer} endpoint {FAR_AWAY}:51820 allowed-ips {allowed}".split())
    a.ip("route add default via 192.0.2.2 dev eth0\nroute add default dev wg0 table 51820")
    if rules:
        a.ip("rule add not fwmark 51820 table 51820\nrule add table main suppress_prefixlength 0")
    return a


@dataclass(frozen=True, kw_only=True)
class Told:
    """A peer as the scripted daemon tells it."""

    public_key: str
    age: float | None = None
    """Seconds since its last handshake, when asked; None: never."""
    endpoint: str | None = "192.0.2.2:51820"
    allowed_ips: Sequence[str] = ("10.9.0.2/32",)
    keepalive: int = 0
    rx: int = 0
    tx: int = 0
    tx_each: int = 0
    """Bytes sent between one question and the next."""
    rx_each: int = 0
    """Bytes received meanwhile."""


def scripted(host: Host, ifname: str, peers: Sequence[Told]) -> int:
    """Serve these peers at the socket of `ifname`, instead of whom served before. Gives the server's pid."""
    path = f"/run/wireguard/{ifname}.sock"

    def serve() -> None:
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).unlink(missing_ok=True)
        asked = 0
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path + ".new")
            server.listen()
            os.rename(path + ".new", path)  # the socket appears when it answers, and not before
            while True:
                client, _ = server.accept()
                with client:
                    if client.recv(1 << 16):  # wg(8) first connects only to see that somebody listens
                        client.sendall(_answer(peers, asked).encode("ascii"))
                        asked += 1

    def inode() -> int:
        try:
            return Path(path).stat().st_ino
        except FileNotFoundError:
            return 0

    before = host.call(inode)
    pid = host.fork(serve)

    def changed() -> bool:
        return host.call(inode) not in (0, before)

    deadline = time.monotonic() + 5
    while not changed():
        assert time.monotonic() < deadline, f"no server at {path}"
    return pid


def _answer(peers: Sequence[Told], asked: int) -> str:
    lines = ["private_key=" + "11" * 32, "listen_port=51820"]
    for peer in peers:
        lines.append("public_key=" + base64.b64decode(peer.public_key).hex())
        lines += [f"endpoint={peer.endpoint}"] if peer.endpoint else []
        lines += [f"last_handshake_time_sec={0 if peer.age is None else int(time.time() - peer.age)}"]
        lines += [
            "last_handshake_time_nsec=0",
            f"tx_bytes={peer.tx + asked * peer.tx_each}",
            f"rx_bytes={peer.rx + asked * peer.rx_each}",
        ]
        lines += [f"persistent_keepalive_interval={peer.keepalive}"]
        lines += [f"allowed_ip={prefix}" for prefix in peer.allowed_ips]
    return "\n".join([*lines, "errno=0", "", ""])
