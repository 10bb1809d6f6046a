"""A control socket in a thread that behaves as badly as a test wants. It ends with its ``with`` block."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

GREETING = b"0001 BIRD 2.0.12 ready.\n"
RESTRICTED = b"0016 Access restricted\n"
PAUSE = 0.01
"""Seconds between the bytes of a daemon that drips."""

Behaviour = Callable[["FakeDaemon", socket.socket], None]


class FakeDaemon:
    """Accepts connections one after the other and hands each to ``behave``."""

    def __init__(self, folder: Path, behave: Behaviour | None) -> None:
        """``behave`` None: listens and never accepts."""
        self.path = str(folder / "bird.ctl")
        self.behave = behave
        self.over = threading.Event()
        self.heard = bytearray()
        """What clients said, in order."""
        self._listen = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "FakeDaemon":
        self._listen.bind(self.path)
        self._listen.listen(0)
        self._listen.settimeout(PAUSE)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._thread.join(10)
        assert not self._thread.is_alive(), "the daemon's thread has not ended"
        self._listen.close()

    def _serve(self) -> None:
        while not self.over.is_set():
            if self.behave is None:
                self.over.wait()
                return
            try:
                talk = self._listen.accept()[0]
            except TimeoutError:
                continue
            talk.settimeout(PAUSE)
            with talk, suppress(BrokenPipeError, ConnectionResetError):
                self.behave(self, talk)

    def send(self, talk: socket.socket, octets: bytes) -> None:
        """All of it, however slowly it is read; given up when the test is over. Raises OSError when nobody reads."""
        while octets and not self.over.is_set():
            with suppress(TimeoutError):
                octets = octets[talk.send(octets) :]

    def hear(self, talk: socket.socket) -> bytes:
        """The next command with its line end; empty when the test is over or the client has gone."""
        line = bytearray()
        while not self.over.is_set() and not line.endswith(b"\n"):
            with suppress(TimeoutError):
                octet = talk.recv(1)
                if not octet:
                    break
                line += octet
        self.heard += line
        return bytes(line)

    def wait(self, talk: socket.socket) -> None:
        """Say nothing more until the test is over."""
        self.over.wait()


def restricted(daemon: FakeDaemon, talk: socket.socket) -> None:
    """The beginning of a well-behaved conversation."""
    daemon.send(talk, GREETING)
    assert daemon.hear(talk) in (b"restrict\n", b"")
    daemon.send(talk, RESTRICTED)


def obedient(*replies: bytes) -> Behaviour:
    """A daemon that answers one command after the other, and then no more."""

    def behave(daemon: FakeDaemon, talk: socket.socket) -> None:
        restricted(daemon, talk)
        for reply in replies:
            daemon.hear(talk)
            daemon.send(talk, reply)
        daemon.wait(talk)

    return behave


def abandoned(folder: Path) -> str:
    """Path of a control socket whose daemon is gone."""
    path = str(folder / "gone.ctl")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listen:
        listen.bind(path)
        listen.listen(1)
    assert os.path.exists(path)
    return path
