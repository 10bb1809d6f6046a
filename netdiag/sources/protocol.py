"""What can be asked of a host: the one protocol behind live, recorded and replayed sources.

A call either answers or raises ``Unreadable``, which says which kind of "not read" it is. Raw replies come back as the
kernel sent them; decoding belongs to the callers. Time is asked for as well, so that a replay gives the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from netdiag.sources.netlink.transport import DumpRequest, DumpResult, Sink

Why = Literal["absent", "denied", "timeout", "failed"]


class Unreadable(Exception):
    """Something was not read. ``absent``: this host has no such thing; ``denied``: we may not; ``timeout``; ``failed``."""

    def __init__(self, why: Why, detail: str) -> None:
        super().__init__(f"{why}: {detail}")
        self.why: Why = why
        self.detail = detail


class RecordingRefused(Exception):
    """A directory is not a recording that this version can replay."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class Answer:
    """The reply to one netlink request that is not a dump: the messages, or an error number with the kernel's text."""

    octets: bytes
    errno: int = 0
    text: str = ""


Clock = Literal["realtime", "boottime", "monotonic"]


class Source(Protocol):
    """A host that can be asked."""

    def dump(self, request: DumpRequest, sink: Sink) -> DumpResult:
        """Feed every message of a netlink dump to ``sink``. Raises Unreadable."""

    def ask(self, name: str, protocol: int, type: int, bodies: Sequence[bytes]) -> list[Answer]:
        """Send one GET request per body over one socket; answers in the order of the bodies. Raises Unreadable."""

    def read(self, path: str) -> bytes:
        """The whole of a small file of /proc or /sys, or of a configuration file. Raises Unreadable."""

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The files among ``paths`` that exist and may be read. Raises Unreadable only where nothing can be read at all."""

    def listdir(self, path: str) -> tuple[str, ...]:
        """Names in a directory, sorted. Raises Unreadable."""

    def readlink(self, path: str) -> str:
        """Target of a symbolic link. Raises Unreadable."""

    def clock(self, which: Clock) -> float:
        """Seconds of CLOCK_REALTIME, CLOCK_BOOTTIME or CLOCK_MONOTONIC."""

    def uname(self) -> tuple[str, str]:
        """Host name and kernel release."""

    def wait(self, seconds: float) -> None:
        """Let time pass between two samples; a replay does not wait."""

    def scoped(self, collector: str) -> "Source":
        """The same host, for one collector: a recording files its replies by collector and order."""
