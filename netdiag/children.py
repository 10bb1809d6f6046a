"""Run each collector in a child of its own, so that one that hangs, dies or lies costs its own rows and nothing else.

A child is forked, asked to lower its priority and to die with its parent, and writes its result into an anonymous file
(memfd); the parent maps that file, so a million routes are not copied through a pipe. A child past the deadline is
killed. A child in D state cannot be killed: it is abandoned, never waited for, and the report goes out without it.
"""

import ctypes
import gc
import mmap
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from netdiag import confine
from netdiag.model.codec import CodecError, decode, encode
from netdiag.model.coverage import Coverage, Status

MEMORY_LIMIT = 4 << 30
"""Bytes of address space; 1.2 million routes with their columns stay below 600 MB."""
CPU_LIMIT = 120
"""Seconds of processor time; 1.2 million routes take less than one."""
PR_SET_PDEATHSIG = 1
NICE = 5


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one child: its tables (empty unless it answered) and its line of coverage."""

    tables: dict[str, Any]
    coverage: Coverage


@dataclass(frozen=True, kw_only=True)
class Task:
    """A named piece of work; ``run`` gives (tables, rows, status, detail, duration in ms) and may raise nothing but
    bugs."""

    name: str
    writes_files: bool = False
    """True where the task writes a recording."""
    reads_processes: bool = False
    """True where the task looks into other processes, which Landlock would end."""
    asks_inet: bool = False
    """True where the task asks options of an Internet socket; it still cannot send."""
    run: Callable[[], tuple[dict[str, Any], int, Status, str, float]]


@dataclass
class Child:
    """A running child."""

    task: Task
    pid: int
    pipe: int
    memory: int
    started: float


def _confine(parent: int, task: Task) -> None:
    """Lower priority, bounded memory, no life after the parent, and nothing but reading."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # the parent died between fork and prctl
    with suppress(OSError):
        os.nice(NICE)
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(hard, MEMORY_LIMIT)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        limit = CPU_LIMIT if hard == resource.RLIM_INFINITY else min(hard, CPU_LIMIT)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if not task.writes_files and not task.reads_processes:
        confine.landlock()
    confine.seccomp(writes_files=task.writes_files, asks_inet=task.asks_inet)


def _child(task: Task, pipe: int, memory: int, parent: int) -> NoReturn:
    """Run the task and leave; the byte on the pipe says that the memory holds a whole frame."""
    code = 1
    try:
        _confine(parent, task)
        gc.disable()  # a child lives for one table: looking for cycles among its rows is work for nothing
        tables, rows, status, detail, duration_ms = task.run()
        for buffer in encode(tables, rows=rows, status=status, detail=detail, duration_ms=duration_ms):
            view = memoryview(buffer)
            while view:
                view = view[os.write(memory, view) :]
        os.write(pipe, b"+")
        code = 0
    except BaseException as error:  # noqa: BLE001 - the engine's outer edge of a child: say what broke, then leave
        with suppress(OSError):
            os.write(pipe, b"-" + f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace")[:2000])
    finally:
        os._exit(code)


def _spawn(task: Task) -> Child:
    reader, writer = os.pipe()
    memory = os.memfd_create(f"netdiag-{task.name}")
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(task, writer, memory, parent)
    os.close(writer)
    return Child(task, pid, reader, memory, time.monotonic())


def _failed(child: Child, status: Status, detail: str) -> Outcome:
    duration_ms = round((time.monotonic() - child.started) * 1000, 1)
    coverage = Coverage(collector=child.task.name, status=status, detail=detail, duration_ms=duration_ms)
    return Outcome(tables={}, coverage=coverage)


def _read_outcome(child: Child) -> Outcome:
    said = os.read(child.pipe, 4096)
    if said[:1] != b"+":
        detail = said[1:].decode("utf-8", "backslashreplace") or "the collector's process died"
        return _failed(child, "failed", detail)
    try:
        mapped = mmap.mmap(child.memory, os.fstat(child.memory).st_size, prot=mmap.PROT_READ)
        frame, tables = decode(memoryview(mapped))
    except (CodecError, ValueError, OSError) as error:
        return _failed(child, "failed", f"the collector's answer was refused: {error}")
    coverage = Coverage(
        collector=child.task.name,
        status=frame.status,
        detail=frame.detail,
        rows=frame.rows,
        duration_ms=frame.duration_ms,
    )
    return Outcome(tables=tables, coverage=coverage)


def _leave(child: Child, wait: int) -> None:
    """Close what belongs to a child and reap it; with WNOHANG one that has not ended is left to the kernel."""
    os.close(child.pipe)
    os.close(child.memory)
    with suppress(ChildProcessError):
        os.waitpid(child.pid, wait)


def run(tasks: list[Task], deadline: float, meanwhile: Callable[[], object] | None = None) -> list[Outcome]:
    """Run all tasks side by side; results in the order of ``tasks``. ``deadline``: seconds of CLOCK_MONOTONIC.

    ``meanwhile`` is work of the parent's own that is done while the children read.

    Never raises for what a child does; KeyboardInterrupt and the like kill the children and go on up.
    """
    outcomes: dict[str, Outcome] = {}
    waiting: dict[int, Child] = {}
    poller = select.poll()
    try:
        for task in tasks:
            child = _spawn(task)
            waiting[child.pipe] = child
            poller.register(child.pipe, select.POLLIN | select.POLLHUP)
        if meanwhile is not None:
            meanwhile()
        while waiting:
            left = deadline - time.monotonic()
            ready = poller.poll(max(0.0, left) * 1000)
            for pipe, _ in ready:
                child = waiting.pop(pipe)
                poller.unregister(pipe)
                outcomes[child.task.name] = _read_outcome(child)
                _leave(child, os.WNOHANG if _stuck(child.pid) else 0)
            if not ready and left <= 0:
                break
    finally:
        for child in waiting.values():
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            outcomes[child.task.name] = _failed(child, "timeout", "no answer before the deadline")
            _leave(child, os.WNOHANG)
    return [outcomes[task.name] for task in tasks]


def _stuck(pid: int) -> bool:
    """True for a process in D state, which must not be waited for."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[:1] == [b"D"]
    except OSError:
        return False
