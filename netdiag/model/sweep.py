"""What a sweep writes down, ``netdiag.sweep/1``, and what it says in the end, ``netdiag.sweep-report/1``: plain
types."""

from typing import Literal

import msgspec

SCHEMA = "netdiag.sweep/1"
Status = Literal["collected", "unreached", "refused"]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A host to be reached."""

    name: str
    """Its identity in the fleet."""
    address: str
    """Host name or address to connect to."""
    port: int | None = None
    """TCP port; null: SSH's."""
    user: str | None = None
    """Whom to log in as; null: as SSH is configured."""
    host_key_alias: str | None = None
    """Name under which its host key is known, where that is neither its address nor its name."""
    labels: dict[str, str] = {}
    """What the inventory says of it."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """First line."""

    schema: str = SCHEMA
    """Always ``netdiag.sweep/1``."""
    netdiag: str
    """Version of netdiag that swept."""
    started: str
    """UTC."""
    inventory: str
    """Where the hosts came from."""
    targets: tuple[Target, ...]
    """Every host that is to be asked."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a host."""

    host: str
    """Name of the host."""
    status: Status
    """``collected``; ``unreached``: nothing whole came; ``refused``: what came is no snapshot of that host."""
    reason: str = ""
    """Why it was not collected."""
    file: str | None = None
    """Its snapshot, a name in the folder."""
    at: str
    """UTC, when it ended."""
    seconds: float = 0.0
    """How long it took."""
    octets: int = 0
    """Bytes that came."""
    claimed: str | None = None
    """The name that the snapshot gave, where it is spelled otherwise than the host's."""
    skew: float | None = None
    """Seconds by which the host's clock is ahead, where it is more than a few."""


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """Last line."""

    finished: str
    """UTC."""


class SweptHost(Outcome, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a host, as a report says it."""

    host: str = msgspec.field(name="name")
    """Name of the host."""
    labels: dict[str, str]
    """What the inventory says of it."""


class SweepReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``netdiag sweep --json`` prints, ``netdiag.sweep-report/1``."""

    schema: str = "netdiag.sweep-report/1"
    """Always ``netdiag.sweep-report/1``."""
    netdiag: str
    """Version of netdiag that swept."""
    started: str
    """UTC."""
    finished: str | None
    """UTC; null: it was stopped before it was through."""
    inventory: str
    """Where the hosts came from."""
    folder: str
    """Where the snapshots and the ledger are."""
    hosts: tuple[SweptHost, ...]
    """Every host that has ended."""
