"""What belongs to the whole kernel, in the guest: in_guest_machine.py beside this file holds the drills.

Each report costs the guest many seconds, so they run with NETDIAG_LONG only.
"""

from __future__ import annotations

import os

import pytest

from tests.vm.oneboot import InGuest

if "NETDIAG_LONG" in os.environ:

    @pytest.mark.in_guest("tests/drills/in_guest_machine.py")
    def test_drills(in_guest: InGuest) -> None:
        in_guest.passed(5)
