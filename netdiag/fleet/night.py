"""Times as snapshots say them, and the night to which one belongs. Pure; what is no time is None."""

import re
from datetime import UTC, datetime, timedelta

TAKEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
UNKNOWN = "unknown"
"""The night of a snapshot that does not say when it was taken."""


def moment(taken_at: str) -> datetime | None:
    """The time that a snapshot says."""
    if not TAKEN.fullmatch(taken_at):
        return None
    try:
        return datetime.strptime(taken_at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def spelled(seconds: float) -> str:
    """A Unix time as snapshots spell it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def night_of(taken_at: str) -> str:
    """The date of the night's first half: from noon to noon, UTC, so that a sweep over midnight is one night."""
    at = moment(taken_at)
    if at is None or at.year < 1900:
        return UNKNOWN
    return (at - timedelta(hours=12)).strftime("%Y-%m-%d")


def hours(seconds: float) -> str:
    """A span for a person."""
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:.0f} days"
    return f"{seconds / 3600:.0f} hours" if seconds >= 2 * 3600 else f"{seconds / 60:.0f} minutes"
