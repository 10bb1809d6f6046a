"""A full neighbour table, in a kernel that nobody else uses: in_guest_neigh_gc.py beside this file holds the drills.

A report costs the guest many seconds: the second drill runs with NETDIAG_LONG only.
"""

from __future__ import annotations

import os

import pytest

from tests.vm.oneboot import InGuest

FILE = "tests/drills/in_guest_neigh_gc.py"
NAMES = ("full", "refusing") if "NETDIAG_LONG" in os.environ else ("full",)


@pytest.mark.in_guest(*(f"{FILE}::test_drill[{name}]" for name in NAMES))
def test_drill(in_guest: InGuest) -> None:
    in_guest.passed(len(NAMES))
