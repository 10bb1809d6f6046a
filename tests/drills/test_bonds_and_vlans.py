"""Bonds, VLANs and the input queue in the guest: in_guest_bonds.py beside this file holds the drills."""

from __future__ import annotations

import os

import pytest

from tests.vm.guest import guest_pytest

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.xdist_group("vm"), pytest.mark.timeout(900)]


def test_drills() -> None:
    if os.geteuid() != 0:
        pytest.skip("the guest's file server needs a mount namespace, which needs root")
    status, output = guest_pytest("-q", "tests/drills/in_guest_bonds.py")
    assert status == 0, output
    assert "4 passed" in output
