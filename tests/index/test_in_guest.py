"""The same agreement on another kernel, Debian's 6.1, which also has what this machine's may lack: VRFs."""

from __future__ import annotations

import os

import pytest

from tests.vm.oneboot import InGuest

WORLDS = (9, 19, 29, 34, 35, 39) if "NETDIAG_LONG" in os.environ else (35,)
"""Worlds with a VRF; each takes the guest some twenty seconds of emulation."""


@pytest.mark.in_guest(
    *(f"tests/index/test_kernel_agreement.py::test_random_packets_on_random_hosts[{world}]" for world in WORLDS)
)
def test_random_packets_on_random_hosts_of_another_kernel(in_guest: InGuest) -> None:
    in_guest.passed(len(WORLDS))
