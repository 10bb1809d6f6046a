"""A full neighbour table, in a kernel that nobody else uses: in_guest_neigh_gc.py beside this file holds the drills."""

from __future__ import annotations

import pytest

from tests.vm.oneboot import InGuest


@pytest.mark.in_guest("tests/drills/in_guest_neigh_gc.py")
def test_drill(in_guest: InGuest) -> None:
    in_guest.passed(2)
