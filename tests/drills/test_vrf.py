"""VRFs, and WireGuard interfaces of one port, in the guest: in_guest_vrf.py beside this file holds the drills."""

from __future__ import annotations

import pytest

from tests.vm.oneboot import InGuest


@pytest.mark.in_guest("tests/drills/in_guest_vrf.py")
def test_drills(in_guest: InGuest) -> None:
    in_guest.passed(1)
