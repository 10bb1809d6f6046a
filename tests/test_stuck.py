"""When part of the kernel or a collector hangs: what is left is reported, the rest is named, nothing waits."""

import os
import signal
import time
from collections.abc import Sequence

import pytest

from netdiag.children import Task, run
from netdiag.collect import Options, collect
from netdiag.engine import judge
from netdiag.sources.live import LiveSource
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.messages import DumpRequest, DumpResult, Sink

pytestmark = pytest.mark.timed


class LockedSource(LiveSource):
    """This host as if somebody held the rtnl lock: questions for interfaces get no answer, ever."""

    def dump(self, request: DumpRequest, sink: Sink) -> DumpResult:
        if request.type == nl.RTM_GETLINK:
            signal.pause()
        return super().dump(request, sink)

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        if any(path.endswith("/addr_gen_mode") for path in paths):  # takes the lock, though it only reads
            signal.pause()
        return super().read_many(paths)


@pytest.mark.slow
def test_a_held_rtnl_lock_is_named_first() -> None:
    started = time.monotonic()
    snapshot = collect(LockedSource(), Options(interval=0, deadline=5.5))
    report = judge(snapshot)
    assert time.monotonic() - started < 20
    status = {row.collector: row.status for row in snapshot.coverage}
    assert (status["links"], status["counters"], status["procnet"]) == ("timeout", "timeout", "ok")
    assert status["sysctls"] == "timeout"
    assert report.verdict == "unknown"
    assert report.findings[0].rule == "rtnl-stuck"
    assert any(interface.ifname == "lo" for interface in snapshot.tables.procnet.interfaces)
    assert {row.rule for row in report.not_evaluated} > {"ip-forward-off", "link-mtu-peer-mismatch"}


def test_a_stopped_child_costs_its_own_rows() -> None:
    def stop() -> tuple[dict[str, object], int, str, str, float]:
        os.kill(os.getpid(), signal.SIGSTOP)
        raise AssertionError

    (outcome,) = run([Task(name="links", run=stop)], time.monotonic() + 0.3)  # type: ignore[arg-type]
    assert outcome.coverage.status == "timeout"


def test_a_child_that_cannot_be_killed_holds_nobody_up_who_reads_the_report() -> None:
    """A pipe ends when the last process that could write to it has let go of it."""

    def held() -> tuple[dict[str, object], int, str, str, float]:
        return {}, 0, "ok", " ".join(os.readlink(f"/proc/self/fd/{number}") for number in range(3)), 0.0

    (outcome,) = run([Task(name="links", run=held)], time.monotonic() + 5.0)  # type: ignore[arg-type]
    assert outcome.coverage.detail == "/dev/null /dev/null /dev/null"
