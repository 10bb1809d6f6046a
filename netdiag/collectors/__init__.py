"""One file a kernel object: which source it is, what reading it needs, what can fail; ``collect()`` and nothing else.

A collector asks a netdiag.sources.protocol.Source, decodes, and returns ``Collected``. It raises only ``Unreadable``.
``netdiag.collect`` finds the files by name: there is no registry.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from netdiag.model.coverage import Status
from netdiag.model.intent import Intent
from netdiag.sources.netlink.messages import DumpResult
from netdiag.sources.protocol import Source, Unreadable


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to collect."""

    interval: float = 1.0
    """Seconds between the two samples of the counters; 0: one sample."""
    deadline: float = 30.0
    """Seconds for everything."""
    hostname: str | None = None
    """Name to use instead of the system's."""
    all_netns: bool = False
    """Read every other namespace that can be reached as well."""
    bird_sockets: tuple[str, ...] = ()
    """BIRD's control sockets at unusual places."""
    intent: Intent = field(default_factory=Intent)
    """What the host is meant to be; its settings are read too."""
    labels: dict[str, str] = field(default_factory=dict)
    """Labels for the snapshot."""


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What one collector read: tables of netdiag.model.snapshot.Tables by name."""

    tables: dict[str, Any] = field(default_factory=dict)
    rows: int = 0
    status: Status = "ok"
    detail: str = ""


def verdict_of(results: Iterable[DumpResult], malformed: int) -> tuple[Status, str]:
    """Status and detail of a table that was read by these dumps, of which so many messages could not be decoded."""
    if malformed:
        return "partial", f"{malformed} messages could not be decoded"
    changed = [result.detail for result in results if not result.consistent]
    return ("inconsistent", changed[0]) if changed else ("ok", "")


def uptime_of(source: Source) -> float | None:
    """Seconds of CLOCK_BOOTTIME; None in a recording that is older than the question."""
    try:
        return round(source.clock("boottime"), 3)
    except Unreadable:
        return None
