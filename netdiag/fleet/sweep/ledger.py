"""The ledger of a sweep: ``sweep.jsonl`` in its folder, JSON lines, ``netdiag.sweep/1``.

The first line is the plan with all targets, written whole before any host is asked; then one line a host, in the order
in which they ended; the last says when the sweep was finished. A line that a kill cut short is no line. A snapshot has
its final name before its line is written, so a host can have a file without a line (it is looked at again, not asked
again), never a line without a file.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from netdiag.model.sweep import SCHEMA, Finished, Outcome, Plan, Target
from netdiag.snapshotfile import replacing

NAME = "sweep.jsonl"
FOLDER = "sweep-"
"""Beginning of the name of a sweep's folder; the UTC time follows."""
LIMIT = 256 << 20
"""Bytes of a ledger; 100,000 hosts are about 40 MB."""
T = TypeVar("T", bound=msgspec.Struct)


class LedgerRefused(Exception):
    """A ledger cannot be read or written; the text is one line."""


@dataclass
class Ledger:
    """A sweep's folder, its plan and what is known by now."""

    folder: Path
    plan: Plan
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    finished: str | None = None

    def _append(self, line: msgspec.Struct) -> None:
        """One line with one write(2); a kill leaves it whole, absent, or cut short."""
        try:
            descriptor = os.open(self.folder / NAME, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.write(descriptor, b"\n" + msgspec.json.encode(line))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise LedgerRefused(f"{self.folder / NAME}: {error.strerror}") from error

    def add(self, outcome: Outcome) -> None:
        """A host has ended. Raises LedgerRefused."""
        self._append(outcome)
        self.outcomes[outcome.host] = outcome

    def finish(self, at: str) -> None:
        """All have. Raises LedgerRefused."""
        self._append(Finished(finished=at))
        self.finished = at

    @property
    def waiting(self) -> list[Target]:
        """Hosts without an outcome."""
        return [target for target in self.plan.targets if target.name not in self.outcomes]


def begin(top: str, plan: Plan) -> Ledger:
    """Make the folder of a new sweep below ``top``, readable for its owner only. Raises LedgerRefused."""
    folder = Path(top) / (FOLDER + plan.started.replace("-", "").replace(":", ""))
    try:
        os.makedirs(top, mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700)
        with replacing(str(folder / NAME)) as file:
            file.write(msgspec.json.encode(plan))
    except FileExistsError as error:
        raise LedgerRefused(f"{folder}: a sweep of this second is there already") from error
    except OSError as error:
        raise LedgerRefused(f"{error.filename or top}: {error.strerror}") from error
    return Ledger(folder, plan)


def read(folder: Path) -> Ledger:
    """The ledger in a sweep's folder. Raises LedgerRefused."""
    path = folder / NAME
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT + 1)
    except OSError as error:
        raise LedgerRefused(f"{path}: {error.strerror}") from error
    first, *lines = content.split(b"\n")
    try:
        if len(content) > LIMIT:
            raise ValueError(f"larger than {LIMIT >> 20} MiB")
        plan = msgspec.json.decode(first, type=Plan)
        if plan.schema != SCHEMA:
            raise ValueError(f"schema {plan.schema[:40]!r}")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise LedgerRefused(f"{path}: not a ledger of a sweep: {error}") from error
    ledger = Ledger(folder, plan)
    known = {target.name for target in plan.targets}
    for line in lines:
        outcome = _line(line, Outcome)
        if outcome is not None and outcome.host in known:
            ledger.outcomes[outcome.host] = outcome
        elif (finished := _line(line, Finished)) is not None:
            ledger.finished = finished.finished
    return ledger


def _line(line: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def ledgers(sources: Iterable[str]) -> list[Ledger]:
    """All readable ledgers below these folders, oldest first; files and URLs have none."""
    found = []
    for top in map(Path, sources):
        for path in top.rglob(NAME) if top.is_dir() else ():
            try:
                found.append(read(path.parent))
            except LedgerRefused:
                continue
    return sorted(found, key=lambda ledger: ledger.plan.started)


def unfinished(top: str) -> Ledger | None:
    """The newest sweep below ``top``, where it was not finished. Raises LedgerRefused."""
    folders = sorted(Path(top).glob(f"{FOLDER}*/{NAME}"))
    if not folders:
        return None
    ledger = read(folders[-1].parent)
    return ledger if ledger.finished is None else None


def missing(found: Iterable[Ledger], taken: dict[str, str]) -> dict[str, str]:
    """Host to the reason why it is not there, by the newest sweep that was to reach it.

    ``taken``: host to the time of its newest snapshot; one that is not older than the sweep makes up for it.
    """
    reasons: dict[str, str] = {}
    for ledger in found:
        for target in ledger.plan.targets:
            outcome = ledger.outcomes.get(target.name)
            have = taken.get(target.name, "")
            if (outcome is not None and outcome.status == "collected") or have >= ledger.plan.started:
                reasons.pop(target.name, None)
                continue
            why = f"{outcome.status}: {outcome.reason}" if outcome is not None else "the sweep did not get to it"
            reasons[target.name] = f"{why}; its newest snapshot is of {have}" if have else why
    return reasons
