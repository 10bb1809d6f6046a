"""A pytest plugin: with CI set, a test that was skipped has failed.

A skip says "this machine cannot run it". On a laptop that is fair; in CI it is how a missing tool goes unnoticed for
months. The report is turned where the test runs, so it also holds in xdist's workers and shows in the summary line.
Expected failures (xfail) are no skips. Loaded by addopts in setup.cfg.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest import CollectReport, TestReport


def in_ci() -> bool:
    """Whether CI is set to anything but a no."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false", "no"}


def refuse_skip(report: TestReport | CollectReport) -> None:
    """Make a skipped report a failed one that keeps the reason."""
    if not in_ci() or not report.skipped or hasattr(report, "wasxfail"):
        return
    # pytest's skip reports carry (path, line, reason).
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{reason}\n(CI is set, and in CI a test that cannot run is a failure)"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, TestReport, TestReport]:
    """A skip mark, pytest.skip() and importorskip() inside a test or fixture."""
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, CollectReport, CollectReport]:
    """A skip of a whole module."""
    report = yield
    refuse_skip(report)
    return report
