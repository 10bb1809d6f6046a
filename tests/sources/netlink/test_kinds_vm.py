"""Kinds of interface that the machine's own kernel may lack (bond, vlan, vrf, tunnels), in the guest kernel."""

from __future__ import annotations

import shlex
import sys

import pytest

from tests.vm.guest import guest


@pytest.mark.vm
@pytest.mark.slow
@pytest.mark.xdist_group("vm")
def test_what_every_kind_says_is_what_ip_says_in_the_guest() -> None:
    python = shlex.quote(sys.executable)
    tests = "tests/sources/netlink/test_links_lab.py -k says_is_what_ip_says"
    # Nobody makes /dev/net/tun in the guest before the module is there.
    status, output = guest(f"modprobe tun && {python} -B -m pytest -q -p no:cacheprovider -p no:xdist {tests}", 280)
    assert status == 0, output
    assert "2 passed" in output
