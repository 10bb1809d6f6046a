"""netdiag.children: a child that hangs, dies or lies costs its own rows and nothing else."""

import os
import signal
import time
from typing import Any

import pytest

from netdiag import children
from netdiag.children import Task, run
from netdiag.model.coverage import Status
from netdiag.model.route import Route, Routes, routes_from_rows
from netdiag.model.sysctl import Sysctls

pytestmark = pytest.mark.timed

Work = tuple[dict[str, Any], int, Status, str, float]


def answer() -> Work:
    return {"sysctls": Sysctls(values={"a": "1"})}, 1, "ok", "", 0.5


def hang() -> Work:
    signal.pause()
    raise AssertionError


def die() -> Work:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def break_() -> Work:
    raise RuntimeError("no such thing\x1b[31m")


def after(seconds: float) -> float:
    return time.monotonic() + seconds


def test_an_answer_comes_back_whole() -> None:
    (outcome,) = run([Task(name="sysctls", run=answer)], after(10))
    assert outcome.tables == {"sysctls": Sysctls(values={"a": "1"})}
    assert outcome.coverage.status == "ok"
    assert outcome.coverage.duration_ms == 0.5


def test_columns_come_back_whole() -> None:
    rows = [
        Route(
            family="inet6",
            dst="2001:db8::/32",
            table=254,
            type="unicast",
            protocol=12,
            scope=0,
            priority=32,
            tos=0,
            flags=0,
            oif=3,
            gateway="fe80::1",
            prefsrc=None,
            nh_id=None,
            expires=30,
            extra=None,
        )
    ]

    def work() -> Work:
        return {"routes6": routes_from_rows("inet6", rows), "routes": Routes.empty("inet")}, 1, "ok", "", 1.0

    (outcome,) = run([Task(name="routes", run=work)], after(10))
    assert list(outcome.tables["routes6"].rows()) == rows
    assert len(outcome.tables["routes"]) == 0


def test_one_that_hangs_costs_only_itself() -> None:
    tasks = [Task(name="hangs", run=hang), Task(name="sysctls", run=answer)]
    hung, fine = run(tasks, after(0.5))
    assert (hung.coverage.status, hung.tables) == ("timeout", {})
    assert fine.coverage.status == "ok"


def test_one_that_dies_is_failed() -> None:
    (outcome,) = run([Task(name="dies", run=die)], after(10))
    assert outcome.coverage.status == "failed"
    assert "died" in outcome.coverage.detail


def test_one_that_breaks_says_what_broke() -> None:
    (outcome,) = run([Task(name="breaks", run=break_)], after(10))
    assert outcome.coverage.status == "failed"
    assert "RuntimeError: no such thing" in outcome.coverage.detail


@pytest.mark.parametrize(
    "octets",
    [b"", b"\xff" * 8, b"\x05" + bytes(7) + b"hello", (1 << 60).to_bytes(8, "little")],
    ids=["empty", "huge", "noise", "length beyond the end"],
)
def test_one_that_lies_is_refused(monkeypatch: pytest.MonkeyPatch, octets: bytes) -> None:
    monkeypatch.setattr(children, "encode", lambda *_, **__: [octets])
    (outcome,) = run([Task(name="sysctls", run=answer)], after(10))
    assert (outcome.coverage.status, outcome.tables) == ("failed", {})


def numbered(count: int, *, first: Any) -> list[Task]:
    """One odd task, then so many good ones."""
    return [Task(name="odd", run=first)] + [Task(name=f"good{n}", run=answer) for n in range(count)]


@pytest.mark.parametrize(("odd", "status"), [(hang, "timeout"), (die, "failed"), (break_, "failed")])
def test_tasks_behind_a_bad_one_are_done_by_another_child(odd: Any, status: str) -> None:
    first, *rest = run(numbered(40, first=odd), after(2.0 if odd is hang else 10))
    assert first.coverage.status == status
    assert {outcome.coverage.status for outcome in rest} == {"ok"}
    assert [outcome.coverage.collector for outcome in rest] == [f"good{n}" for n in range(40)]


def test_many_that_hang_hold_up_nobody() -> None:
    tasks = [Task(name=f"hangs{n}", run=hang) for n in range(12)] + numbered(3, first=answer)
    outcomes = run(tasks, after(3.0))
    assert [outcome.coverage.status for outcome in outcomes] == ["timeout"] * 12 + ["ok"] * 4


def test_what_was_said_in_time_is_heard_though_the_parent_was_late() -> None:
    """The parent has work of its own; an answer that lies there when it comes back past the deadline still counts."""
    told: list[int] = []
    reader, writer = os.pipe()

    def answer_and_tell() -> Work:
        os.write(writer, b".")
        return answer()

    def late() -> None:
        told.append(len(os.read(reader, 1)))
        while time.monotonic() < deadline + 0.2:
            pass

    deadline = after(0.3)
    (outcome,) = run([Task(name="sysctls", run=answer_and_tell)], deadline, late)
    os.close(reader)
    os.close(writer)
    assert (told, outcome.coverage.status) == ([1], "ok")


def test_a_child_that_cannot_begin_blames_no_other_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = children._confine

    def confine(parent: int, task: Task) -> None:
        if task.asks_inet:
            raise OSError("refused")
        plain(parent, task)

    monkeypatch.setattr(children, "_confine", confine)
    fine, broken = run([Task(name="sysctls", run=answer), Task(name="nft", run=answer, asks_inet=True)], after(10))
    assert (fine.coverage.status, broken.coverage.status) == ("ok", "failed")


def test_few_children_do_many_tasks() -> None:
    def who() -> Work:
        return {"sysctls": Sysctls(values={"pid": str(os.getpid())})}, 1, "ok", "", 0.5

    def pids(*, alone: bool) -> set[str]:
        outcomes = run([Task(name=f"who{n}", run=who, alone=alone) for n in range(7)], after(10))
        return {outcome.tables["sysctls"].values["pid"] for outcome in outcomes}

    assert len(pids(alone=True)) == 7
    assert len(pids(alone=False)) < 7


def test_no_child_is_left_behind() -> None:
    run([Task(name="hangs", run=hang), Task(name="sysctls", run=answer)], after(0.3))
    deadline = after(5)
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                assert time.monotonic() < deadline
        except ChildProcessError:
            return
