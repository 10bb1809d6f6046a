"""Output files appear whole or not at all, and only where a regular file may be."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from netdiag.snapshotfile import OutputRefused, check_output, replacing, write_snapshot
from tests.snapshotfile.hosts import small_snapshot


def test_mode_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_snapshot(small_snapshot(), str(tmp_path / "a"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["a"]


def test_replaces_a_regular_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with replacing(str(path)) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_nothing_is_left_after_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(str(path)) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputRefused, match="No space left on device"), replacing(str(tmp_path / "a")):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_killed_by_a_signal_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    code = (
        "import os, signal, sys\nfrom netdiag.snapshotfile import replacing\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        f"with replacing({str(path)!r}) as file:\n file.write(b'half'); os.kill(os.getpid(), signal.SIGINT)\n"
        " signal.pause()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20)
    assert done.returncode in (1, -signal.SIGINT)
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["a"])


def test_what_is_not_a_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "real").write_text("kept")
    (tmp_path / "symlink").symlink_to("real")
    (tmp_path / "dangling").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    cases = {
        "fifo": "is a FIFO",
        "symlink": "is a symbolic link",
        "dangling": "is a symbolic link",
        "socket": "is a socket",
        ".": "is a directory",
    }
    for name, reason in cases.items():
        with pytest.raises(OutputRefused, match=reason):
            check_output(str(tmp_path / name))
    with pytest.raises(OutputRefused, match="is a device"):
        check_output("/dev/null")
    with pytest.raises(OutputRefused, match="no such directory"):
        check_output(str(tmp_path / "no" / "file"))
    with pytest.raises(OutputRefused, match="no such directory"):
        check_output(str(tmp_path / "new") + "/")
    with pytest.raises(OutputRefused, match="null byte"):
        check_output("a\0b")
    assert (tmp_path / "real").read_text() == "kept"


def test_what_no_reader_would_accept_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netdiag.snapshotfile.write.DOCUMENT_LIMIT", 1000)
    with pytest.raises(OutputRefused, match=r"snapshot\.json: would be larger than"):
        write_snapshot(small_snapshot(), str(tmp_path / "a"))
    assert os.listdir(tmp_path) == []


def test_a_bare_name_lies_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with replacing("a") as file:
        file.write(b"x")
    assert (tmp_path / "a").read_bytes() == b"x"
