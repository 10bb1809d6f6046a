"""A full table of connections, in a kernel that nobody else uses: in_guest_conntrack.py beside this file."""

from __future__ import annotations

import pytest

from tests.vm.oneboot import InGuest


@pytest.mark.in_guest("tests/drills/in_guest_conntrack.py")
def test_drill(in_guest: InGuest) -> None:
    in_guest.passed(2)
