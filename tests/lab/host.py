"""A lab host: a machine made of namespaces, as long-lived as the object that stands for it.

Its first process (tests/lab/birth.py) owns a network, mount, UTS, IPC and PID namespace. Work inside is done by
processes forked into the PID namespace that enter the others by pidfd (setns(2), Linux 5.8). They see a private
/proc, /sys, /run and bpffs and private writable copies of /etc and /var; all other files are the machine's own.

Everything inside dies with the first process, and that one dies with the thread that made it, also on SIGKILL.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tests.lab import cgroup, syscalls
from tests.lab.birth import NAMESPACES, be_born

T = TypeVar("T")
Ran = subprocess.CompletedProcess[str]

REPOSITORY = Path(__file__).resolve().parents[2]
_BIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": _BIN, "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb", "PYTHONPATH": str(REPOSITORY)}
EMULATED = "netdiag_script=" in Path("/proc/cmdline").read_text()  # in the guest of tests/vm everything takes longer
SECONDS = 90.0 if EMULATED else 20.0  # how long one command may take before it counts as hung

_SIOCGIFFLAGS = 0x8913  # linux/sockios.h
_IFF_RUNNING = 0x40  # operational state is up (net/core/dev.c, netif_get_flags)


class LabError(Exception):
    """A command or a callable failed inside a host, or the host could not be made; the text says what and where."""


class Host:
    """One machine of a lab. Make it with `Lab.host()`, which also takes it down."""

    def __init__(self, name: str, label: str, sysctls: Mapping[str, str], own_cgroup: bool = False) -> None:
        """Start the host; `label` goes before its name in the process list. Raises LabError."""
        self.name = name
        self._title = f"{label}:{name}"
        self._own_cgroup = own_cgroup
        self._spawned: list[subprocess.Popen[str]] = []
        self._forked: set[int] = set()
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.pid = self._start(sysctls)
        except BaseException:
            os.close(self._own_pids)
            raise
        self.netns_path = f"/proc/{self.pid}/ns/net"
        self._pidfd = os.pidfd_open(self.pid)
        self._pids = os.open(f"/proc/{self.pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._control = self.inside_network(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._open = True

    def __repr__(self) -> str:
        return f"Host({self.name!r}, pid={self.pid})"

    # -- life ------------------------------------------------------------------------------------------------------

    def _start(self, sysctls: Mapping[str, str]) -> int:
        reader, writer = os.pipe()
        try:
            syscalls.unshare(syscalls.CLONE_NEWPID)
            try:
                pid = os.fork()
                if pid == 0:
                    be_born(self.name, self._title, writer, sysctls, self._own_cgroup)
            finally:
                syscalls.setns(self._own_pids, syscalls.CLONE_NEWPID)
            os.close(writer)
            writer = -1
            answer = os.read(reader, 4096)
            if answer != b"!":
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise LabError(f"host {self.name} was not born: {answer.decode(errors='replace') or 'no word from it'}")
            return pid
        finally:
            os.close(reader)
            if writer >= 0:
                os.close(writer)

    def close(self) -> None:
        """Kill every process of the host and wait for them; its interfaces and mounts go with them. Idempotent."""
        if not self._open:
            return
        self._open = False
        self._control.close()
        os.kill(self.pid, signal.SIGKILL)
        # Children of ours inside the PID namespace must be reaped first: its first process ends only after all of
        # them are gone (kernel/pid_namespace.c, zap_pid_ns_processes).
        for process in self._spawned:
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        for pid in self._forked:
            os.waitpid(pid, 0)
        os.waitpid(self.pid, 0)
        for fd in (self._pidfd, self._pids, self._own_pids):
            os.close(fd)
        if self._own_cgroup:
            cgroup.remove(self._title)

    # -- going in --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _children_inside(self) -> Iterator[None]:
        """What this thread forks meanwhile is born in the host's PID namespace."""
        syscalls.setns(self._pids, syscalls.CLONE_NEWPID)
        try:
            yield
        finally:
            syscalls.setns(self._own_pids, syscalls.CLONE_NEWPID)

    def _enter(self) -> None:
        """In a forked child: enter the other namespaces, and stay in the same folder."""
        folder = os.getcwd()
        syscalls.setns(self._pidfd, NAMESPACES)
        if self._own_cgroup:
            cgroup.join()
            syscalls.setns(self._pidfd, syscalls.CLONE_NEWCGROUP)
        with contextlib.suppress(OSError):
            os.chdir(folder)

    def inside_network(self, make: Callable[[], T]) -> T:
        """Call `make` in this very thread, in the host's network namespace: for opening a socket there, fast."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(self._pidfd, syscalls.CLONE_NEWNET)
            try:
                return make()
            finally:
                syscalls.setns(own, syscalls.CLONE_NEWNET)
        finally:
            os.close(own)

    def _popen(self, argv: Sequence[str], streams: Mapping[str, int], **more: Any) -> subprocess.Popen[str]:
        """Without a preexec_fn Python starts a program by vfork(2): a fork copies the page tables of a test worker that
        has imported everything, which costs more than most commands. So nsenter(1) does the entering."""
        if self._own_cgroup:
            more["preexec_fn"] = self._enter
        else:
            argv = self._entering(argv)
        with self._children_inside():
            return subprocess.Popen(
                list(argv),
                start_new_session=True,
                encoding="utf-8",
                errors="surrogateescape",
                **{"env": ENVIRONMENT, **streams, **more},
            )

    def _entering(self, argv: Sequence[str]) -> tuple[str, ...]:
        return ("nsenter", "-t", str(self.pid), "-m", "-n", "-u", "-i", f"--wdns={os.getcwd()}", "--", *argv)

    # -- commands --------------------------------------------------------------------------------------------------

    def run(self, *argv: str, check: bool = True, timeout: float = SECONDS, text: str | None = None) -> Ran:
        """Run a command inside and wait for it; `text` is its standard input.

        Raises LabError if it exits with other than 0 (unless `check` is false) or takes more than `timeout` seconds.
        """
        pipe = subprocess.PIPE
        streams = {"stdin": subprocess.DEVNULL if text is None else pipe, "stdout": pipe, "stderr": pipe}
        with self._popen(argv, streams) as process:
            try:
                out, err = process.communicate(text, timeout)
            except subprocess.TimeoutExpired as error:
                raise LabError(f"{self.name}: {argv!r} took more than {timeout:g} s") from error
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        if check and process.returncode != 0:
            raise LabError(f"{self.name}: {argv!r} exited with {process.returncode}\n{out}{err}")
        return Ran(argv, process.returncode, out, err)

    def sh(self, script: str, check: bool = True, timeout: float = SECONDS) -> Ran:
        """Run a shell script inside, ended by its first failing command."""
        return self.run("sh", "-euc", script, check=check, timeout=timeout)

    def ip(self, lines: str) -> None:
        """Run `ip` commands, one a line and without the word `ip`, in one process. Raises LabError at the first fault.

        They run outside the host's PID and mount namespace, so that another host's `netns_path` can be named.
        """
        batch = "\n".join(line.strip() for line in lines.splitlines())
        done = self.inside_network(
            lambda: subprocess.run(
                ["ip", "-batch", "-"],
                input=batch + "\n",
                capture_output=True,
                text=True,
                env=ENVIRONMENT,
                timeout=SECONDS,
                check=False,
            )
        )
        if done.returncode != 0:
            raise LabError(f"{self.name}: {done.stderr.strip()}\nin the batch:\n{batch}")

    def spawn(self, *argv: str, output: str = "/dev/null") -> subprocess.Popen[str]:
        """Start a daemon inside; it lives until it is killed or the host is closed.

        What it prints goes to the file `output` of the host.
        """
        redirect = 'output=$1; shift; exec "$@" >>"$output" 2>&1'
        null = subprocess.DEVNULL
        process = self._popen(
            ["sh", "-c", redirect, "sh", output, *argv], {"stdin": null, "stdout": null, "stderr": null}
        )
        self._spawned.append(process)
        return process

    # -- python inside ---------------------------------------------------------------------------------------------

    def fork(self, work: Callable[[], object]) -> int:
        """Start `work` in a fork of this process inside the host, to run until it returns or the host ends; gives
        its pid as this machine sees it. An exception ends it with status 1 and a traceback on standard error."""
        pid = self._fork_into(work)
        self._forked.add(pid)
        return pid

    def _fork_into(self, work: Callable[[], object]) -> int:
        with self._children_inside():
            pid = os.fork()
            if pid == 0:
                self._work(work)
        return pid

    def _work(self, work: Callable[[], object]) -> NoReturn:
        code = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            self._enter()
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - a copy of the test runner must not go on running the tests
            traceback.print_exc()
        finally:
            os._exit(code)

    def end(self, pid: int) -> None:
        """Kill a process started by `fork` and wait for it."""
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._forked.discard(pid)

    def call(self, work: Callable[[], T], timeout: float = SECONDS, meanwhile: Callable[[], object] | None = None) -> T:
        """Run a Python callable inside, in a fork of this process, and give back what it returned.

        It costs a fork instead of an interpreter's start. Results travel as a pickle between two copies of this very
        process, never to or from a file. `meanwhile` is called out here while `work` runs. Raises
        LabError with the traceback if `work` raised, took longer than `timeout` seconds or died.
        """
        reader, writer = os.pipe()

        def answer() -> None:
            os.close(reader)
            try:
                content = pickle.dumps((True, work()), pickle.HIGHEST_PROTOCOL)
            except BaseException:  # noqa: BLE001 - whatever it was, the caller must hear of it
                content = pickle.dumps((False, traceback.format_exc()))
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(content)

        pid = self._fork_into(answer)
        os.close(writer)
        try:
            if meanwhile is not None:
                meanwhile()
            content = _read_all(reader, timeout)
        except _NoAnswer as error:
            raise LabError(f"{self.name}: {work!r} took more than {timeout:g} s") from error
        finally:
            os.close(reader)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        if not content:
            code = os.waitstatus_to_exitcode(status)
            how = f"signal {-code}" if code < 0 else f"status {code}"
            raise LabError(f"{self.name}: {work!r} died without an answer ({how})")
        good, result = pickle.loads(content)  # written by our own fork
        if not good:
            raise LabError(f"{self.name}: {work!r} raised\n{result}")
        value: T = result
        return value

    # -- files and settings ----------------------------------------------------------------------------------------

    def write(self, path: str, text: str) -> None:
        """Write a file inside (folders are made), in /run, /etc, /var, /proc or /sys. Raises LabError elsewhere:
        those files are the real machine's."""

        def work() -> None:
            file = Path(path)
            top = Path("/", *file.parts[1:2])
            if str(top) not in ("/run", "/etc", "/var", "/proc", "/sys") or top.stat().st_dev == os.stat("/").st_dev:
                raise PermissionError(f"{path} is a file of the real machine")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8", "surrogateescape")

        self.call(work)

    def read(self, path: str) -> str:
        """A file's text as seen inside."""
        return self.call(lambda: Path(path).read_text("utf-8", "surrogateescape"))

    def sysctl(self, settings: Mapping[str, str | int]) -> None:
        """Write settings inside, named as under /proc/sys with dots or slashes (`net/ipv4/conf/eth0.5/rp_filter`)."""
        named = {key if "/" in key else key.replace(".", "/"): str(value) for key, value in settings.items()}

        def work() -> None:
            for key, value in named.items():
                Path("/proc/sys", key).write_text(value, "ascii")

        self.call(work)

    def running(self, ifname: str) -> bool:
        """Whether the interface's operational state is up (no process is started for the question)."""
        request = struct.pack("16sh14x", ifname.encode(), 0)
        try:
            flags = struct.unpack("16sh14x", fcntl.ioctl(self._control, _SIOCGIFFLAGS, request))[1]
        except OSError:
            return False
        return bool(flags & _IFF_RUNNING)

    # -- netdiag ---------------------------------------------------------------------------------------------------

    def netdiag(self, *args: str, timeout: float = 60.0) -> tuple[int, str, str]:
        """Run the project's `netdiag` inside, as an operator would: (exit status, standard output, standard error)."""
        program = REPOSITORY / ".venv/bin/netdiag"
        command = [str(program)] if program.exists() else [sys.executable, "-m", "netdiag"]
        ran = self.run(*command, *args, check=False, timeout=timeout)
        return ran.returncode, ran.stdout, ran.stderr

    def check(self, *args: str) -> dict[str, Any]:
        """`netdiag check --json ARGS` inside through the real program: the report. Raises LabError without one."""
        code, out, err = self.netdiag("check", "--json", *args)
        try:
            report: dict[str, Any] = json.loads(out)
        except ValueError as error:
            raise LabError(f"{self.name}: netdiag check exited with {code} and no report\n{out}{err}") from error
        return report

    def report(
        self,
        *args: str,
        during: Callable[[], object] | None = None,
        look: Callable[[Any, Any], object] | None = None,
    ) -> dict[str, Any]:
        """The same report as `check` without an interpreter's start (tests/lab/report.py); with one sample unless
        --interval is given. `during` is called between the two samples: the traffic that the counters shall show.
        What `look` answers to the tables and the report is in the report as `looked`.
        """
        from tests.lab.report import take  # only tests of netdiag itself need netdiag

        return take(self, args, during, look)


class _NoAnswer(Exception):
    """The time was up."""


def _read_all(fd: int, timeout: float) -> bytes:
    """Everything up to end of file; raises _NoAnswer after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    chunks: list[bytes] = []
    while True:
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise _NoAnswer
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
