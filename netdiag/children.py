"""Run the collectors in children, so that one that hangs, dies or lies costs its own rows and nothing else.

A child is forked, asked to lower its priority and to die with its parent. It takes one task after another from a queue
that it shares with the children that may do the same things, and writes each result into an anonymous file (memfd);
the parent maps that file, so a million routes are not copied through a pipe. A fork costs more than most collectors:
few children are started, and another one whenever those that run have all been busy for a moment while tasks wait. So
what hangs holds up nobody. After a task that broke, its child is not trusted with another.

A child past the deadline is killed. A child in D state cannot be killed: it is abandoned, never waited for, and the
report goes out without it. It has let go of what netdiag reads from and writes to: or whoever reads the report through
a pipe, or over SSH, would wait for it.
"""

import ctypes
import gc
import mmap
import os
import resource
import select
import signal
import socket
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
BUSY = 0.1
"""Seconds at one task after which a child does not count as free soon."""
TASKS_A_CHILD = 8
"""A queue gets another child at the start for so many tasks, up to the number of processors."""


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
    alone: bool = False
    """True where the task needs a child of its own: it waits by itself, or leaves the namespace it was born in."""
    run: Callable[[], tuple[dict[str, Any], int, Status, str, float]]


@dataclass
class Queue:
    """Tasks that may be done by one child: numbers in a pipe, each read by whoever comes first."""

    tasks: dict[int, Task]
    reader: int
    waiting: set[int]
    """Numbers that nobody is known to have taken."""


@dataclass
class Child:
    """A running child."""

    queue: Queue
    pid: int
    socket: socket.socket
    busy_since: float
    """CLOCK_MONOTONIC: since when it does what it does."""
    number: int | None = None
    """The task it has begun."""
    began_any: bool = False


def die_with_parent(parent: int) -> None:
    """Let the kernel end this forked child when ``parent`` ends."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # the parent died between fork and prctl


def _let_go(but: set[int]) -> None:
    """Nothing of this child comes from or goes to where its parent's input and output are. ``but``: descriptors that it
    needs, which may have those numbers where the parent was started without."""
    with suppress(OSError):
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in {0, 1, 2} - but:
            os.dup2(nothing, number)


def _confine(parent: int, task: Task) -> None:
    """Lower priority, bounded memory, no life after the parent, and nothing but reading."""
    die_with_parent(parent)
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


def _work(queue: Queue, memories: list[int], parent_socket: socket.socket, parent: int) -> NoReturn:
    """Take tasks until there is none left, and leave. What is said is said in whole messages: ``?`` begun, ``+`` the
    memory holds a whole frame, ``-`` what broke; then the number of the task."""
    number = -1
    try:
        _let_go({queue.reader, parent_socket.fileno(), *memories})
        _confine(parent, next(iter(queue.tasks.values())))
        gc.disable()  # a child lives for a few tables: looking for cycles among their rows is work for nothing
        while taken := os.read(queue.reader, 1):
            number = taken[0]
            parent_socket.send(b"?" + taken)
            tables, rows, status, detail, duration_ms = queue.tasks[number].run()
            for buffer in encode(tables, rows=rows, status=status, detail=detail, duration_ms=duration_ms):
                view = memoryview(buffer)
                while view:
                    view = view[os.write(memories[number], view) :]
            del tables
            parent_socket.send(b"+" + taken)
    except BaseException as error:  # noqa: BLE001 - the engine's outer edge of a child: say what broke, then leave
        if number >= 0:  # else no task broke, but the child before it took one
            with suppress(OSError):
                what = f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace")[:2000]
                parent_socket.send(b"-" + bytes((number,)) + what)
    finally:
        os._exit(0)


class _Crew:
    """The children of one run and what has come of its tasks."""

    def __init__(self, tasks: list[Task]) -> None:
        self.tasks = tasks
        self.memories = [os.memfd_create(f"netdiag-{task.name}") for task in tasks]
        self.queues = [_queue(numbered) for numbered in _alike(tasks)]
        self.children: dict[int, Child] = {}
        """By the file descriptor of the parent's end."""
        self.outcomes: dict[int, Outcome] = {}
        self.poller = select.poll()
        self.started = time.monotonic()

    def start(self) -> None:
        """The first children: one for a queue, for the longest as many as there are processors."""
        processors = len(os.sched_getaffinity(0))
        for queue in self.queues:
            for _ in range(min(processors, 1 + len(queue.tasks) // TASKS_A_CHILD)):
                self.spawn(queue)

    def spawn(self, queue: Queue) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _work(queue, self.memories, theirs, parent)
        theirs.close()
        self.children[ours.fileno()] = Child(queue, pid, ours, time.monotonic())
        self.poller.register(ours, select.POLLIN | select.POLLHUP)

    def hear(self, fd: int) -> None:
        """One message of a child, or its end."""
        child = self.children[fd]
        try:
            said = child.socket.recv(4096)
        except OSError:
            said = b""
        if not said:
            self.ended(fd)
            return
        number = said[1]
        if said[:1] == b"?":
            child.number, child.busy_since, child.began_any = number, time.monotonic(), True
            child.queue.waiting.discard(number)
        else:
            child.number = None
            broke = said[2:].decode("utf-8", "backslashreplace") if said[:1] == b"-" else None
            self.settle(number, "failed" if broke is not None else None, broke or "")

    def settle(self, number: int, status: Status | None, detail: str) -> None:
        """What came of a task, unless that is known: its memory is read (``status`` None), or it was lost."""
        if number in self.outcomes:
            return
        task, memory = self.tasks[number], self.memories[number]
        outcome = _read_outcome(task, memory, self.started) if status is None else None
        self.outcomes[number] = outcome or _lost(task, self.started, status or "failed", detail)
        os.close(memory)

    def ended(self, fd: int) -> None:
        """A child has left: what it was at is lost; what waits gets another child."""
        child = self.children.pop(fd)
        self.poller.unregister(fd)
        child.socket.close()
        with suppress(ChildProcessError):
            os.waitpid(child.pid, os.WNOHANG if _stuck(child.pid) else 0)
        if child.number is not None:
            self.settle(child.number, "failed", "the collector's process died")
        queue = child.queue
        if queue.waiting and not any(other.queue is queue for other in self.children.values()):
            if child.began_any:
                self.spawn(queue)
            else:  # it could not even begin
                for number in tuple(queue.waiting):
                    queue.waiting.discard(number)
                    self.settle(number, "failed", "the collector's process died")

    def relieve(self) -> None:
        """Another child where tasks wait and all who could take them have been busy for a while."""
        now = time.monotonic()
        for queue in self.queues:
            crew = [child for child in self.children.values() if child.queue is queue]
            if queue.waiting and all(now - child.busy_since > BUSY for child in crew):
                self.spawn(queue)

    def end(self) -> None:
        """Kill who is still there, wait for nobody, and say of every unfinished task that time was up."""
        for child in self.children.values():
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            child.socket.close()
            with suppress(ChildProcessError):
                os.waitpid(child.pid, os.WNOHANG)
        for queue in self.queues:
            os.close(queue.reader)
        for number in range(len(self.tasks)):
            self.settle(number, "timeout", "no answer before the deadline")


def _alike(tasks: list[Task]) -> list[dict[int, Task]]:
    """Tasks by number, those together that may be done by one child."""
    groups: dict[object, dict[int, Task]] = {}
    for number, task in enumerate(tasks):
        alone = number if task.alone or task.writes_files else None
        groups.setdefault((alone, task.reads_processes, task.asks_inet), {})[number] = task
    return list(groups.values())


def _queue(tasks: dict[int, Task]) -> Queue:
    reader, writer = os.pipe()
    os.write(writer, bytes(tasks))
    os.close(writer)
    return Queue(tasks, reader, set(tasks))


def _lost(task: Task, started: float, status: Status, detail: str) -> Outcome:
    duration_ms = round((time.monotonic() - started) * 1000, 1)
    coverage = Coverage(collector=task.name, status=status, detail=detail, duration_ms=duration_ms)
    return Outcome(tables={}, coverage=coverage)


def _read_outcome(task: Task, memory: int, started: float) -> Outcome:
    try:
        mapped = mmap.mmap(memory, os.fstat(memory).st_size, prot=mmap.PROT_READ)
        frame, tables = decode(memoryview(mapped))
    except (CodecError, ValueError, OSError) as error:
        return _lost(task, started, "failed", f"the collector's answer was refused: {error}")
    coverage = Coverage(
        collector=task.name, status=frame.status, detail=frame.detail, rows=frame.rows, duration_ms=frame.duration_ms
    )
    return Outcome(tables=tables, coverage=coverage)


def run(tasks: list[Task], deadline: float, meanwhile: Callable[[], object] | None = None) -> list[Outcome]:
    """Run all tasks side by side; results in the order of ``tasks``. ``deadline``: seconds of CLOCK_MONOTONIC.

    ``meanwhile`` is work of the parent's own that is done while the children read.

    Never raises for what a child does; KeyboardInterrupt and the like kill the children and go on up.
    """
    crew = _Crew(tasks)
    try:
        crew.start()
        if meanwhile is not None:
            meanwhile()
        while crew.children:
            left = max(0.0, deadline - time.monotonic())
            queued = any(queue.waiting for queue in crew.queues)
            ready = crew.poller.poll((min(left, BUSY) if queued else left) * 1000)
            for fd, _ in ready:
                crew.hear(fd)
            if left:
                crew.relieve()
            elif not ready:  # what was said before the deadline has been heard
                break
    finally:
        crew.end()
    return [crew.outcomes[number] for number in range(len(tasks))]


def _stuck(pid: int) -> bool:
    """True for a process in D state, which must not be waited for."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[:1] == [b"D"]
    except OSError:
        return False
