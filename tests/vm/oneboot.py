"""Tests that run in the guest, all in one boot: emulated, the start of Python alone takes half a minute.

A test of this machine names tests of the repository that the guest shall run, with the mark ``in_guest``, and asks
the fixture ``in_guest`` how they went. The first that asks boots the guest with everything that any collected test
of this process has named; ``make test K=...`` runs only what it needs.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm.guest import REPOSITORY, guest

SECONDS = 3600.0 if "NETDIAG_LONG" in os.environ else 1200.0
"""For the boot and everything in it; on two idle processors it takes a quarter of that."""
LOSSES = "/run/losses.jsonl"
"""Where the guest notes what its drills lose (tests/drills/losses.py), if this machine was asked for that."""
_RESULT = re.compile(r"^(tests/\S+\.py::.+?) (PASSED|FAILED|ERROR|SKIPPED)\b", re.MULTILINE)


@dataclass(frozen=True)
class Boot:
    """What the guest said: the outcome of each test by its node id, and everything it printed."""

    outcomes: dict[str, str]
    output: str

    def assert_passed(self, nodes: tuple[str, ...], count: int) -> None:
        """Assert that just so many tests ran under these node ids (or files), and that each passed."""
        ran = {name: how for name, how in self.outcomes.items() if name.startswith(nodes)}
        assert len(ran) == count and set(ran.values()) == {"PASSED"}, f"{ran}\n{self.output}"


def run_in_guest(nodes: set[str]) -> Boot:
    """Boot the guest and let it run these tests. Skips where nobody but root could."""
    if os.geteuid() != 0:
        pytest.skip("the guest's file server needs a mount namespace, which needs root")
    names = REPOSITORY / ".cache" / f"in-guest-{os.getpid()}"  # too many for the kernel's command line
    names.parent.mkdir(exist_ok=True)
    names.write_text("".join(f"{node}\n" for node in sorted(nodes)))
    losses = os.environ.get("NETDIAG_LOSSES")
    asked, shown = (f"export NETDIAG_LOSSES={LOSSES}; ", f"; cat {LOSSES}") if losses else ("", "")
    # Nobody makes /dev/net/tun in the guest before the module is there.
    try:
        _, output = guest(
            f"modprobe tun; {asked}{shlex.quote(sys.executable)} -B -m pytest -v --tb=short --color=no "
            f"-p no:cacheprovider -p no:xdist --timeout=600 {shlex.quote(f'@{names}')}{shown}",
            SECONDS,
        )
    finally:
        names.unlink()
    if losses:
        with Path(losses).open("a", encoding="utf-8") as file:
            file.writelines(f"{line.strip()}\n" for line in output.splitlines() if line.startswith('{"rule"'))
    return Boot(dict(_RESULT.findall(output)), output)


@pytest.fixture(scope="session")
def _boot(request: pytest.FixtureRequest) -> Boot:
    marks = [mark for item in request.session.items for mark in item.iter_markers("in_guest")]
    return run_in_guest({node for mark in marks for node in mark.args})


@dataclass(frozen=True)
class InGuest:
    """What a test asked the guest to run."""

    boot: Boot
    nodes: tuple[str, ...]

    def passed(self, count: int) -> None:
        """Assert that the named tests passed, and how many they were."""
        self.boot.assert_passed(self.nodes, count)


@pytest.fixture
def in_guest(request: pytest.FixtureRequest, _boot: Boot) -> InGuest:
    """How the tests went that the mark ``in_guest`` of this test names."""
    return InGuest(_boot, tuple(node for mark in request.node.iter_markers("in_guest") for node in mark.args))


def add_marks(items: list[pytest.Item]) -> None:
    """Whatever runs in the guest is slow, and all of it belongs to the one worker that boots it: from the start, or
    the others would wait for it at the end."""
    for item in items:
        if item.get_closest_marker("in_guest") is not None:
            for mark in (
                pytest.mark.vm,
                pytest.mark.slow,
                pytest.mark.xdist_group("vm"),
                pytest.mark.timeout(SECONDS + 200),
            ):
                item.add_marker(mark)
    items.sort(key=lambda item: item.get_closest_marker("vm") is None)
