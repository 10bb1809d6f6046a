"""``netdiag.fleet-diff/1``: two nights of a fleet held against each other; and what a fleet looked like, night by
night."""

from typing import Literal

import msgspec

from netdiag.model.finding import Finding, Severity

ChangeKind = Literal["new", "worse", "better", "gone", "flapping", "unknown"]
ORDER = ("new", "worse", "flapping", "unknown", "better", "gone")
"""In which a person should read them."""


class FleetChange(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one finding."""

    kind: ChangeKind
    """``flapping``: it came and went before, and has changed again; ``unknown``: it was there, and now one of its hosts
    was not collected or its rule could not look."""
    finding: Finding
    """As it is, or as it was where it is gone."""
    before: Severity | None = None
    """Severity in the older one; null: it was not there."""
    nights: tuple[bool, ...] = ()
    """Whether it was there, night by night, oldest first; empty: only two are known."""


class FleetSide(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two."""

    taken_at: str
    """UTC, of its newest snapshot."""
    hosts: int
    """How many hosts."""
    verdict: str
    """The worst severity at warning or above, as in its report."""


class FleetDiff(msgspec.Struct, frozen=True, kw_only=True):
    """``netdiag.fleet-diff/1``."""

    schema: str = "netdiag.fleet-diff/1"
    """Always ``netdiag.fleet-diff/1``."""
    old: FleetSide
    """The older one."""
    new: FleetSide
    """The newer one."""
    hosts_new: tuple[str, ...]
    """Hosts that only the newer one has."""
    hosts_gone: tuple[str, ...]
    """Hosts that only the older one has."""
    changes: tuple[FleetChange, ...]
    """Findings that are new, worse, better, gone, flapping or not known, in the order in which to read them."""
    same: int
    """Findings that are in both and as bad as before."""


class Night(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet on one night, in numbers."""

    night: str
    hosts: int
    critical: int = 0
    warning: int = 0
    """Root causes of that severity."""
    rules: dict[str, int] = {}
    """Root causes by rule, at warning or above."""
