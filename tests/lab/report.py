"""A report of a lab host without the start of an interpreter: netdiag's own functions in a fork inside the host.

Everything is imported before the fork, so one report costs a fork and the collecting. The first report of a host
collects as the program does, in confined children; later ones that need not wait do it one collector after the other,
which costs half. What the real program prints is `Host.check`; tests/lab/test_report.py holds them against each other.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import select
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import netdiag.collect
from netdiag.children import Outcome
from netdiag.cli import _told
from netdiag.cli._verb import Session
from netdiag.collect import Options, collect
from netdiag.engine import judge
from netdiag.model.codec import decode, encode
from netdiag.model.coverage import Coverage
from netdiag.sources.live import LiveSource

if TYPE_CHECKING:
    from netdiag.children import Task
    from netdiag.model.finding import Report
    from netdiag.model.snapshot import Snapshot, Tables
    from tests.lab.host import Host

_WARM_UP = 10.0  # seconds that the first look may take
_QUIET = 0.25  # seconds without another collector coming to its second sample: all of them are there
_SEEN: WeakSet[Host] = WeakSet()
"""Hosts of which there was a report."""


class _PausedSource(LiveSource):
    """A live source whose wait between two samples lasts exactly as long as the test's work.

    It says on one pipe that the first sample is taken, and goes on when the other pipe's writer is closed.
    """

    def __init__(self, deadline: float, reached: int, go_on: int) -> None:
        super().__init__(deadline)
        self._reached, self._go_on = reached, go_on

    def wait(self, seconds: float) -> None:
        os.write(self._reached, b".")
        os.read(self._go_on, 1)


def take(
    host: Host,
    args: Sequence[str],
    during: Callable[[], object] | None = None,
    look: Callable[[Tables, Report], object] | None = None,
) -> dict[str, Any]:
    """The report of `netdiag check --json ARGS` inside `host`, by the short way.

    `args` may hold --interval, --deadline, --hostname, --rule and --skip; ValueError for others. `during` is called
    in the test process between the two samples of the counters, which then does not depend on any clock: the
    interval only has to be above 0. `look` is asked inside, of what was read and found; what it answers is the
    report's `looked`.
    """
    asked = _parsed(args)
    _warm()
    in_children = during is not None or asked.interval > 0 or asked.all_netns or host not in _SEEN
    _SEEN.add(host)
    reached_reader, reached_writer = os.pipe()
    go_on_reader, go_on_writer = os.pipe()

    def inside() -> bytes:
        os.close(reached_reader)
        os.close(go_on_writer)
        if not in_children:
            netdiag.collect.run = _one_by_one
        deadline = time.monotonic() + asked.deadline
        paused = _PausedSource(deadline, reached_writer, go_on_reader)
        source = LiveSource(deadline) if during is None else paused
        options = _options(asked)
        return _as_json(collect(source, options), asked, look)

    def meanwhile() -> None:
        os.close(reached_writer)
        try:
            if during is not None:
                _await_samples(reached_reader, asked.deadline)
                during()
        finally:
            os.close(go_on_writer)

    try:
        content = host.call(inside, timeout=asked.deadline + 10, meanwhile=meanwhile)
    finally:
        os.close(reached_reader)
        os.close(go_on_reader)
    report: dict[str, Any] = json.loads(content)
    return report


def _one_by_one(tasks: list[Task], deadline: float, meanwhile: Callable[[], object] | None = None) -> list[Outcome]:
    """`netdiag.children.run` without children: what a task gives goes through the same frame. Its bug is ours.

    Tasks that may not share a child come last: they can leave the namespace.
    """
    if meanwhile is not None:
        meanwhile()
    done = {task.name: _outcome(task) for task in sorted(tasks, key=lambda task: task.alone)}
    return [done[task.name] for task in tasks]


def _outcome(task: Task) -> Outcome:
    tables, rows, status, detail, duration_ms = task.run()
    content = b"".join(encode(tables, rows=rows, status=status, detail=detail, duration_ms=duration_ms))
    frame, read = decode(memoryview(content))
    coverage = Coverage(
        collector=task.name, status=frame.status, detail=frame.detail, rows=frame.rows, duration_ms=frame.duration_ms
    )
    return Outcome(tables=read, coverage=coverage)


def _options(asked: argparse.Namespace) -> Options:
    common = {"interval": asked.interval, "deadline": asked.deadline, "hostname": asked.hostname}
    plain = Options(**common, all_netns=asked.all_netns)
    return _told.with_intent(Session(), plain, asked.intent)


def _as_json(
    snapshot: Snapshot, asked: argparse.Namespace, look: Callable[[Tables, Report], object] | None = None
) -> bytes:
    import msgspec

    report = judge(
        snapshot, only=tuple(asked.rule), skip=tuple(asked.skip), told=_told.told(asked.suppress, asked.baseline)
    )
    if look is None:
        return msgspec.json.encode(report)
    return msgspec.json.encode(msgspec.to_builtins(report) | {"looked": look(snapshot.tables, report)})


def _await_samples(reached: int, deadline: float) -> None:
    """Return when every collector that samples twice has its first sample. Raises TimeoutError if none ever has."""
    poller = select.poll()
    poller.register(reached, select.POLLIN)
    wait = deadline
    while poller.poll(wait * 1000):
        if not os.read(reached, 64):
            break
        wait = _QUIET
    if wait == deadline:
        raise TimeoutError("no collector came to a second sample: is the interval 0?")


@cache
def _warm() -> None:
    """Do here, once, what each fork would do anew: import all, and build what is built at first use (decoders, regular
    expressions) by a look at this machine. What is there by now is no garbage: a fork shall not look through it."""
    judge(collect(LiveSource(time.monotonic() + _WARM_UP), Options(interval=0)))
    gc.collect()
    gc.freeze()


def _parsed(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--interval", type=float, default=0.0)
    parser.add_argument("--deadline", type=float, default=30.0)
    parser.add_argument("--hostname")
    parser.add_argument("--all-netns", action="store_true")
    for option in ("--intent", "--suppress", "--baseline"):
        parser.add_argument(option)
    parser.add_argument("--rule", action="append", default=[])
    parser.add_argument("--skip", action="append", default=[])
    asked, rest = parser.parse_known_args(list(args))
    if rest:
        raise ValueError(f"only the real program knows {rest}: use Host.check")
    return asked
