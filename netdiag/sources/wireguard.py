"""Userspace WireGuard (wireguard-go, boringtun) over its UAPI socket: one question, one answer, no secrets.

Protocol: https://www.wireguard.com/xplatform/#configuration-protocol. ``get=1`` answers lines ``key=value``, closed by
``errno=0`` and an empty line; keys are hexadecimal. The answer always holds the private and preshared keys: only lines
whose key is known to be harmless are kept, and of a preshared key the one fact that it is set.

A daemon that hangs, drips or never stops is ended by the deadline and by a cap of bytes. Raises OSError and its kind.
"""

import binascii
import ipaddress
import re
import socket
import time
from socket import inet_ntop, inet_pton

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

_INET, _INET6 = int(socket.AF_INET), int(socket.AF_INET6)
"""As plain numbers: an enum's member costs more to look up than the address."""
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_GROUP = "[1-9a-f][0-9a-f]{0,3}"
_PLAIN = re.compile(
    rf"{_OCTET}(?:\.{_OCTET}){{3}}/32|(?:{_GROUP}:){{1,4}}:/64|(?:{_GROUP}:){{1,5}}:{_GROUP}/128", re.ASCII
)
"""Prefixes as most peers have them, spelt as they must be: nothing to make canonical."""
_KEPT_LINES = re.compile(rb"((?:(?:" + b"|".join(sorted(KEPT)) + rb")=[^\n]*\n)*)(?:preshared_key=0+\n)?")
"""Lines of the list, as many as stand together; and a key of zeros, which is none, after them."""
_PEER = re.compile(
    r"public_key=([0-9a-f]{64})\n(has_preshared_key=1\n)?(?:protocol_version=\d+\n)?(?:endpoint=(.*):(\d+)\n)?"
    r"last_handshake_time_sec=(\d+)\nlast_handshake_time_nsec=(\d+)\ntx_bytes=(\d+)\nrx_bytes=(\d+)\n"
    r"persistent_keepalive_interval=(\d+)\n((?:allowed_ip=.*\n)*)",
    re.ASCII,
)
"""A peer in the order in which wireguard-go tells it; other orders are read line by line."""


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
    kept = harmless(bytes(_exchange(key, soonest if deadline is None else min(deadline, soonest))))
    if not kept.startswith(b"errno=") and b"\nerrno=" not in kept:
        raise OSError(71, "the answer ended before its last line")
    return kept


def harmless(answer: bytes) -> bytes:
    """The lines that may be kept, and what stands for the secret ones. All that is copied is lines of ``KEPT``."""
    kept: list[bytes] = []
    at, end = 0, len(answer)
    while at < end:
        run = _KEPT_LINES.match(answer, at)
        if run is not None and run.end() > at:
            kept.append(run[1])
            at = run.end()
            continue
        stop = answer.find(b"\n", at)
        stop = end if stop < 0 else stop
        name, _, value = answer[at:stop].partition(b"=")
        at = stop + 1
        if name == b"preshared_key":
            if value.strip(b"0"):
                kept.append(b"has_preshared_key=1\n")
        elif name == b"private_key" and value.strip(b"0"):
            kept += [line + b"\n" for line in _own_public_key(value)]
    return b"".join(kept)


def parse(answer: bytes, ifname: str, path: str, ifindex: int | None) -> WireguardDevice:
    """A device from the lines that ``fetch`` keeps. Raises ValueError for an answer that is not of the protocol."""
    peers: list[WireguardPeer] = []
    text = answer.decode("ascii", "backslashreplace")
    begins = ("\n" + text).find("\npublic_key=")
    head, position = (text, len(text)) if begins < 0 else (text[:begins], begins)
    rest: dict[str, str] = {}
    while position < len(text):
        usual = _PEER.match(text, position)
        if usual is not None:
            peers.append(_usual(usual.groups()))
            position = usual.end()
            continue
        end = text.find("\npublic_key=", position + 1)
        end = len(text) if end < 0 else end + 1
        block = text[position:end]
        if block.startswith("public_key="):
            peers.append(_unusual(block, rest))
        else:
            rest |= dict(line.partition("=")[::2] for line in block.splitlines())
        position = end
    device = dict(line.partition("=")[::2] for line in head.splitlines())
    error = rest.get("errno", device.get("errno", "0"))
    if int(error):
        raise ValueError(f"the daemon answered errno={int(error)}")
    own = device.get("own_public_key")
    return WireguardDevice(
        ifname=ifname,
        ifindex=ifindex,
        public_key=_key(own) if own else None,
        listen_port=int(device.get("listen_port", "0")) or None,
        fwmark=int(device.get("fwmark", "0"), 0),
        userspace=True,
        socket=path,
        peers=tuple(peers),
    )


def _key(hexadecimal: str) -> str:
    return binascii.b2a_base64(binascii.unhexlify(hexadecimal), newline=False).decode("ascii")


def _prefix(text: str) -> str:
    """A prefix in canonical spelling. Raises ValueError."""
    if _PLAIN.fullmatch(text):
        return text
    address, _, length = text.partition("/")
    family, bits = (_INET6, 128) if ":" in address else (_INET, 32)
    try:
        packed = inet_pton(family, address)
        host = bits - int(length)
    except (OSError, ValueError):
        return str(ipaddress.ip_network(text, strict=False))
    if host and (host < 0 or int.from_bytes(packed, "big") & ((1 << host) - 1)):
        return str(ipaddress.ip_network(text, strict=False))
    return f"{inet_ntop(family, packed)}/{bits - host}"


def _usual(said: tuple[str, ...]) -> WireguardPeer:
    key, preshared, address, port, seconds, nanoseconds, tx, rx, keepalive, allowed = said
    when = int(seconds) + int(nanoseconds) / 1e9
    return WireguardPeer(
        public_key=_key(key),
        preshared_key=preshared is not None,
        endpoint=address.strip("[]") if address else None,
        endpoint_port=int(port) if address else None,
        persistent_keepalive=int(keepalive),
        latest_handshake=when or None,
        rx_bytes=int(rx),
        tx_bytes=int(tx),
        allowed_ips=tuple([_prefix(text) for text in allowed[11:-1].split("\nallowed_ip=")]) if allowed else (),
    )


def _unusual(block: str, rest: dict[str, str]) -> WireguardPeer:
    """A peer whose lines come in another order; the lines that are none of a peer's go to ``rest``."""
    lines: dict[str, str] = {}
    allowed: list[str] = []
    for line in block.splitlines():
        name, _, value = line.partition("=")
        if name == "allowed_ip":
            allowed.append(value)
        elif name == "errno":
            rest[name] = value
        else:
            lines[name] = value
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
        allowed_ips=tuple(_prefix(prefix) for prefix in allowed),
    )
