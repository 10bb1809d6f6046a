"""``netdiag.fleet-report/1``: the report of many hosts; findings are those of netdiag.model.finding, and their subjects
name the hosts."""

from typing import Literal

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


NoticeKind = Literal["identity", "same-name", "duplicate", "replay", "clock-skew", "stale", "not-judged"]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something odd about whose snapshot is whose, when it was taken, or whether it could be judged: no finding, and no
    change of exit status."""

    kind: NoticeKind
    """``identity``: a file says another host's name than the one under which it was uploaded; ``same-name``: two
    machines answer to one name; ``duplicate``: the same file twice; ``replay``: a file that was loaded before, or is
    older than what was; ``clock-skew``: taken in the future; ``stale``: far older than the other hosts' snapshots;
    ``not-judged``: its rules, or some of them, hung or died when it was loaded, and were given up."""
    host: str
    """Name of the host."""
    detail: str
    """What was seen, in one line."""


CanaryVerdict = Literal["PROCEED", "HOLD", "UNKNOWN"]


class ValueCount(msgspec.Struct, frozen=True, kw_only=True):
    """One value of the attribute."""

    value: str
    """As the hosts have it."""
    hosts: int
    """Hosts that have it."""
    sick: int
    """Hosts among them with an alarm of their own."""


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """What ``netdiag fleet check --by ATTRIBUTE`` adds to the report."""

    by: str
    """The attribute."""
    verdict: CanaryVerdict
    """PROCEED, HOLD or UNKNOWN."""
    reason: str
    """What decides that, in one sentence."""
    canary: str | None
    """The value that is being rolled out: the newest; null: there is one value only, or none."""
    values: tuple[ValueCount, ...]
    """Every value with its counts, the newest first."""
    unread: int = 0
    """Hosts of which the attribute is not known."""


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
    notices: tuple[Notice, ...] = ()
    findings: tuple[Finding, ...]
    not_evaluated: tuple[NotEvaluated, ...]
    canary: Canary | None = None
    """The verdict on a roll-out, where one was asked for with --by."""
