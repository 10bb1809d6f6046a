"""Kinds of interface that the machine's own kernel may lack (bond, vlan, vrf, tunnels), in the guest kernel."""

from __future__ import annotations

import pytest

from tests.vm.oneboot import InGuest


@pytest.mark.in_guest("tests/sources/netlink/test_links_lab.py::test_what_a_kind_says_is_what_ip_says")
def test_what_every_kind_says_is_what_ip_says_in_the_guest(in_guest: InGuest) -> None:
    in_guest.passed(2)
