"""Each question of bpf(2) asked in both ways gives the same answer, and a missing library is no loss."""

import ctypes
import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from netdiag.sources.bpf import calls
from netdiag.sources.bpf.calls import Calls, LibraryCalls, RawCalls
from netdiag.sources.bpf.objects import MAP_SIZE, Maps, opened
from tests.lab import Lab
from tests.lab import bpfobjects as make


def outcome(ask: Callable[[], Any]) -> Any:
    """What a question gives, or the number of the error."""
    try:
        return ask()
    except OSError as error:
        return error.errno


def answers(way: Calls, path: str, netns: int) -> list[Any]:
    """The answers to everything, in one order."""
    with opened(way.pinned(os.fsencode(path))) as fd:
        buffer = ctypes.create_string_buffer(MAP_SIZE)
        way.info(fd, buffer)
        number = int.from_bytes(buffer.raw[4:8], "little")
        first = way.next_key(fd, None, 4)
        assert first is not None
        keys = []
        key: bytes | None = first
        while key is not None:
            keys.append(key)
            key = way.next_key(fd, key, 4)
        found: list[Any] = [buffer.raw[:64], keys, [way.lookup(fd, key, 8) for key in keys], way.lookup(fd, b"none", 8)]
        found += [way.count_keys(fd, 4, limit) for limit in (1, 3, 100)]
    with opened(way.fd_by_id("map", number)) as again:
        found.append(Maps(way).read(again, number))
    found.append([way.next_id(kind, 2**31 - 2) for kind in ("prog", "map", "link", "btf")])
    found += [outcome(lambda: way.fd_by_id("prog", 2**31 - 2)), outcome(lambda: way.fd_by_id("link", 2**31 - 2))]
    found.append(outcome(lambda: way.query(1, 46)))
    found.append(outcome(lambda: way.query(999_999, 46)))
    found.append(outcome(lambda: way.query(netns, 36)))
    found.append(outcome(lambda: way.query(netns, 250)))
    found.append(outcome(lambda: way.pinned(b"/sys/fs/bpf/nothing")))
    found.append(outcome(lambda: way.pinned(b"/etc/passwd")))
    return found


def test_all_ways_give_the_same_answers(lab: Lab) -> None:
    host = lab.host("edge1")

    def work() -> list[list[Any]]:
        one = make.map_(make.HASH, b"n\xff", value=8, entries=100, flags=1)
        for number in range(7):
            make.update(one, number.to_bytes(4, "little"), number.to_bytes(8, "big"))
        path = make.pin(one, "m")
        program = make.program(make.SCHED_CLS, b"p", verdict=-1)
        make.pin(make.link(program, 1, 46), "l")
        netns = os.open("/proc/self/ns/net", os.O_RDONLY)
        ways = (RawCalls(), LibraryCalls(), LibraryCalls(calls.libbcc))
        return [answers(way, path, netns) for way in ways]

    raw, library, through_bcc = host.call(work)
    assert raw == library == through_bcc
    assert raw[4:7] == [1, 3, 7]
    assert raw[8] == [None] * 4
    assert raw[-5] == errno.ENODEV
    assert raw[-2:] == [errno.ENOENT, errno.EACCES]


def test_more_programs_than_the_first_room_are_read(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    host = lab.host("edge1")
    monkeypatch.setattr(calls, "QUERY_ROOM", (2, 64))

    def work() -> list[int]:
        held = [make.link(make.program(make.SCHED_CLS, b"p", verdict=-1), 1, 46) for _ in range(5)]
        assert len(held) == 5
        return [len(way.query(1, 46).prog_ids) for way in (RawCalls(), LibraryCalls())]

    assert host.call(work) == [5, 5]


def test_without_any_library_the_bare_system_call_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise OSError("cannot open shared object file")

    monkeypatch.setattr(calls, "libbpf", missing)
    assert isinstance(calls.choose(), LibraryCalls)

    def no_bcc() -> Any:
        raise ImportError("No module named 'bcc'")

    monkeypatch.setattr(calls, "libbcc", no_bcc)
    assert isinstance(calls.choose(), RawCalls)


def test_a_library_without_the_functions_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def old() -> ctypes.CDLL:
        return ctypes.CDLL(None)

    monkeypatch.setattr(calls, "libbpf", old)
    monkeypatch.setattr(calls, "libbcc", old)
    assert isinstance(calls.choose(), RawCalls)


def test_a_machine_without_a_known_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls.platform, "machine", lambda: "pdp11")  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="pdp11") as told:
        RawCalls()
    assert told.value.errno == errno.ENOSYS
