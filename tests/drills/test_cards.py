"""A card with LRO, in the guest: in_guest_cards.py beside this file holds the drill.

It runs with NETDIAG_LONG only, for the seconds that it costs.
"""

from __future__ import annotations

import os

import pytest

from tests.vm.oneboot import InGuest

if "NETDIAG_LONG" in os.environ:

    @pytest.mark.in_guest("tests/drills/in_guest_cards.py")
    def test_drills(in_guest: InGuest) -> None:
        in_guest.passed(1)
