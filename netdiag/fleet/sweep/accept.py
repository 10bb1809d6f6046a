"""Is what came the snapshot of the host that was asked? If so it is written under its final name.

The host is who was reached: a snapshot that claims another name is refused. Names are the same where they are equal
but for case, or one is the other with a domain behind it. What is kept is written anew from what was read, with the
inventory's name and labels, so no odd member of the archive that came is passed on.

The file is taken apart in a child with bounded memory and time, because it may have been made to use up both.
"""

import glob
import ipaddress
import json
import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import IO, Any, NamedTuple

import msgspec

from netdiag import children
from netdiag.fleet.sweep.transport import Refused
from netdiag.model.coverage import Status
from netdiag.model.sweep import Target
from netdiag.snapshotfile import OutputRefused, SnapshotRefused, read_snapshot, write_snapshot

TIME = 20.0
"""Seconds for reading and writing one snapshot; 1.2 million routes take five."""
SKEW = 5.0
"""Seconds; a snapshot takes a few to be made and sent."""


DISK = "the disk: "
"""Begins what a child says of an error of the file system."""


class Accepted(NamedTuple):
    """A snapshot that has its final name."""

    file: str
    claimed: str | None
    skew: float | None


def accept(target: Target, content: IO[bytes], folder: str, now: datetime) -> Accepted:
    """Check what came and write it into ``folder``. Raises Refused, and OutputRefused where the disk fails."""

    content.flush()
    _tidy(folder, target)

    def run() -> tuple[dict[str, Any], int, Status, str, float]:
        try:
            return {}, 0, "ok", json.dumps(_accepted(target, content, folder, now)), 0.0
        except Refused as error:
            return {}, 0, "partial", str(error), 0.0
        except OutputRefused as error:
            return {}, 0, "failed", f"{DISK}{error.reason}", 0.0

    (outcome,) = children.run([children.Task(name="accept", writes_files=True, run=run)], monotonic() + TIME)
    said = outcome.coverage
    if said.status == "ok":
        return Accepted(*json.loads(said.detail))
    _tidy(folder, target)
    if said.detail.startswith(DISK):
        raise OutputRefused(os.path.join(folder, file_name(target.name)), said.detail.removeprefix(DISK))
    raise Refused(said.detail if said.status == "partial" else f"reading the snapshot: {said.detail}")


def _tidy(folder: str, target: Target) -> None:
    """Take away what a child left that was ended while it wrote."""
    for left in glob.glob(os.path.join(glob.escape(folder), f".{file_name(target.name)}.*.tmp")):
        with suppress(FileNotFoundError):
            os.unlink(left)


def same_host(name: str, claimed: str) -> bool:
    """Whether two spellings are one host's."""
    short, long = sorted((name.lower().rstrip("."), claimed.lower().rstrip(".")), key=len)
    return short == long or bool(short and long.startswith(f"{short}."))


def is_address(name: str) -> bool:
    """Whether an inventory named the host by an address; then it may call itself whatever it likes."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def file_name(host: str) -> str:
    """Name of the host's file."""
    return f"{host.lower()}.netdiag"


def _accepted(target: Target, content: IO[bytes], folder: str, now: datetime) -> Accepted:
    content.seek(0)
    try:
        found = read_snapshot(content)
    except SnapshotRefused as error:
        raise Refused(error.reason) from error
    claimed = found.meta.name
    by_address = is_address(target.name)
    if not by_address and not same_host(target.name, claimed):
        raise Refused(f"wrong identity: the snapshot is of {claimed}")
    labels = found.meta.labels | ({"hostname": claimed} if by_address else {}) | target.labels
    meta = msgspec.structs.replace(found.meta, name=target.name, labels=labels)
    name = file_name(target.name)
    write_snapshot(replace(found, meta=meta), os.path.join(folder, name))
    return Accepted(name, claimed if claimed != target.name else None, _skew(found.meta.taken_at, now))


def _skew(taken_at: str, now: datetime) -> float | None:
    try:
        taken = datetime.fromisoformat(taken_at)
    except ValueError:
        return None
    if taken.tzinfo is None:
        taken = taken.replace(tzinfo=UTC)
    skew = (taken - now).total_seconds()
    return round(skew, 1) if abs(skew) > SKEW else None
