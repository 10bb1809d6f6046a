"""A pytest plugin: a test on live hosts that failed is run once more, and both runs are told.

The kernel's own timers (a bridge that learns, neighbours that are probed, link watch) and a busy machine move under
such tests, and those of processes and signals (mark ``timed``). What fails twice has failed. More than MOST tests of
one run that needed a second look are no accident, and fail the run. All others, rules' examples above all, get none.
Loaded by addopts in setup.cfg; pytest-rerunfailures does the running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

MOST = 3


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what has a lab of its own, which can be made anew, and what says that it is timed."""
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()) or item.get_closest_marker("timed") is not None:
            item.add_marker(pytest.mark.flaky(reruns=1))


def _looked_at_twice(reporter: TerminalReporter) -> list[pytest.TestReport]:
    return [report for report in reporter.stats.get("rerun", []) if isinstance(report, pytest.TestReport)]


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Show how the first run failed, also where the second passed."""
    for report in _looked_at_twice(terminalreporter):
        terminalreporter.section(f"failed once: {report.nodeid}")
        terminalreporter.line(report.longreprtext)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Too many second looks fail the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and len(_looked_at_twice(reporter)) > MOST:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
