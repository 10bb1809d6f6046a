"""The live source against this machine's own /proc and against files of known size."""

from __future__ import annotations

from pathlib import Path

import pytest

from netdiag.sources.live import FILE_LIMIT, LiveSource
from netdiag.sources.protocol import Unreadable


def test_a_sysctl_can_be_read() -> None:
    """These files refuse one large read with ENOMEM, whatever their length."""
    assert LiveSource().read("/proc/sys/net/ipv4/ip_forward").strip() in (b"0", b"1")


def test_a_file_of_many_reads_comes_whole() -> None:
    assert LiveSource().read("/proc/self/status").startswith(b"Name:")


def test_the_limit_is_a_limit(tmp_path: Path) -> None:
    exact, larger = tmp_path / "exact", tmp_path / "larger"
    exact.write_bytes(b"x" * FILE_LIMIT)
    larger.write_bytes(b"x" * (FILE_LIMIT + 1))
    assert len(LiveSource().read(str(exact))) == FILE_LIMIT
    with pytest.raises(Unreadable, match="larger than 8 MiB"):
        LiveSource().read(str(larger))
