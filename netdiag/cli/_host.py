"""Where a snapshot comes from: a file, standard input, a recording, or this host.

Whatever is not a snapshot or a recording becomes one line and exit status 65.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from netdiag.cli._errors import Refused, Usage
from netdiag.cli._output import progress
from netdiag.cli._verb import Session

if TYPE_CHECKING:
    from netdiag.collectors import Options
    from netdiag.model.snapshot import Snapshot
    from netdiag.sources.protocol import Source


def options(
    *,
    interval: float,
    deadline: float,
    hostname: str | None = None,
    bird_sockets: tuple[str, ...] = (),
    all_netns: bool = False,
) -> "Options":
    """How to collect. Raises Usage where the numbers contradict each other."""
    from netdiag.collectors import Options

    if interval >= deadline:
        raise Usage(f"--interval {interval:g} does not fit into --deadline {deadline:g}")
    return Options(
        interval=interval,
        deadline=deadline,
        hostname=_text(hostname),
        bird_sockets=bird_sockets,
        all_netns=all_netns,
    )


def _text(argument: str | None) -> str | None:
    """An argument of the command line as text that can be encoded: its bytes may be anything."""
    from netdiag.model.text import kernel_text

    if argument is None:
        return None
    if not argument:
        raise Usage("--hostname is empty")
    return kernel_text(os.fsencode(argument))


def source(session: Session, deadline: float) -> "Source":
    """This host, or the recording of --replay. Raises Refused."""
    if session.replay is None:
        from netdiag.sources.live import LiveSource

        return LiveSource(time.monotonic() + deadline)
    from netdiag.sources.protocol import RecordingRefused
    from netdiag.sources.replay import ReplaySource

    try:
        return ReplaySource(session.replay)
    except RecordingRefused as error:
        raise Refused(str(error)) from error


def collected(session: Session, how: "Options", meanwhile: Callable[[], object] | None = None) -> "Snapshot":
    """A snapshot of this host or of the recording. Raises Refused."""
    from netdiag.collect import collect
    from netdiag.sources.protocol import RecordingRefused

    try:
        with progress("reading the recording" if session.replay else "reading this host"):
            return collect(source(session, how.deadline), how, meanwhile)
    except RecordingRefused as error:
        raise Refused(str(error)) from error


def snapshot(
    session: Session, path: str | None, how: "Options", meanwhile: Callable[[], object] | None = None
) -> "Snapshot":
    """The snapshot in a file (``-``: standard input), or a fresh one; ``meanwhile`` is done while this host is read.

    Raises Refused, Usage.
    """
    if path is None:
        return collected(session, how, meanwhile)
    if session.replay is not None:
        raise Usage("--replay and SNAPSHOT exclude each other")
    return _loaded(path, how.hostname)


def _loaded(path: str, hostname: str | None) -> "Snapshot":
    import msgspec

    from netdiag.snapshotfile import SnapshotRefused, read_snapshot

    if path == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise Usage("standard input is a terminal, not a snapshot")
    try:
        found = read_snapshot(path)
    except SnapshotRefused as error:
        raise Refused(str(error)) from error
    if hostname is None:
        return found
    return replace(found, meta=msgspec.structs.replace(found.meta, name=hostname))
