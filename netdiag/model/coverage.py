"""What was read and what was not: the half of a report that keeps silence honest."""

from typing import Literal

import msgspec

Status = Literal["ok", "partial", "inconsistent", "absent", "denied", "timeout", "failed"]

REQUIRED = ("links", "addresses", "routes", "rules")
"""Collectors without which there is no verdict (exit status 3)."""


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How one collector fared."""

    collector: str
    status: Status
    detail: str = ""
    """One line for a person: the reason where the status is not ok."""
    rows: int = 0
    duration_ms: float = 0.0


class NotEvaluated(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that gave no answer, and why."""

    rule: str
    reason: str
    netns: str | None = None
