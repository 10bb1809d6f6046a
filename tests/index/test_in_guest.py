"""The same agreement on another kernel, Debian's 6.1, which also has what this machine's may lack: VRFs.

In a boot of its own: after the other tests of the guest the kernel refused some packets of one world (35) that it
takes when fresh, and nobody knows yet what they had left behind.
"""

from __future__ import annotations

import pytest

from tests.vm.oneboot import SECONDS, run_in_guest

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.xdist_group("vm"), pytest.mark.timeout(SECONDS + 200)]

WORLDS = (9, 19, 29, 34, 35, 39)


def test_random_packets_on_random_hosts_of_another_kernel() -> None:
    test = "tests/index/test_kernel_agreement.py::test_random_packets_on_random_hosts"
    nodes = tuple(f"{test}[{world}]" for world in WORLDS)
    run_in_guest(set(nodes)).assert_passed(nodes, len(WORLDS))
