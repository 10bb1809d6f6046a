"""The same agreement on another kernel, Debian's 6.1, which also has what this machine's may lack: VRFs."""

import os

import pytest

from tests.vm.guest import guest_pytest

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.xdist_group("vm")]


@pytest.fixture(autouse=True)
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("the guest's file server needs a mount namespace, which needs root")


def test_random_packets_on_random_hosts_of_another_kernel() -> None:
    status, output = guest_pytest("-q", "tests/index/test_kernel_agreement.py", "-k", "9] or 34] or 35]")
    assert status == 0, output
    assert "passed" in output
