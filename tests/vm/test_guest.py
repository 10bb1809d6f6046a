"""The guest: it boots its own kernel, has in-kernel WireGuard, cannot write this machine's files, and hosts a lab."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.vm.guest import NO_ANSWER, guest
from tests.vm.oneboot import InGuest

# One emulator at a time: two of them on two processors are slower than one after the other.
pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.xdist_group("vm")]


@pytest.fixture(autouse=True)
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("the guest's file server needs a mount namespace, which needs root")


def test_a_guest_boots_debians_kernel_with_wireguard_in_it() -> None:
    probe = Path("/var/lib/netdiag-guest-was-here")
    status, output = guest(
        "uname -r; ip link add wg0 type wireguard; wg show interfaces;"
        f"mount -o remount,rw /; touch {probe} || echo refused; exit 7"
    )
    assert status == 7, output
    assert re.search(r"^6\.1\.\d+-\d+-cloud-amd64$", output, re.MULTILINE), output
    assert re.search(r"^wg0$", output, re.MULTILINE), output
    assert "refused" in output
    assert not probe.exists()


def test_a_guest_that_never_answers_is_a_failure() -> None:
    status, _ = guest("/bin/busybox poweroff -f; sleep 60", timeout=60)
    assert status == NO_ANSWER


@pytest.mark.in_guest("tests/lab/test_lab.py::test_mounts_of_a_host_are_its_own")
def test_lab_hosts_work_in_the_guest(in_guest: InGuest) -> None:
    in_guest.passed(1)
