"""The same questions on another kernel, Debian's 6.1, whose tracepoints tell less than newer ones."""

from __future__ import annotations

import pytest

from tests.vm.oneboot import InGuest


@pytest.mark.in_guest("tests/trace/test_live.py::test_what_the_kernel_tells")
def test_what_another_kernel_tells(in_guest: InGuest) -> None:
    in_guest.passed(1)
