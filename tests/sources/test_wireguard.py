"""WireGuard's two sources: split replies are joined, keys never get further, and no daemon can hang or fill us."""

import base64
import ipaddress
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdiag.sources import curve25519
from netdiag.sources import wireguard as uapi
from netdiag.sources.live import LiveSource
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink import wireguard as kernel
from netdiag.sources.netlink.messages import HEADER
from netdiag.sources.protocol import Unreadable

pytestmark = pytest.mark.timed

SECRET = bytes(range(100, 132))
PSK = bytes(range(200, 232))
FAMILY = 31


def attribute(kind: int, payload: bytes, *, nested: bool = False) -> bytes:
    return pack("=HH", len(payload) + 4, kind | (0x8000 if nested else 0)) + payload + bytes(-len(payload) % 4)


def nest(kind: int, *parts: bytes) -> bytes:
    return attribute(kind, b"".join(parts), nested=True)


def allowed(address: bytes, length: int) -> bytes:
    family = nl.AF_INET if len(address) == 4 else nl.AF_INET6
    return nest(0, attribute(1, pack("=H", family)), attribute(2, address), attribute(3, bytes([length])))


def message(*parts: bytes) -> bytes:
    body = pack("=BBH", 0, 1, 0) + b"".join(parts)
    return HEADER.pack(16 + len(body), FAMILY, 2, 1, 0) + body


FIRST = message(
    attribute(1, pack("=I", 7)),
    attribute(2, b"wg0\0"),
    attribute(3, SECRET),
    attribute(4, b"\x11" * 32),
    attribute(6, pack("=H", 51820)),
    attribute(7, pack("=I", 0xCA6C)),
    nest(
        8,
        nest(
            0,
            attribute(1, b"\x22" * 32),
            attribute(2, PSK),
            attribute(4, pack("=H", nl.AF_INET) + pack("!H", 51820) + bytes([192, 0, 2, 2]) + bytes(8)),
            attribute(5, pack("=H", 25)),
            attribute(6, pack("=qq", 1_700_000_000, 500_000_000)),
            attribute(7, pack("=Q", 1000)),
            attribute(8, pack("=Q", 2000)),
            nest(9, allowed(bytes([10, 0, 0, 2]), 32)),
        ),
    ),
)
SECOND = message(
    attribute(1, pack("=I", 7)),
    nest(
        8,
        nest(0, attribute(1, b"\x22" * 32), nest(9, allowed(bytes(15) + b"\1", 128))),
        nest(0, attribute(1, b"\x33" * 32), attribute(2, bytes(32)), attribute(6, pack("=qq", 0, 0))),
    ),
)


def test_a_peer_split_over_messages_is_one_peer() -> None:
    sink = kernel.DeviceSink()
    for part in (FIRST, SECOND):
        buffer = bytearray(part)
        kernel.BlankingSink(sink).feed(memoryview(buffer))
    device = sink.device("wg0", 7)
    first, second = device.peers
    assert (device.listen_port, device.fwmark) == (51820, 0xCA6C)
    assert device.public_key == base64.b64encode(b"\x11" * 32).decode()
    assert first.allowed_ips == ("10.0.0.2/32", "::1/128")
    assert (first.endpoint, first.endpoint_port, first.persistent_keepalive) == ("192.0.2.2", 51820, 25)
    assert (first.latest_handshake, first.rx_bytes, first.tx_bytes) == (1_700_000_000.5, 1000, 2000)
    assert first.preshared_key
    assert (second.latest_handshake, second.preshared_key, second.endpoint) == (None, False, None)


def test_keys_are_overwritten_in_the_buffer_itself() -> None:
    buffer = bytearray(FIRST)
    kernel.blank(memoryview(buffer))
    assert SECRET not in buffer
    assert PSK not in buffer
    assert b"\x11" * 32 in buffer


@given(st.binary(max_size=300), st.integers(0, len(FIRST)))
def test_damage_is_survived(noise: bytes, cut: int) -> None:
    for octets in (noise, FIRST[:cut] + noise, FIRST[:cut]):
        buffer = bytearray(octets)
        kernel.blank(memoryview(buffer))
        sink = kernel.DeviceSink()
        try:
            sink.feed(memoryview(buffer))
        except (ValueError, IndexError) as error:  # pragma: no cover - would be a finding of this test
            pytest.fail(f"{error!r}")


def kernel_peer(key: bytes, psk: bytes, endpoint: bytes, *prefixes: bytes) -> list[bytes]:
    """The attributes of a peer in the order in which the module writes them (netlink.c get_peer())."""
    return [
        attribute(1, key),
        attribute(2, psk),
        attribute(6, pack("=qq", 1_700_000_000, 250_000_000)),
        attribute(5, pack("=H", 25)),
        attribute(8, pack("=Q", 2000)),
        attribute(7, pack("=Q", 1000)),
        attribute(10, pack("=I", 1)),
        *([attribute(4, endpoint)] if endpoint else []),
        nest(9, *prefixes),
    ]


def kernel_prefix(address: bytes, length: int) -> bytes:
    """An allowed-ip in the module's order (get_allowedips())."""
    family = nl.AF_INET if len(address) == 4 else nl.AF_INET6
    return attribute(0, attribute(3, bytes([length])) + attribute(1, pack("=H", family)) + attribute(2, address))


ENDPOINT4 = pack("=H", nl.AF_INET) + pack("!H", 51820) + bytes([192, 0, 2, 2]) + bytes(8)
ENDPOINT6 = pack("=H", nl.AF_INET6) + pack("!H", 51820) + bytes(4) + b"\xfe\x80" + bytes(13) + b"\7" + pack("=I", 3)
PREFIXES = st.lists(
    st.tuples(st.sampled_from([4, 16]).flatmap(lambda n: st.binary(min_size=n, max_size=n)), st.integers(0, 32)),
    max_size=5,
)
SEVERAL = st.lists(
    st.tuples(st.sampled_from([bytes(32), PSK]), st.sampled_from([b"", ENDPOINT4, ENDPOINT6, bytes(16)]), PREFIXES),
    max_size=6,
)


@given(SEVERAL, st.randoms(use_true_random=False))
def test_the_modules_order_is_read_like_any_other(
    peers: list[tuple[bytes, bytes, list[tuple[bytes, int]]]], rng: Random
) -> None:
    """The quick way and the walk see the same, and both overwrite what is secret."""
    seen = []
    for shuffled in (False, True):
        nests = []
        for number, (psk, endpoint, prefixes) in enumerate(peers):
            key = bytes([number + 1]) * 32
            parts = kernel_peer(key, psk, endpoint, *(kernel_prefix(*prefix) for prefix in prefixes))
            if shuffled:
                rng.shuffle(parts)
            nests.append(nest(0, *parts))
        buffer = bytearray(message(attribute(3, SECRET), nest(8, *nests)))
        sink = kernel.DeviceSink()
        kernel.BlankingSink(sink).feed(memoryview(buffer))
        assert SECRET not in buffer and PSK not in buffer
        seen.append(sink.device("wg0", 7))
    assert seen[0] == seen[1]
    assert [peer.preshared_key for peer in seen[0].peers] == [psk == PSK for psk, _, _ in peers]
    assert [len(peer.allowed_ips) for peer in seen[0].peers] == [len(prefixes) for _, _, prefixes in peers]


@given(st.sampled_from(["inet", "inet6"]), st.integers(0, 2**128 - 1), st.sampled_from([0, 32, 64, 128]))
def test_what_is_taken_as_it_stands_is_spelt_as_it_must_be(family: str, number: int, length: int) -> None:
    address = ipaddress.ip_address(number if family == "inet6" else number & 0xFFFFFFFF)
    for text in (f"{address}/{length}", f"{address.exploded}/{length}"):
        if uapi._PLAIN.fullmatch(text):
            assert text == str(ipaddress.ip_network(text))


def test_wg_agrees() -> None:
    for _ in range(5):
        private = subprocess.run(["wg", "genkey"], capture_output=True, check=True).stdout
        public = subprocess.run(["wg", "pubkey"], input=private, capture_output=True, check=True).stdout
        assert base64.b64encode(curve25519.public_key(base64.b64decode(private))) == public.strip()


@contextmanager
def daemon(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A fake userspace daemon that does ``serve`` with the first connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def run() -> None:
            talk, _ = listener.accept()
            with talk:
                try:
                    talk.recv(100)
                    serve(talk)
                except OSError:
                    pass  # the client hung up, which is what most of these tests want

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield str(path)
        thread.join(5)


ANSWER = (
    b"private_key=" + SECRET.hex().encode() + b"\nlisten_port=51820\nfwmark=1\npublic_key=" + b"22" * 32 + b"\n"
    b"preshared_key=" + PSK.hex().encode() + b"\nendpoint=[2001:db8::2]:51820\nlast_handshake_time_sec=5\n"
    b"last_handshake_time_nsec=0\ntx_bytes=1\nrx_bytes=2\npersistent_keepalive_interval=25\nallowed_ip=10.0.0.0/8\n"
    b"some_new_secret=1234\nerrno=0\n\n"
)


def test_an_answer_without_its_secrets(tmp_path: Path) -> None:
    with daemon(tmp_path / "wg0.sock", lambda talk: talk.sendall(ANSWER)) as path:
        answer = LiveSource().fetch("wireguard", path)
    for secret in (SECRET.hex(), PSK.hex(), "some_new_secret", "private_key"):
        assert secret.encode() not in answer
    device = uapi.parse(answer, "wg0", path, 3)
    (peer,) = device.peers
    assert device.public_key == base64.b64encode(curve25519.public_key(SECRET)).decode()
    assert (peer.preshared_key, peer.endpoint, peer.endpoint_port) == (True, "2001:db8::2", 51820)
    assert (peer.latest_handshake, peer.allowed_ips) == (5.0, ("10.0.0.0/8",))


def flood(talk: socket.socket) -> None:
    while True:
        talk.sendall(b"allowed_ip=10.0.0.0/8\n" * 5000)


HOSTILE: dict[str, tuple[Callable[[socket.socket], object], str]] = {
    "silence": (lambda talk: talk.recv(1), "timeout"),
    "closes at once": (lambda talk: None, "failed"),
    "half an answer": (lambda talk: talk.sendall(b"listen_port=1\n"), "failed"),
    "endless": (flood, "failed"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_daemon_is_left(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    serve, why = HOSTILE[name]
    monkeypatch.setattr(uapi, "ANSWER_LIMIT", 1 << 20)
    with daemon(tmp_path / "wg0.sock", serve) as path, pytest.raises(Unreadable) as caught:  # type: ignore[arg-type]
        LiveSource(time.monotonic() + 0.5).fetch("wireguard", path)
    assert caught.value.why == why


def test_a_dead_daemons_socket_is_absent(tmp_path: Path) -> None:
    path = tmp_path / "wg0.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    assert os.path.exists(path)
    with pytest.raises(Unreadable) as caught:
        LiveSource().fetch("wireguard", str(path))
    assert caught.value.why == "absent"


@pytest.mark.parametrize("line", [b"errno=1", b"public_key=xyz\nerrno=0", b"listen_port=x\nerrno=0"])
def test_an_answer_that_is_not_of_the_protocol(line: bytes) -> None:
    with pytest.raises(ValueError):
        uapi.parse(line, "wg0", "/run/wireguard/wg0.sock", None)
