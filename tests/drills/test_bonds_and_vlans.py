"""Bonds, VLANs and the input queue in the guest: in_guest_bonds.py beside this file holds the drills.

The one that needs traffic between two looks costs the guest most: it runs with NETDIAG_LONG only.
"""

from __future__ import annotations

import os

import pytest

from tests.vm.oneboot import InGuest

FILE = "tests/drills/in_guest_bonds.py"
DRILLS = ("test_lacp_and_a_leg", "test_a_bond_that_does_not_look", "test_vlans", "test_backlog")


@pytest.mark.in_guest(*(f"{FILE}::{name}" for name in DRILLS))
def test_drills(in_guest: InGuest) -> None:
    in_guest.passed(4)


if "NETDIAG_LONG" in os.environ:

    @pytest.mark.in_guest(f"{FILE}::test_one_next_hop_behind_a_bond_that_hashes_hardware_addresses")
    def test_hash(in_guest: InGuest) -> None:
        in_guest.passed(1)
