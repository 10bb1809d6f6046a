"""The program as a process: signals, closed pipes, full disks, odd locales."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.timed

COMMAND = [sys.executable, "-m", "netdiag"]


def wait_for_reader(path: Path) -> int:
    """Open a FIFO for writing as soon as somebody reads it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            os.sched_yield()
    raise AssertionError("netdiag never opened the file")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(tmp_path: Path, number: int, status: int) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    process = subprocess.Popen([*COMMAND, "check", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    writer = wait_for_reader(path)
    deadline = time.monotonic() + 20
    while True:  # one that comes just before read(2) is heard after it: a person presses ^C once more, too
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            out, err = process.communicate(timeout=2)
            break
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"netdiag heard no signal {number}")
    os.close(writer)
    assert (process.returncode, out, err) == (status, b"", b"")


def test_a_closed_pipe_is_quiet(file: str) -> None:
    for arguments in (
        ["show", "routes", file],
        ["check", "--json", file],
        ["show", "links", "--json", file],
        ["--help"],
    ):
        reading, writing = os.pipe()
        os.close(reading)
        process = subprocess.Popen([*COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        _, err = process.communicate(timeout=60)
        assert err == b""
        assert process.returncode in (0, 1, 2)
        if arguments[0] != "check":
            assert process.returncode == 0


def test_a_closed_pipe_does_not_change_the_verdict(file: str) -> None:
    whole = subprocess.run([*COMMAND, "check", file], capture_output=True, timeout=60)
    reading, writing = os.pipe()
    os.close(reading)
    cut = subprocess.run([*COMMAND, "check", file], stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (cut.returncode, cut.stderr) == (whole.returncode, b"")


def test_a_full_disk_is_70(file: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "check", "--json", file], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (70, b"netdiag: standard output: No space left on device\n")


def test_no_standard_output_is_70(file: str) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "check", file], stderr=subprocess.PIPE, timeout=60
    )
    assert (done.returncode, done.stderr) == (70, b"netdiag: standard output is closed\n")


def test_a_locale_without_unicode(file: str, tmp_path: Path) -> None:
    environment = os.environ | {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for arguments in (["check", "--hostname", "zürich", file], ["check", "--json", "--hostname", "zürich", file]):
        done = subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, timeout=60)
        assert done.returncode in (0, 1, 2), done.stderr
        if "--json" in arguments:
            assert json.loads(done.stdout)["schema"] == "netdiag.report/1"


def test_from_any_directory_without_a_home(file: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "netdiag", "check", file], cwd="/", env={}, capture_output=True, timeout=60
    )
    assert done.returncode in (0, 1, 2), done.stderr
