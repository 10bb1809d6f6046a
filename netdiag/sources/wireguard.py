"""Userspace WireGuard (wireguard-go, boringtun) over its UAPI socket: one question, one answer, no secrets.

Protocol: https://www.wireguard.com/xplatform/#configuration-protocol. ``get=1`` answers lines ``key=value``, closed by
``errno=0`` and an empty line; keys are hexadecimal. The answer always holds the private and preshared keys: only lines
whose key is known to be harmless are kept, and of a preshared key the one fact that it is set.

A daemon that hangs, drips or never stops is ended by the deadline and by a cap of bytes. Raises OSError and its kind.
"""

import base64
import ipaddress
import socket
import time

from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.sources.curve25519 import public_key

ANSWER_LIMIT = 64 << 20
"""Bytes; 100,000 peers with ten allowed-ips each stay below."""
PATIENCE = 2.0
"""Seconds for one answer, where the caller's deadline leaves as much."""

KEPT = {
    b"listen_port",
    b"fwmark",
    b"public_key",
    b"endpoint",
    b"persistent_keepalive_interval",
    b"allowed_ip",
    b"rx_bytes",
    b"tx_bytes",
    b"last_handshake_time_sec",
    b"last_handshake_time_nsec",
    b"protocol_version",
    b"errno",
}
"""Lines that may leave this file as they are; all others are dropped, whatever a newer daemon may send."""


def _exchange(path: str, deadline: float) -> bytearray:
    answer = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as talk:
        talk.settimeout(max(0.001, deadline - time.monotonic()))
        talk.connect(path)
        talk.sendall(b"get=1\n\n")
        while not answer.endswith(b"\n\n"):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(110, "no whole answer before the deadline")
            talk.settimeout(left)
            octets = talk.recv(1 << 16)
            if not octets:
                break
            answer += octets
            if len(answer) > ANSWER_LIMIT:
                raise OSError(90, f"the answer is longer than {ANSWER_LIMIT >> 20} MiB")
    return answer


def _own_public_key(value: bytes) -> list[bytes]:
    """The line that replaces ``private_key=``; none where the value is not 32 bytes of hexadecimal."""
    try:
        private_key = bytes.fromhex(value.decode("ascii"))
    except ValueError:
        return []
    return [b"own_public_key=" + public_key(private_key).hex().encode()] if len(private_key) == 32 else []


def fetch(key: str, deadline: float | None) -> bytes:
    """Answer of the daemon behind the socket ``key``, secrets gone. ``deadline``: seconds of time.monotonic().

    ``private_key=`` becomes ``own_public_key=`` (the protocol tells only the private one), ``preshared_key=`` becomes
    ``has_preshared_key=1``, each only where the key is not all zero.
    """
    soonest = time.monotonic() + PATIENCE
    answer = _exchange(key, soonest if deadline is None else min(deadline, soonest))
    kept: list[bytes] = []
    for line in bytes(answer).split(b"\n"):
        name, _, value = line.partition(b"=")
        if name in KEPT:
            kept.append(line)
        elif name == b"private_key" and value.strip(b"0"):
            kept += _own_public_key(value)
        elif name == b"preshared_key" and value.strip(b"0"):
            kept.append(b"has_preshared_key=1")
    if not any(line.startswith(b"errno=") for line in kept):
        raise OSError(71, "the answer ended before its last line")
    return b"\n".join(kept) + b"\n"


def parse(answer: bytes, ifname: str, path: str, ifindex: int | None) -> WireguardDevice:
    """A device from the lines that ``fetch`` keeps. Raises ValueError for an answer that is not of the protocol."""
    device: dict[str, str] = {}
    peers: list[tuple[dict[str, str], list[str]]] = []
    for line in answer.decode("ascii", "backslashreplace").splitlines():
        name, _, value = line.partition("=")
        if name == "public_key":
            peers.append(({"public_key": value}, []))
        elif name == "allowed_ip" and peers:
            peers[-1][1].append(value)
        elif name == "errno":
            if int(value):
                raise ValueError(f"the daemon answered errno={int(value)}")
        else:
            (peers[-1][0] if peers else device)[name] = value
    own = device.get("own_public_key")
    return WireguardDevice(
        ifname=ifname,
        ifindex=ifindex,
        public_key=_key(own) if own else None,
        listen_port=int(device.get("listen_port", "0")) or None,
        fwmark=int(device.get("fwmark", "0"), 0),
        userspace=True,
        socket=path,
        peers=tuple(_peer(lines, allowed) for lines, allowed in peers),
    )


def _key(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode("ascii")


def _peer(lines: dict[str, str], allowed: list[str]) -> WireguardPeer:
    address, _, port = lines.get("endpoint", "").rpartition(":")
    seconds = int(lines.get("last_handshake_time_sec", "0"))
    nanoseconds = int(lines.get("last_handshake_time_nsec", "0"))
    return WireguardPeer(
        public_key=_key(lines["public_key"]),
        preshared_key="has_preshared_key" in lines,
        endpoint=address.strip("[]") or None,
        endpoint_port=int(port) if port else None,
        persistent_keepalive=int(lines.get("persistent_keepalive_interval", "0")),
        latest_handshake=seconds + nanoseconds / 1e9 if seconds or nanoseconds else None,
        rx_bytes=int(lines.get("rx_bytes", "0")),
        tx_bytes=int(lines.get("tx_bytes", "0")),
        allowed_ips=tuple(str(ipaddress.ip_network(prefix, strict=False)) for prefix in allowed),
    )
