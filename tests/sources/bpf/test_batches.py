"""A large hash map is counted in batches, and as by next_key()."""

import time

from netdiag.sources.bpf import batches
from netdiag.sources.bpf.calls import choose
from tests.lab import Lab
from tests.lab import bpfobjects as make


def test_the_count_is_the_same(lab: Lab) -> None:
    host = lab.host("edge1")

    def work() -> list[tuple[int | None, int]]:
        found = []
        one = make.map_(make.HASH, b"flows", key=12, value=5, entries=20_000, flags=1)
        for upto in (0, 1, 4096, 9000):
            for number in range(upto):
                make.update(one, number.to_bytes(12, "little"), bytes(5))
            counted = batches.count(one, 12, 5, time.monotonic() + 60)
            found.append((counted, choose().count_keys(one, 12, 20_000)))
        return found

    assert host.call(work) == [(0, 0), (1, 1), (4096, 4096), (9000, 9000)]


def test_what_is_too_large_or_too_late_is_not_counted() -> None:
    assert batches.count(999_999, 1000, 1000, time.monotonic() + 60) is None
    assert batches.count(999_999, 4, 4, time.monotonic() - 1) is None
    assert batches.count(999_999, 4, 4, time.monotonic() + 60) is None
