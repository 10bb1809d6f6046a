"""Ask all hosts, so many at once, each within a deadline, and write down what became of each.

A slot is held from the first packet to the accepted file. A transport that does not end when it is cancelled is left
behind: the slot goes on to the next host. Any exception of a transport costs its own host and no other.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO

from netdiag.fleet.sweep.accept import Accepted, accept, file_name
from netdiag.fleet.sweep.ledger import Ledger
from netdiag.fleet.sweep.transport import Refused, Sink, Transport, Unreached
from netdiag.model.sweep import Outcome, Status, Target

READERS = 4
"""Snapshots that are taken apart at once, each in a child of its own."""
LAST_WORDS = 0.5
"""Seconds that cancelled transports get at the end."""
REASON_LENGTH = 300


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a host and the sweep may take."""

    concurrency: int = 64
    deadline: float = 60.0
    """Seconds a host."""
    octets: int = 64 << 20
    """Bytes a host."""


@dataclass
class Progress:
    """How far it is, for a person."""

    total: int
    counts: Counter[Status] = field(default_factory=Counter)
    running: int = 0

    @property
    def done(self) -> int:
        """Hosts that have ended."""
        return self.counts.total()


def utc(moment: datetime) -> str:
    """As snapshots spell it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Sweep:
    """One run over the hosts of a ledger that have no outcome."""

    def __init__(
        self,
        ledger: Ledger,
        transport: Transport,
        limits: Limits,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        keep: Callable[[Target, IO[bytes], str, datetime], Accepted] = accept,
    ) -> None:
        self.ledger = ledger
        self.transport = transport
        self.limits = limits
        self.now = now
        self.keep = keep
        self.progress = Progress(total=len(ledger.plan.targets))
        self.progress.counts.update(outcome.status for outcome in ledger.outcomes.values())
        self.readers = ThreadPoolExecutor(READERS)
        self.left_behind: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until every host has an outcome. Raises LedgerRefused, OutputRefused: the disk is full, or the like."""
        waiting = iter(self.ledger.waiting)
        slots = [
            asyncio.create_task(self._slot(waiting))
            for _ in range(min(self.limits.concurrency, len(self.ledger.waiting)))
        ]
        try:
            await asyncio.gather(*slots)
            self.ledger.finish(utc(self.now()))
        finally:
            for slot in slots:
                slot.cancel()
            self.readers.shutdown(wait=False, cancel_futures=True)
            if self.left_behind:
                await asyncio.wait(self.left_behind, timeout=LAST_WORDS)

    async def _slot(self, waiting: Iterator[Target]) -> None:
        for target in waiting:
            self.progress.running += 1
            outcome = await self._host(target)
            self.ledger.add(outcome)
            self.progress.running -= 1
            self.progress.counts[outcome.status] += 1

    async def _host(self, target: Target) -> Outcome:
        started = time.monotonic()
        octets = 0
        try:
            found = await self._kept(target)
            if found is None:
                with tempfile.TemporaryFile(dir=self.ledger.folder) as file:  # nameless: a kill leaves nothing of it
                    sink = Sink(file, self.limits.octets)
                    try:
                        await self._fetched(target, sink)
                        found = await self._accepted(target, file)
                    finally:
                        octets = sink.octets
        except (Unreached, Refused) as error:
            status: Status = "refused" if isinstance(error, Refused) else "unreached"
            reason = " ".join(str(error).split())[:REASON_LENGTH] or "no reason was given"
            return self._ended(target, started, status, octets, reason=reason)
        return self._ended(target, started, "collected", octets, found=found)

    def _ended(
        self,
        target: Target,
        started: float,
        status: Status,
        octets: int,
        *,
        reason: str = "",
        found: Accepted | None = None,
    ) -> Outcome:
        return Outcome(
            host=target.name,
            status=status,
            reason=reason,
            file=found.file if found else None,
            at=utc(self.now()),
            seconds=round(time.monotonic() - started, 3),
            octets=octets,
            claimed=found.claimed if found else None,
            skew=found.skew if found else None,
        )

    async def _kept(self, target: Target) -> Accepted | None:
        """The snapshot of a run that was killed before it could write the line."""
        path = self.ledger.folder / file_name(target.name)
        try:
            file = path.open("rb")
        except OSError:
            return None
        with file:
            try:
                found = await self._accepted(target, file)
            except Refused:
                return None
        return found._replace(skew=None)

    async def _accepted(self, target: Target, file: IO[bytes]) -> Accepted:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.readers, self.keep, target, file, str(self.ledger.folder), self.now())

    async def _fetched(self, target: Target, sink: Sink) -> None:
        """Everything that the host sends, in the sink. Raises Unreached, Refused."""
        task = asyncio.create_task(self.transport.fetch(target, sink))
        try:
            done, _ = await asyncio.wait({task}, timeout=self.limits.deadline)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            self.left_behind.add(task)
            task.add_done_callback(self._forget)
            task.cancel()
            raise Unreached(f"no whole snapshot within {self.limits.deadline:g} s; {sink.octets} bytes came")
        error = task.exception()
        if isinstance(error, (Unreached, Refused)):
            raise error
        if error is not None:
            raise Unreached(f"the connection broke: {type(error).__name__}: {error}")

    def _forget(self, task: asyncio.Task[None]) -> None:
        self.left_behind.discard(task)
        if not task.cancelled():
            task.exception()
