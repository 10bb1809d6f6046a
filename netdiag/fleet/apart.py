"""Judge hosts in a forked child, so that a file over which a rule hangs, dies or eats the memory costs only itself.

The child judges one host after the other and sends what was said; before each rule it leaves the rule's name in memory
that it shares with its parent. A child that gives no answer in time is killed; one that dies has died. The host is then
judged once more without the rule that it was at. A rule that has failed on a few hosts is left out for all that follow,
so that one bad rule cannot cost its deadline a thousand times.

Nothing is raised for what a child does. Where rules are run otherwise (``check``, a folder, Spark) they run as they
are: there somebody waits for the one answer.
"""

import gc
import mmap
import os
import resource
import select
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NoReturn

import msgspec

from netdiag.children import die_with_parent
from netdiag.fleet.judged import Judged, judged
from netdiag.model.coverage import NotEvaluated
from netdiag.model.snapshot import Snapshot
from netdiag.rules.shape import RuleModule

SECONDS = 60.0
"""For one host, unless somebody says otherwise; 1M routes and 5,000 peers take three."""
MEMORY = 2 << 30
"""Bytes of address space that judging may take beside what is there already."""
MOST_WITHOUT = 3
"""Rules that one host is judged without, before it is given up."""
WORN = 2
"""Hosts on which a rule may fail before it is left out."""
NAME = 128
"""Bytes for the name of a rule."""
PIECE = 1 << 20
LENGTH = struct.Struct("<Q")


class Lost(Exception):
    """A child that will not answer any more: the rule that it was at, and what became of it."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"{reason}, last in rule {rule}" if rule else reason)
        self.rule = rule
        self.reason = reason


class Apart:
    """Judges hosts; remembers which rules failed."""

    def __init__(self, modules: dict[str, RuleModule], seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self.modules = modules
        self.seconds = seconds
        self.memory = memory
        self.failed: Counter[str] = Counter()
        """By rule, on how many hosts it gave no answer."""

    def judge(self, snapshots: Sequence[Snapshot]) -> Iterator[Judged]:
        """What the rules say of each, in order."""
        number, without = 0, dict[str, str]()
        while number < len(snapshots):
            missing = without | self._worn()
            chosen = {name: module for name, module in self.modules.items() if name not in missing}
            # one that is judged again is judged alone: the next may well have an answer to what it is not asked
            some = snapshots[number : number + 1] if without else snapshots[number:]
            try:
                for said in self._child(some, chosen):
                    yield _completed(said, missing, without)
                    number, without = number + 1, {}
            except Lost as lost:
                if not lost.rule or len(without) == MOST_WITHOUT:
                    yield _nothing(self.modules, lost)
                    number, without = number + 1, {}
                else:
                    without[lost.rule] = lost.reason
                    self.failed[lost.rule] += 1

    def _worn(self) -> dict[str, str]:
        return {
            rule: f"left out, after it gave no answer on {count} hosts"
            for rule, count in self.failed.items()
            if count >= WORN
        }

    def _child(self, snapshots: Sequence[Snapshot], modules: dict[str, RuleModule]) -> Iterator[Judged]:
        """What one child says of these hosts. Raises Lost where it falls silent."""

        def say(began: Callable[[str], None]) -> Iterator[bytes]:
            for snapshot in snapshots:
                began("")
                yield msgspec.msgpack.encode(judged(snapshot, modules, began))

        child = Child(say, self.memory)
        try:
            for _ in snapshots:
                yield msgspec.msgpack.decode(child.answer(self.seconds), type=Judged)
        finally:
            child.end()


class Child:
    """A forked process that says one thing after the other, and the pipe by which it does."""

    def __init__(self, say: Callable[[Callable[[str], None]], Iterator[bytes]], memory: int) -> None:
        """``say`` runs in the child; what it is given hears the name of each rule before that is run. ``memory``:
        bytes by which the child may grow."""
        self.reader, writer = os.pipe()
        self.rule = mmap.mmap(-1, NAME)
        """Name of the rule that it is at."""
        self.parent = os.getpid()
        self.pid: int | None = os.fork()
        """None: it has ended."""
        if self.pid == 0:
            os.close(self.reader)
            self._work(say, writer, memory)
        os.close(writer)
        self.poller = select.poll()
        self.poller.register(self.reader, select.POLLIN)

    def answer(self, seconds: float) -> bytes:
        """The next thing that it says, within so many seconds. Raises Lost."""
        deadline = time.monotonic() + seconds
        (length,) = LENGTH.unpack(self._read(LENGTH.size, deadline, seconds))
        return self._read(length, deadline, seconds)

    def _read(self, count: int, deadline: float, seconds: float) -> bytes:
        content = bytearray()
        while len(content) < count:
            left = deadline - time.monotonic()
            if left <= 0 or not self.poller.poll(left * 1000):
                raise Lost(self._at(), f"no answer within {seconds:g} s")
            piece = os.read(self.reader, min(count - len(content), PIECE))
            if not piece:
                raise Lost(self._at(), _how(self.end()))
            content += piece
        return bytes(content)

    def _work(self, say: Callable[[Callable[[str], None]], Iterator[bytes]], writer: int, memory: int) -> NoReturn:
        status = 1
        try:
            die_with_parent(self.parent)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            _bound(memory)
            gc.freeze()  # looking for cycles among the parent's objects would copy the pages of all of them
            with os.fdopen(writer, "wb", closefd=False) as out:
                for octets in say(self._began):
                    out.write(LENGTH.pack(len(octets)) + octets)
                    out.flush()
            status = 0
        finally:  # whatever it was: the parent sees the child end, and where
            os._exit(status)

    def _began(self, rule: str) -> None:
        self.rule[:] = rule.encode()[:NAME].ljust(NAME, b"\0")

    def _at(self) -> str:
        return self.rule[:].rstrip(b"\0").decode(errors="replace")

    def end(self) -> int:
        """Kill it where it still runs; its exit status, as os.waitpid() gives it."""
        if self.pid is None:
            return 0
        os.close(self.reader)
        os.kill(self.pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
        _, status = os.waitpid(self.pid, 0)
        self.pid = None
        return status


def _bound(memory: int) -> None:
    """Let the address space grow by no more than this."""
    with suppress(OSError, ValueError):
        with open("/proc/self/statm", "rb") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = now + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(hard, limit), hard))


def _how(status: int) -> str:
    """How a child that closed its pipe came to its end."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"its process broke (exit status {code})"
    try:
        return f"its process was killed ({signal.Signals(-code).name})"
    except ValueError:
        return f"its process was killed (signal {-code})"


def _completed(said: Judged, missing: dict[str, str], own: dict[str, str]) -> Judged:
    """The answer with the rules that were not asked."""
    silent = [NotEvaluated(rule=rule, reason=f"not judged: {reason}") for rule, reason in missing.items()]
    named = ", ".join(f"rule {rule}: {reason}" for rule, reason in own.items())
    return msgspec.structs.replace(said, silent=(*said.silent, *silent), not_judged=named or None)


def _nothing(modules: dict[str, RuleModule], lost: Lost) -> Judged:
    """No answer at all."""
    silent = tuple(NotEvaluated(rule=name, reason=f"not judged: {lost}") for name in modules)
    return Judged(silent=silent, not_judged=str(lost), at_all=False)
