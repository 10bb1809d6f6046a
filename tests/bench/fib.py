"""Longest prefix match over a million routes: building the index, one lookup, a million at once.

python -m tests.bench.fib [ROUTES]    prints ``build= many= one=``: wall seconds, seconds, microseconds
"""

import dataclasses
import sys
import time

import numpy as np

from netdiag.index.fib import Fib
from netdiag.model.route import Routes

ASKED = 20_000
"""Single lookups that are timed together."""


def table(count: int) -> Routes:
    """Random IPv4 prefixes of the lengths that the Internet's table has, all by one next hop."""
    random = np.random.default_rng(1)
    length = random.choice([16, 20, 22, 23, 24, 24, 24, 24, 28, 32], count).astype(np.uint8)
    mask = (np.uint64(0xFFFFFFFF) << (np.uint64(32) - length.astype(np.uint64))).astype(np.uint32)
    empty = Routes.empty("inet")
    columns = {name: np.zeros(count, getattr(empty, name).dtype) for name in empty.COLUMNS}
    columns |= {"dst": random.integers(1 << 24, 0xE0 << 24, count, dtype=np.uint32) & mask, "dst_len": length}
    for name, value in {"table": 254, "type": 1, "oif": 2, "gateway": 1, "extra": -1, "expires": -1}.items():
        columns[name] = np.full(count, value, getattr(empty, name).dtype)
    return dataclasses.replace(empty, **columns)


def main() -> None:
    """Measure and print."""
    routes = table(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    asked = np.random.default_rng(2).integers(1 << 24, 0xE0 << 24, 1_000_000, dtype=np.uint32)
    started = time.perf_counter()
    fib = Fib(routes)
    next(fib.candidates(254, int(asked[0])), None)
    built = time.perf_counter()
    fib.lookup_many(254, asked)
    many = time.perf_counter()
    for address in asked[:ASKED].tolist():
        next(fib.candidates(254, address), None)
    one = time.perf_counter()
    print(f"build={built - started:.3f} many={many - built:.3f} one={(one - many) / ASKED * 1e6:.1f}")


if __name__ == "__main__":
    main()
