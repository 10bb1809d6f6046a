"""What can be asked of a host: the one protocol behind live, recorded and replayed sources.

A call either answers or raises ``Unreadable``, which says which kind of "not read" it is. Raw replies come back as the
kernel sent them; decoding belongs to the callers. Time is asked for as well, so that a replay gives the same bytes.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from netdiag.sources.netlink.messages import DumpRequest, DumpResult, Reply, Sink

Why = Literal["absent", "denied", "timeout", "failed"]


class Unreadable(Exception):
    """Something was not read. ``absent``: this host has no such thing; ``denied``: we may not; ``timeout``;
    ``failed``."""

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


Clock = Literal["realtime", "boottime", "monotonic"]
Kind = Literal[
    "bird",
    "wireguard",
    "bpf",
    "taps",
    "namespaces",
    "owners",
    "ethtool",
    "adjtimex",
    "processes",
    "xtables",
    "changed",
    "settings",
]
"""Modules (or packages) of netdiag.sources with a function ``fetch(key: str, deadline: float | None) -> bytes``."""


class Source(Protocol):
    """A host that can be asked."""

    writes_files: bool
    """True where asking writes a recording: a collector's child may then make files."""

    def dump(self, request: DumpRequest, sink: Sink) -> DumpResult:
        """Feed every message of a netlink dump to ``sink``. Raises Unreadable."""

    def ask(self, name: str, protocol: int, type: int, bodies: Sequence[bytes]) -> list[Reply]:
        """Send one GET request per body over one socket; answers in the order of the bodies. Raises Unreadable."""

    def read(self, path: str) -> bytes:
        """The whole of a small file of /proc or /sys, or of a configuration file. Raises Unreadable."""

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The files among ``paths`` that exist and may be read. Raises Unreadable only where nothing can be read at
        all."""

    def listdir(self, path: str) -> tuple[str, ...]:
        """Names in a directory, sorted. Raises Unreadable."""

    def readlink(self, path: str) -> str:
        """Target of a symbolic link. Raises Unreadable."""

    def fetch(self, kind: Kind, key: str) -> bytes:
        """A raw reply of something that is neither netlink nor a file, as netdiag.sources.KIND gives it.

        Raises Unreadable.

        ``key`` says what is asked, in the words of that module; secrets are blanked there.
        """

    def inside(self, inode: int, path: str) -> "Source":
        """The same host, asked in another network namespace from now on; the process stays there. Raises Unreadable.

        ``path`` leads to the namespace with that inode; one that is gone is ``absent``.
        """

    def clock(self, which: Clock) -> float:
        """Seconds of CLOCK_REALTIME, CLOCK_BOOTTIME or CLOCK_MONOTONIC."""

    def uname(self) -> tuple[str, str]:
        """Host name and kernel release."""

    def wait(self, seconds: float) -> None:
        """Let time pass between two samples; a replay does not wait."""

    def scoped(self, collector: str) -> "Source":
        """The same host, for one collector: a recording files its replies by collector and order."""
