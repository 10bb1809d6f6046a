"""What a person tells beside the host: --intent, --suppress, --baseline, and the intent at its usual place.

A file that is not what it should be is one line and exit status 65.
"""

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from netdiag.cli._errors import Refused
from netdiag.cli._verb import Decorator, Session

if TYPE_CHECKING:
    from netdiag.collectors import Options
    from netdiag.index.view import Told
    from netdiag.model.snapshot import Snapshot


def intent_option() -> Decorator:
    """--intent, as every verb that judges or collects has it."""
    return click.option(
        "--intent", metavar="FILE", help="What this host is meant to be [/etc/netdiag/intent.toml, if it is there]."
    )


def suppress_option() -> Decorator:
    """--suppress, as every verb that judges has it."""
    return click.option("--suppress", metavar="FILE", help="Findings that are accepted until a day.")


def baseline_option() -> Decorator:
    """--baseline, as every verb that judges has it."""
    return click.option(
        "--baseline", metavar="SNAPSHOT", help="An older snapshot of this host: say what is gone since then."
    )


def with_intent(session: Session, how: "Options", intent: str | None, snapshot: str | None = None) -> "Options":
    """The options with the intent of --intent, or of its usual place where this host itself is read. Raises
    Refused."""
    from netdiag.told import ToldRefused
    from netdiag.told.intent import DEFAULT, read

    path = intent
    if path is None and snapshot is None and session.replay is None and os.path.exists(DEFAULT):
        path = DEFAULT
    if path is None:
        return how
    try:
        told = read(path)
    except ToldRefused as error:
        raise Refused(str(error)) from error
    return replace(how, intent=told.intent, labels=told.labels)


def overridden(found: "Snapshot", how: "Options", intent: str | None) -> "Snapshot":
    """A loaded snapshot with the intent of --intent in place of its own."""
    import msgspec

    if intent is None:
        return found
    meta = msgspec.structs.replace(found.meta, labels=dict(how.labels))
    return replace(found, meta=meta, tables=replace(found.tables, intent=how.intent))


def told(suppress: str | None, baseline: str | None) -> "Told":
    """The suppressions and the older snapshot. Raises Refused."""
    from netdiag.index.view import Told
    from netdiag.snapshotfile import SnapshotRefused, read_snapshot
    from netdiag.told import ToldRefused, suppressions

    try:
        accepted = suppressions.read(suppress) if suppress is not None else None
        older = read_snapshot(baseline) if baseline is not None else None
    except (ToldRefused, SnapshotRefused) as error:
        raise Refused(str(error)) from error
    return Told(baseline=older, suppressions=accepted)
