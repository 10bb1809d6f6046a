"""A full neighbour table, in a kernel that nobody else uses: in_guest_neigh_gc.py beside this file holds the drills."""

from __future__ import annotations

import os

import pytest

from tests.vm.guest import guest_pytest

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.xdist_group("vm")]


def test_drill() -> None:
    if os.geteuid() != 0:
        pytest.skip("the guest's file server needs a mount namespace, which needs root")
    status, output = guest_pytest("-q", "tests/drills/in_guest_neigh_gc.py")
    assert status == 0, output
    assert "2 passed" in output
