"""Mark the findings that somebody has accepted. Suppressed is not hidden: the report still holds and counts them.

The day that counts is the snapshot's, so that judging an old snapshot again gives the same report.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

import msgspec

from netdiag.model.finding import Draft, Finding, subject_text
from netdiag.model.intent import Suppression, Suppressions


def expired(entry: Suppression, taken_at: str) -> bool:
    """Whether its last day is over at that time (UTC, ``2026-11-23T17:32:00Z``)."""
    return entry.expires < taken_at[:10]


def _covers(entry: Suppression, finding: Finding) -> bool:
    return entry.rule == finding.rule and fnmatchcase(subject_text(finding.subject), entry.match)


def silence(drafts: Iterable[Draft], told: Suppressions | None, taken_at: str) -> list[Draft]:
    """The same drafts, those that an entry covers with ``suppressed`` saying who, where and until when."""
    live = [entry for entry in told.entries if not expired(entry, taken_at)] if told else []
    done: list[Draft] = []
    for draft in drafts:
        entry = next((entry for entry in live if _covers(entry, draft.finding)), None)
        if entry is None:
            done.append(draft)
            continue
        why = f"{entry.owner}, {entry.ticket}, until {entry.expires}"
        done.append(msgspec.structs.replace(draft, finding=msgspec.structs.replace(draft.finding, suppressed=why)))
    return done
