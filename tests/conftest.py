"""Fixtures and settings for all tests.

`lab` gives a test a laboratory of real hosts (tests/lab/) and takes it down afterwards. A test that asks for it is
marked `lab` without saying so, and is skipped with the reason where the kernel would refuse namespaces.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.vm.oneboot import _boot, add_marks, in_guest  # noqa: F401 - fixtures of every test

if TYPE_CHECKING:
    from tests.lab import Lab

# Before anything imports NumPy: lab hosts fork this process, and threads do not survive a fork.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A shell starts what runs in the background with SIGINT ignored, and so would everything be that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    whole = all(os.path.realpath(arg) == str(config.rootpath / "tests") for arg in config.args)
    if whole and not config.option.keyword and "NETDIAG_LONG" not in os.environ:
        left = [item for item in items if item.get_closest_marker("more") is not None]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item.get_closest_marker("more") is None]
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker("lab")
    add_marks(items)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An empty laboratory for one test."""
    from tests.lab import Lab

    if os.geteuid() != 0:
        pytest.skip("lab hosts are made of namespaces, which needs root")
    with Lab() as laboratory:
        yield laboratory
