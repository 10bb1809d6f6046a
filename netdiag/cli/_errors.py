"""Exit statuses, and the one line that says what went wrong (the contract's section 2; sysexits.h for 64, 65 and
70)."""

import difflib
from collections.abc import Iterable

import click

FINDINGS = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
"""By the verdict of a report."""
NO_VERDICT = 3
USAGE = 64
REFUSED = 65
INTERNAL = 70
INTERRUPTED = 130
TERMINATED = 143


class Usage(click.ClickException):
    """What was asked for makes no sense: exit status 64."""

    exit_code = USAGE


class Refused(click.ClickException):
    """An input file or directory is not what it should be: exit status 65."""

    exit_code = REFUSED


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that nothing on the way up takes it for an error."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean a, b?)`` for a word that is close to some that are known, else nothing."""
    names = sorted(known)
    close = (
        difflib.get_close_matches(word, names, n=3, cutoff=0.5) or [name for name in names if word and word in name][:3]
    )
    return f" (did you mean {', '.join(close)}?)" if close else ""
