"""``netdiag.fleet-report/1``: the report of many hosts; findings are those of netdiag.model.finding, and their subjects
name the hosts."""

import msgspec

from netdiag.model.coverage import NotEvaluated
from netdiag.model.finding import Finding, Verdict


class FleetHostLine(msgspec.Struct, frozen=True, kw_only=True):
    """One host of the report."""

    name: str
    """Its name, which is its identity."""
    labels: dict[str, str]
    """Region, role and whatever else it was labelled with."""
    taken_at: str
    """UTC, of its newest snapshot."""
    coverage: dict[str, list[str]]
    """Status to the names of the collectors that have it; ``ok`` ones are counted, not named."""


class Unreached(msgspec.Struct, frozen=True, kw_only=True):
    """A host or file that is not in the report."""

    name: str
    """Name of the host, or path of the file."""
    reason: str
    """Why, in one line."""


class FleetReport(msgspec.Struct, frozen=True, kw_only=True):
    """``netdiag.fleet-report/1``."""

    schema: str = "netdiag.fleet-report/1"
    netdiag: str
    """Version of netdiag that made the report."""
    taken_at: str
    """UTC, of the newest snapshot."""
    verdict: Verdict
    """The worst severity at warning or above; ``unknown`` where no host could be read."""
    hosts: tuple[FleetHostLine, ...]
    unreached: tuple[Unreached, ...]
    findings: tuple[Finding, ...]
    not_evaluated: tuple[NotEvaluated, ...]
