"""VRFs, and WireGuard interfaces of one port, in the guest: in_guest_vrf.py beside this file holds the drills.

A report costs the guest many seconds: all but the first drill run with NETDIAG_LONG only.
"""

from __future__ import annotations

import os

import pytest

from tests.vm.oneboot import InGuest

FILE = "tests/drills/in_guest_vrf.py"


@pytest.mark.in_guest(f"{FILE}::test_a_healthy_host_and_a_lost_rule")
def test_drill(in_guest: InGuest) -> None:
    in_guest.passed(1)


if "NETDIAG_LONG" in os.environ:

    @pytest.mark.in_guest(f"{FILE}::test_a_lost_prefix_and_a_port_that_is_taken")
    def test_more_drills(in_guest: InGuest) -> None:
        in_guest.passed(1)
