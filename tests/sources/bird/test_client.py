"""The client of BIRD's control socket against daemons that are silent, slow, endless, broken or none at all."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from netdiag.sources.bird import client
from netdiag.sources.live import LiveSource
from netdiag.sources.protocol import Unreadable
from tests.sources.bird.daemon import (
    GREETING,
    PAUSE,
    RESTRICTED,
    Behaviour,
    FakeDaemon,
    abandoned,
    obedient,
    restricted,
)

pytestmark = pytest.mark.timed

STATUS = b"1000-BIRD 2.0.12\n1011-Router ID is 10.0.0.1\n Hostname is edge1\n0013 Daemon is up and running\n"
SHORT = 0.4
"""Seconds that the client gets where it must run into its deadline."""
LATE = 2.0
"""Seconds beyond which it did not keep its deadline, on a busy machine."""


def ask(path: str, *commands: str, seconds: float = 10.0) -> bytes:
    """What the source hands to collectors."""
    source = LiveSource(deadline=time.monotonic() + seconds)
    return source.fetch("bird", "\n".join((path, *(commands or ("show status",)))))


def says(octets: bytes) -> Behaviour:
    """Says this to whoever connects, and then nothing."""

    def behave(daemon: FakeDaemon, talk: socket.socket) -> None:
        daemon.send(talk, octets)
        daemon.wait(talk)

    return behave


def closes(octets: bytes) -> Behaviour:
    """Says this and hangs up."""
    return lambda daemon, talk: daemon.send(talk, octets)


def drips(octet: bytes) -> Behaviour:
    """After the greeting one byte at a time, without end."""

    def behave(daemon: FakeDaemon, talk: socket.socket) -> None:
        restricted(daemon, talk)
        while not daemon.over.wait(PAUSE):
            daemon.send(talk, octet)

    return behave


def endless(octets: bytes) -> Behaviour:
    """After the greeting the same again and again, as fast as it is read."""

    def behave(daemon: FakeDaemon, talk: socket.socket) -> None:
        restricted(daemon, talk)
        many = octets * (65536 // len(octets) + 1)
        while not daemon.over.is_set():
            daemon.send(talk, many)

    return behave


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(says(b""), id="accepts and says nothing"),
        pytest.param(says(b"0001 BIRD"), id="half a greeting"),
        pytest.param(says(GREETING), id="greets and is silent"),
        pytest.param(obedient(), id="restricts and is silent"),
        pytest.param(obedient(STATUS[:30]), id="half a reply"),
        pytest.param(obedient(b"1000-BIRD 2.0.12\n" * 9), id="a reply without its last line"),
        pytest.param(drips(b"x"), id="drips a line"),
        pytest.param(drips(b"\n"), id="drips empty lines"),
        pytest.param(drips(b"+"), id="drips an asynchronous message"),
        pytest.param(says(b"SSH-2.0-OpenSSH_9.2\r\n"), id="another protocol"),
        pytest.param(None, id="never accepts"),
    ],
)
def test_silence_of_every_kind_ends_with_the_deadline(tmp_path: Path, behave: Behaviour | None) -> None:
    with FakeDaemon(tmp_path, behave) as daemon:
        begun = time.monotonic()
        with pytest.raises(Unreadable) as caught:
            ask(daemon.path, seconds=SHORT)
        assert caught.value.why == "timeout"
        assert time.monotonic() - begun < LATE


def test_a_queue_that_is_full_ends_with_the_deadline(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path, None) as daemon:
        waiting = []
        for _ in range(4):
            talk = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            waiting.append(talk)
            talk.setblocking(False)
            if talk.connect_ex(daemon.path):
                break
        else:
            pytest.fail("the queue does not fill")
        with pytest.raises(Unreadable) as caught:
            ask(daemon.path, seconds=SHORT)
        assert caught.value.why == "timeout"
        for talk in waiting:
            talk.close()


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"x", "a line is longer"),
        (b"1002-" + b"y" * 70_000 + b"\n", "a line is longer"),
        (b"1002-bgp1 BGP --- up 12:00:00.000 Established\n", "the answer is longer"),
        (b"\xff\x00\xfe\x01garbage\n", "the answer is longer"),
        (b"+ message\n", "the answer is longer"),
        (b"\n", "more than"),
    ],
    ids=["one line", "lines too long", "rows", "garbage", "asynchronous messages", "empty lines"],
)
def test_what_has_no_end_is_cut(tmp_path: Path, octets: bytes, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REPLY_LIMIT", 1 << 20)
    monkeypatch.setattr(client, "LINES_LIMIT", 1 << 17)
    with FakeDaemon(tmp_path, endless(octets)) as daemon, pytest.raises(Unreadable) as caught:
        ask(daemon.path)
    assert caught.value.why == "failed"
    assert words in caught.value.detail


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (closes(b""), "closed"),
        (closes(b"0001 BI"), "closed"),
        (closes(bytes(range(256)) * 8), "closed"),
        (closes(GREETING), "closed"),
        (closes(GREETING + RESTRICTED), "closed"),
        (says(GREETING + b"8007 Access denied\n"), "did not restrict"),
        (says(GREETING + b"9001 syntax error, unexpected CF_SYM_UNDEFINED\n"), "did not restrict"),
    ],
    ids=["at once", "in the greeting", "after garbage", "greeted", "restricted", "denied", "knows no restrict"],
)
def test_what_breaks_off_or_refuses_is_told(tmp_path: Path, behave: Behaviour, words: str) -> None:
    with FakeDaemon(tmp_path, behave) as daemon, pytest.raises(Unreadable) as caught:
        ask(daemon.path)
    assert caught.value.why == "failed"
    # Where the client's own command was still unread, the kernel says "reset" or "broken pipe" instead.
    assert words in caught.value.detail or caught.value.detail.endswith(("Connection reset by peer", "Broken pipe"))


@pytest.mark.parametrize(
    "place",
    [abandoned, lambda folder: str(folder / "none.ctl"), lambda folder: os.fspath(_file(folder))],
    ids=["the daemon is gone", "no such file", "a plain file"],
)
def test_no_daemon_is_absent(tmp_path: Path, place: Callable[[Path], str]) -> None:
    with pytest.raises(Unreadable) as caught:
        ask(place(tmp_path))
    assert caught.value.why == "absent"


def _file(folder: Path) -> Path:
    path = folder / "plain.ctl"
    path.touch()
    return path


def test_a_passed_deadline_asks_nothing(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path, obedient(STATUS)) as daemon:
        with pytest.raises(Unreadable) as caught:
            ask(daemon.path, seconds=-1)
        assert caught.value.why == "timeout"
        assert not daemon.heard


def test_replies_come_as_they_are_each_after_its_command(tmp_path: Path) -> None:
    count = b"1007-6 of 6 routes for 6 networks in table master4\n0014 Total: 6 of 6 routes for 6 networks\n"
    with FakeDaemon(tmp_path, obedient(b"+ told to all\n" + STATUS, count)) as daemon:
        told = ask(daemon.path, "show status", "show route count")
        assert told == b"> show status\n" + STATUS + b"> show route count\n" + count
        assert bytes(daemon.heard) == b"restrict\nshow status\nshow route count\n"


def test_a_bare_code_ends_a_reply(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path, obedient(b"1020-bfd1:\n0000\n")) as daemon:
        assert ask(daemon.path, "show bfd sessions") == b"> show bfd sessions\n1020-bfd1:\n0000\n"


def test_bytes_that_arrive_one_by_one_make_the_same_reply(tmp_path: Path) -> None:
    def behave(daemon: FakeDaemon, talk: socket.socket) -> None:
        restricted(daemon, talk)
        daemon.hear(talk)
        for octet in STATUS:
            daemon.send(talk, bytes([octet]))
        daemon.wait(talk)

    with FakeDaemon(tmp_path, behave) as daemon:
        assert ask(daemon.path) == b"> show status\n" + STATUS


def test_what_was_read_before_a_break_is_kept(tmp_path: Path) -> None:
    def behave(daemon: FakeDaemon, talk: socket.socket) -> None:
        restricted(daemon, talk)
        daemon.hear(talk)
        daemon.send(talk, STATUS)
        daemon.hear(talk)
        daemon.send(talk, b"1007-Table master4:\n")

    with FakeDaemon(tmp_path, behave) as daemon:
        told = ask(daemon.path, "show status", "show route", "show memory")
    assert told.startswith(b"> show status\n" + STATUS + b"! show route: ")
    assert told.count(b"\n") == STATUS.count(b"\n") + 2


def test_silence_after_the_first_reply_costs_only_the_rest(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path, obedient(STATUS)) as daemon:
        told = ask(daemon.path, "show status", "show route", seconds=SHORT)
    assert told == b"> show status\n" + STATUS + b"! show route: no whole answer before the deadline\n"


def test_long_replies_are_read_in_linear_time(tmp_path: Path) -> None:
    """Twice the lines cost about twice the time, however many come in one read."""
    row = b" 198.51.100.0/24 x\n"

    def seconds(lines: int) -> float:
        folder = tmp_path / str(lines)
        folder.mkdir()
        with FakeDaemon(folder, obedient(b"1007-Table master4:\n" + row * lines + b"0000 \n")) as daemon:
            begun = time.process_time()
            told = ask(daemon.path, "show route")
            spent = time.process_time() - begun
        assert told.count(b"\n") == lines + 3
        return spent

    small = min(seconds(50_000 + extra) for extra in range(2))
    large = min(seconds(400_000 + extra) for extra in range(2))
    assert large < 20 * small + 0.2
    assert large < 5.0
